// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import Testing

@Suite struct DigestTests {
    /// FIPS 180-4 and the sizes around a block's end, by two implementations.
    @Test func knownDigests() {
        let empty = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855"
        #expect(Digest.sha256(of: []).description == empty)
        let abc = "sha256:ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad"
        #expect(Digest.sha256(of: Array("abc".utf8)).description == abc)
    }

    @Test func shortAndStreamedAgree() {
        for count in Array(0...130) + [100_000, 128 << 10, (128 << 10) + 1] {
            let bytes = (0..<count).map { UInt8(truncatingIfNeeded: $0 &* 7) }
            var hasher = SHA256Hasher()
            var rest = bytes[...]
            while !rest.isEmpty {
                Array(rest.prefix(37)).withUnsafeBytes { hasher.update($0) }
                rest = rest.dropFirst(37)
            }
            #expect(hasher.finish() == Digest.sha256(of: bytes))
        }
    }

    @Test func textForm() throws {
        let text = "sha256:0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"
        let digest = try #require(Digest(text))
        #expect(digest.description == text)
        for wrong in [
            "", "sha256:", text + "0", "sha512:" + digest.hex, "sha256:../" + digest.hex.dropFirst(3),
            text.uppercased(),
        ] {
            #expect(Digest(wrong) == nil)
        }
    }

    @Test func chainIDs() throws {
        let a = Digest.sha256(of: [1])
        let b = Digest.sha256(of: [2])
        #expect(Digest.chainID(parent: nil, diffID: a) == a)
        #expect(Digest.chainID(parent: a, diffID: b) == Digest.sha256(of: Array("\(a) \(b)".utf8)))
    }
}
