// SPDX-License-Identifier: Apache-2.0

/// A small record as text: its title, then a line `key value` for each field.
struct KeyedText: Sendable, Equatable {
    var title: String
    private(set) var fields: [String: String] = [:]

    init(_ title: String) { self.title = title }

    /// `nil` unless the first line is `title`; what follows an empty line or zero byte is no part of it.
    init?(_ bytes: [UInt8], title: String) {
        let text = String(decoding: bytes.prefix { $0 != 0 }, as: UTF8.self)
        let lines = text.split(separator: "\n", omittingEmptySubsequences: false)
        guard lines.first.map(String.init) == title else { return nil }
        self.title = title
        for line in lines.dropFirst() {
            if line.isEmpty { break }
            guard let space = line.firstIndex(of: " ") else { return nil }
            fields[String(line[..<space])] = String(line[line.index(after: space)...])
        }
    }

    subscript(key: String) -> String? {
        get { fields[key] }
        set { fields[key] = newValue }
    }

    func number<T: FixedWidthInteger>(_ key: String) -> T? { fields[key].flatMap { T($0) } }

    var bytes: [UInt8] {
        var text = title + "\n"
        for (key, value) in fields.sorted(by: { $0.key < $1.key }) { text += "\(key) \(value)\n" }
        return Array(text.utf8)
    }
}
