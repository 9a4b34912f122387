// SPDX-License-Identifier: Apache-2.0

/// Ids and made-up names of containers, in Docker's forms.
enum ContainerNames {
    /// 64 hex digits, random; twelve of them are shown.
    static func randomID() -> String {
        var generator = SystemRandomNumberGenerator()
        var digits: [UInt8] = []
        digits.reserveCapacity(64)
        let hex = Array("0123456789abcdef".utf8)
        for _ in 0..<4 {
            var word = generator.next()
            for _ in 0..<16 {
                digits.append(hex[Int(word & 15)])
                word >>= 4
            }
        }
        return String(decoding: digits, as: UTF8.self)
    }

    static func isID(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy { "0123456789abcdef".utf8.contains($0) }
    }

    /// Made up like Docker's, `adjective_surname`, for a container that nobody named.
    ///
    /// May be taken already.
    static func random() -> String {
        let adjective = adjectives[Int.random(in: 0..<adjectives.count)]
        return "\(adjective)_\(surnames[Int.random(in: 0..<surnames.count)])"
    }

    /// Docker's rule: `[a-zA-Z0-9][a-zA-Z0-9_.-]+`.
    static func isValid(_ name: String) -> Bool {
        let bytes = Array(name.utf8)
        guard bytes.count >= 2, bytes.count <= 255, let first = bytes.first, isAlphanumeric(first) else {
            return false
        }
        return bytes.allSatisfy { isAlphanumeric($0) || "_.-".utf8.contains($0) }
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        switch byte {
        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "A")...UInt8(ascii: "Z"),
            UInt8(ascii: "a")...UInt8(ascii: "z"):
            true
        default: false
        }
    }

    private static let adjectives: [StaticString] = [
        "able", "amber", "bold", "brave", "bright", "brisk", "calm", "candid", "clever", "crisp", "deft",
        "eager",
        "early", "fair", "fleet", "fond", "frank", "gentle", "glad", "golden", "grand", "hardy", "honest",
        "jolly",
        "keen", "kind", "lively", "lucid", "mellow", "merry", "mild", "neat", "nimble", "noble", "patient",
        "plain",
        "proud", "quick", "quiet", "rapid", "ready", "robust", "serene", "sharp", "silent", "sincere",
        "smooth",
        "sober", "spry", "steady", "stoic", "sunny", "swift", "tidy", "tranquil", "upbeat", "vivid", "warm",
        "wise",
        "witty", "young", "zesty",
    ]

    private static let surnames: [StaticString] = [
        "abel", "ampere", "archimedes", "babbage", "bernoulli", "bohr", "boole", "brahe", "cantor", "carnot",
        "cerf",
        "church", "curie", "darwin", "descartes", "dijkstra", "dirac", "edison", "einstein", "engelbart",
        "erdos",
        "euclid", "euler", "faraday", "fermat", "fermi", "feynman", "fourier", "franklin", "galileo",
        "galois", "gauss",
        "germain", "goedel", "hamilton", "hertz", "hilbert", "hopper", "huygens", "hypatia", "joule",
        "kepler", "knuth",
        "kovalevskaya", "lagrange", "lamport", "laplace", "leibniz", "liskov", "lovelace", "maxwell",
        "meitner",
        "mendel", "nash", "neumann", "newton", "noether", "ohm", "pascal", "pasteur", "planck", "poincare",
        "ritchie",
        "shannon", "tesla", "thompson", "torvalds", "turing", "volta", "watt", "wing", "wirth", "yonath",
    ]
}
