// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestGates
import Testing

/// Images made to reach outside their container, or to hold what nothing can hold: refused, or the same tree on
/// each driver; nothing outside is touched.
@Suite(.requires(.root, .overlay, .deviceNodes, .program("python3"), .program("busybox")), .serialized)
struct HostileTests {
    static let maker = FilePath(#filePath).removingLastComponent().removingLastComponent()
        .appending("Support/hostile-images").string

    /// One layer of the script: its name, and whether it is `refused`, `legal`, or the engine may say so (`either`).
    static let cases = ((try? Program.run([maker, "--list"]).lines) ?? []).map {
        $0.split(separator: "\t").map(String.init)
    }

    @Test func allDrivers() throws {
        #expect(Self.cases.count > 50)
        let strata = try Strata()
        let place = strata.directory.path
        let outside = place.appending("outside").string
        try Program.shell(
            """
            mkdir \(place)/images \(outside); echo canary >\(outside)/canary
            \(Self.maker) \(place)/images \(outside) /bin/busybox
            """
        )
        let before = try facts(of: outside)
        for fields in Self.cases {
            let (name, kind) = (fields[0], fields[1])
            var exports: [String] = []
            for driver in ["overlay2", "vfs"] {
                let outcome = try strata(
                    "--storage-driver",
                    driver,
                    "load",
                    "-q",
                    "-i",
                    "\(place)/images/\(name).tar"
                )
                if outcome.code == 0 {
                    #expect(kind != "refused", "\(name) on \(driver)")
                    exports.append(try use(name, driver, strata))
                } else {
                    #expect(kind != "legal", "\(name) on \(driver): \(outcome)")
                    #expect(outcome.code == 1)
                    #expect(isOneLine(outcome, naming: "layer sha256:"), "\(name) on \(driver): \(outcome)")
                    #expect(outcome.errorText.contains("entry "), "\(name) on \(driver): \(outcome)")
                }
                #expect(try facts(of: outside) == before, "\(name) on \(driver) touched what is outside")
            }
            if exports.count == 2 {
                let trees = "\(exports[0]) \(exports[1])"
                #expect(try Program.run(["bash", "-c", "cmp \(trees)"]).code == 0, "\(name): other trees")
            } else {
                #expect(exports.isEmpty, "\(name): only one driver takes it")
            }
            if !exports.isEmpty { try strata.ok("rmi", name) }
        }
        // Nothing is left of what was refused.
        try strata.ok("system", "check")
        #expect(try strata.ok("system", "df").text.contains(#/Left over +0 /#))
        let left = try Program.shell("find \(strata.root)/drivers/*/{staging,layers} -mindepth 1").lines
        #expect(left.isEmpty, "\(left)")
    }

    /// Runs an image and exports its tree.
    private func use(_ image: String, _ driver: String, _ strata: Strata) throws -> String {
        let outcome = try strata("--storage-driver", driver, "run", "--rm", image, "/bin/busybox", "true")
        if outcome.code != 0 {
            #expect(image.hasPrefix("run-with") || image == "whiteout-opaque-root", "\(outcome)")
            #expect(isOneLine(outcome, naming: "strata: "), "\(outcome)")
        }
        let path = strata.directory.appending("\(driver).tar").string
        try strata.ok("--storage-driver", driver, "create", "--name", "look", image)
        try strata.ok("export", "-o", path, "look")
        try strata.ok("rm", "look")
        return path
    }

    private func isOneLine(_ outcome: Outcome, naming text: String) -> Bool {
        outcome.errorText.split(separator: "\n").count == 1 && outcome.errorText.contains(text)
            && outcome.errors.count < 2000
    }

    private func facts(of outside: String) throws -> String {
        try Program.shell(
            "cd \(outside) && find . -printf '%p %m %u %s %n %T@ %C@ %l\\n' | sort && cat canary"
        ).text
    }
}
