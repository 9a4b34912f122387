// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
package import Storage

extension Reference {
    /// Parses what a user or an archive says.
    ///
    /// Fails with `.invalid` and Docker's words: `invalid reference format`, `… must be lowercase`.
    package init(parsing text: String) throws(StorageError) {
        guard text.utf8.count <= 4096 else { throw Self.invalid("name of more than 4096 bytes") }
        guard !Self.isIdentifier(text) else {
            throw StorageError(
                .invalid,
                "invalid repository name (\(text)), cannot specify 64-byte hexadecimal strings"
            )
        }
        var rest = Substring(text)
        let digest = try Self.takeDigest(&rest)
        var (domain, remainder) = Self.splitDomain(rest)
        var tag: String?
        if let colon = remainder.firstIndex(of: ":") {
            tag = String(remainder[remainder.index(after: colon)...])
            remainder = remainder[..<colon]
        }
        if remainder.utf8.contains(where: { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }) {
            throw Self.invalid("repository name (\(remainder)) must be lowercase")
        }
        guard Self.isDomain(domain), Self.isPath(remainder), tag.map(Self.isTag) ?? true else {
            throw StorageError(.invalid, "invalid reference format")
        }
        guard domain.utf8.count + 1 + remainder.utf8.count <= Self.longestRepository else {
            throw StorageError(.invalid, "repository name must not be more than 255 characters")
        }
        if domain == Self.legacyDomain { domain = Self.defaultDomain[...] }
        self.init(domain: String(domain), path: String(remainder), tag: tag, digest: digest)
    }

    /// Parses a name that an image is to get, `:latest` unless it says a tag; a digest is nobody's to give.
    package init(naming text: String) throws(StorageError) {
        let reference = try Reference(parsing: text)
        guard reference.digest == nil else {
            throw StorageError(.invalid, "refusing to create a tag with a digest reference")
        }
        self = reference.tagged
    }

    private static func invalid(_ why: String) -> StorageError {
        StorageError(.invalid, "invalid reference format: \(why)")
    }

    /// 64 hex digits are an image id, never a name.
    private static func isIdentifier(_ text: String) -> Bool {
        text.utf8.count == 64 && text.utf8.allSatisfy(isLowerHex)
    }

    private static func takeDigest(_ rest: inout Substring) throws(StorageError) -> Digest? {
        guard let at = rest.firstIndex(of: "@") else { return nil }
        guard let digest = Digest(String(rest[rest.index(after: at)...])) else {
            throw StorageError(.invalid, "invalid reference format")
        }
        rest = rest[..<at]
        return digest
    }

    /// The part before the first slash is a registry only if it looks like a host; else it belongs to Docker
    /// Hub.
    private static func splitDomain(_ text: Substring) -> (Substring, Substring) {
        var domain = defaultDomain[...]
        var remainder = text
        if let slash = text.firstIndex(of: "/") {
            let first = text[..<slash]
            let isHost =
                first.contains(where: { $0 == "." || $0 == ":" }) || first == "localhost"
                || first.utf8.contains { (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains($0) }
            if isHost {
                domain = first
                remainder = text[text.index(after: slash)...]
            }
        }
        let isHub = domain == defaultDomain || domain == legacyDomain
        if isHub, !remainder.contains("/") { remainder = (officialPrefix + String(remainder))[...] }
        return (domain, remainder)
    }

    private static func isDomain(_ text: Substring) -> Bool {
        var host = text
        if text.first == "[" {
            guard let end = text.firstIndex(of: "]") else { return false }
            let address = text[text.index(after: text.startIndex)..<end]
            let isAddress =
                !address.isEmpty && address.utf8.allSatisfy { isHex($0) || $0 == UInt8(ascii: ":") }
            let after = text[text.index(after: end)...]
            return isAddress && (after.isEmpty || (after.first == ":" && isPort(after.dropFirst())))
        }
        if let colon = text.firstIndex(of: ":") {
            guard isPort(text[text.index(after: colon)...]) else { return false }
            host = text[..<colon]
        }
        return host.split(separator: ".", omittingEmptySubsequences: false).allSatisfy { label in
            guard let first = label.utf8.first, let last = label.utf8.last else { return false }
            return isAlphanumeric(first) && isAlphanumeric(last)
                && label.utf8.allSatisfy { isAlphanumeric($0) || $0 == UInt8(ascii: "-") }
        }
    }

    private static func isPort(_ text: Substring) -> Bool {
        !text.isEmpty && text.utf8.allSatisfy(isDigit)
    }

    private static func isPath(_ text: Substring) -> Bool {
        text.split(separator: "/", omittingEmptySubsequences: false).allSatisfy { isComponent($0) }
    }

    /// Lower-case letters and digits, separated by one dot, one or two underscores, or any number of dashes.
    private static func isComponent(_ text: Substring) -> Bool {
        var separator: [UInt8] = []
        var seen = false
        for byte in text.utf8 {
            if isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte) {
                guard separator.isEmpty || (seen && isSeparator(separator)) else { return false }
                separator.removeAll(keepingCapacity: true)
                seen = true
            } else {
                separator.append(byte)
            }
        }
        return seen && separator.isEmpty
    }

    private static func isSeparator(_ bytes: [UInt8]) -> Bool {
        bytes == Array(".".utf8) || bytes == Array("_".utf8) || bytes == Array("__".utf8)
            || bytes.allSatisfy { $0 == UInt8(ascii: "-") }
    }

    private static func isTag(_ text: String) -> Bool {
        guard let first = text.utf8.first, text.utf8.count <= longestTag else { return false }
        let isWord = { (byte: UInt8) in isAlphanumeric(byte) || byte == UInt8(ascii: "_") }
        return isWord(first)
            && text.utf8.allSatisfy { isWord($0) || $0 == UInt8(ascii: ".") || $0 == UInt8(ascii: "-") }
    }

    private static func isDigit(_ byte: UInt8) -> Bool {
        (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
    }

    private static func isAlphanumeric(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
    }

    private static func isHex(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte | 0x20)
    }

    static func isLowerHex(_ byte: UInt8) -> Bool {
        isDigit(byte) || (UInt8(ascii: "a")...UInt8(ascii: "f")).contains(byte)
    }
}

/// What a user may write where an image is wanted: a name, or (the start of) an id.
package enum ImageSelector: Sendable {
    /// A digest in full: only an id.
    case id(Digest)
    /// A name first, and if there is none, the start of an id.
    case name(Reference, orIDPrefix: String?)

    package init(_ text: String) throws(StorageError) {
        if let digest = Digest(text) ?? Digest("sha256:\(text)") {
            self = .id(digest)
            return
        }
        let hex = text.hasPrefix("sha256:") ? text.dropFirst(7) : text[...]
        let isPrefix = (1..<64).contains(hex.utf8.count) && hex.utf8.allSatisfy(Reference.isLowerHex)
        self = .name(try Reference(parsing: text), orIDPrefix: isPrefix ? String(hex) : nil)
    }
}
