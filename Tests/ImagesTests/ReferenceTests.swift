// SPDX-License-Identifier: Apache-2.0

import Images
import LayerDiff
import Storage
import Testing

@Suite struct ReferenceTests {
    static let hex = String(repeating: "ab", count: 32)

    @Test(arguments: [
        ("busybox", "docker.io/library/busybox", "busybox"),
        ("busybox:1.36", "docker.io/library/busybox:1.36", "busybox:1.36"),
        ("library/busybox", "docker.io/library/busybox", "busybox"),
        ("docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("index.docker.io/busybox", "docker.io/library/busybox", "busybox"),
        ("user/app", "docker.io/user/app", "user/app"),
        ("library/a/b", "docker.io/library/a/b", "library/a/b"),
        ("localhost/app", "localhost/app", "localhost/app"),
        ("localhost:5000/app:tag", "localhost:5000/app:tag", "localhost:5000/app:tag"),
        ("quay.io/a/b__c/d-e---f", "quay.io/a/b__c/d-e---f", "quay.io/a/b__c/d-e---f"),
        ("[::1]:5000/app", "[::1]:5000/app", "[::1]:5000/app"),
        ("Foo/bar", "Foo/bar", "Foo/bar"),
        ("a:T_1.2-x", "docker.io/library/a:T_1.2-x", "a:T_1.2-x"),
        ("a@sha256:\(hex)", "docker.io/library/a@sha256:\(hex)", "a@sha256:\(hex)"),
        ("a:1@sha256:\(hex)", "docker.io/library/a:1@sha256:\(hex)", "a:1@sha256:\(hex)"),
    ])
    func normalises(_ text: String, _ whole: String, _ familiar: String) throws {
        let reference = try Reference(parsing: text)
        #expect(reference.description == whole)
        #expect(reference.familiar == familiar)
        #expect(try Reference(parsing: whole) == reference)
        #expect(try Reference(parsing: familiar) == reference)
    }

    @Test(arguments: [
        "", ":", "a:", "a:b:c", "/a", "a/", "a//b", "-a", "a-", "a..b", "a___b", "a._b", "_a", "a b",
        "a\u{0}", "Busybox",
        "a/B", "quay.io/A", "a:.b", "a:-b", "a:" + String(repeating: "t", count: 129), "a@", "a@sha256:12",
        "a@md5:\(hex)", "a@sha256:\(hex.uppercased())", "host:port/a", "ho_st.x/a", ".host/a", "h.:80/a",
        "[::1/a",
        "ä", "https://quay.io/a", hex, String(repeating: "a", count: 256),
        String(repeating: "a", count: 5000),
    ])
    func refuses(_ text: String) {
        #expect { try Reference(parsing: text) } throws: { ($0 as? StorageError)?.code == .invalid }
    }

    @Test func saysWhatDockerSays() {
        let message = { (text: String) in
            do throws(StorageError) {
                return try Reference(parsing: text).description
            } catch {
                return error.message
            }
        }
        #expect(message("a b") == "invalid reference format")
        #expect(
            message("Busybox")
                == "invalid reference format: repository name (library/Busybox) must be lowercase"
        )
        #expect(
            message(String(repeating: "a", count: 256))
                == "repository name must not be more than 255 characters"
        )
    }

    @Test func latestStandsInForNothing() throws {
        #expect(try Reference(parsing: "a").tagged.familiar == "a:latest")
        #expect(try Reference(parsing: "a:1").tagged.familiar == "a:1")
        #expect(try Reference(parsing: "a@sha256:\(Self.hex)").tagged.familiar == "a@sha256:\(Self.hex)")
    }

    @Test func tellsIdsFromNames() throws {
        let digest = try #require(Digest("sha256:\(Self.hex)"))
        for text in [Self.hex, "sha256:\(Self.hex)"] {
            guard case .id(let id) = try ImageSelector(text) else {
                Issue.record("\(text) is an id")
                continue
            }
            #expect(id == digest)
        }
        guard case .name(let name, let prefix) = try ImageSelector("abc1"),
            case .name(_, let longPrefix) = try ImageSelector("sha256:abc"),
            case .name(_, let none) = try ImageSelector("abcg")
        else {
            Issue.record("these are names")
            return
        }
        #expect(name.familiar == "abc1")
        #expect(prefix == "abc1")
        #expect(longPrefix == "abc")
        #expect(none == nil)
    }

    @Test(arguments: [
        ("linux/amd64", "linux/amd64"), ("arm64", "linux/arm64"), ("linux/arm/v7", "linux/arm/v7"),
        ("linux/x86_64", "linux/amd64"), ("aarch64", "linux/arm64"),
    ])
    func readsPlatforms(_ text: String, _ wanted: String) throws {
        #expect(try Platform(parsing: text).description == wanted)
    }

    @Test func ranksPlatforms() throws {
        let arm64 = Platform(os: "linux", architecture: "arm64", variant: "v8")
        #expect(Platform(os: "linux", architecture: "arm64").rank(for: arm64) == 1)
        #expect(arm64.rank(for: arm64) == 0)
        #expect(Platform(os: "linux", architecture: "arm64", variant: "v9").rank(for: arm64) == nil)
        #expect(Platform(os: "windows", architecture: "arm64").rank(for: arm64) == nil)
        #expect(throws: StorageError.self) { try Platform(parsing: "linux//v7") }
        #expect(throws: StorageError.self) { try Platform(parsing: "a/b/c/d") }
    }
}
