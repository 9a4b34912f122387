// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import SystemPackage

/// Processors as the kernel lists them: `0-3,8`.
package struct CPUList: Sendable, Equatable, CustomStringConvertible {
    package let text: String
    private let numbers: Set<Int>

    /// `nil` if `text` is no such list, or names none.
    package init?(_ text: String) {
        var numbers: Set<Int> = []
        for part in text.split(separator: ",", omittingEmptySubsequences: false) {
            let ends = part.split(separator: "-", omittingEmptySubsequences: false).map {
                UInt16($0).map(Int.init)
            }
            guard (1...2).contains(ends.count), let first = ends[0], let last = ends[ends.count - 1],
                first <= last
            else { return nil }
            numbers.formUnion(first...last)
        }
        self.text = text
        self.numbers = numbers
    }

    package func isSubset(of other: CPUList) -> Bool { numbers.isSubset(of: other.numbers) }

    package var description: String { text }

    /// Those that a container can have here; `nil` where the kernel does not tell.
    package static func available() -> CPUList? {
        var files: [FilePath] = ["/sys/devices/system/cpu/online"]
        if let hierarchies = CgroupHierarchies.detect() {
            let file = hierarchies.version == .v1 ? "cpuset/cpuset.effective_cpus" : "cpuset.cpus.effective"
            files.insert(hierarchies.root.appending(file), at: 0)
        }
        for file in files {
            guard let bytes = try? Files.contents(file, limit: 1 << 16) else { continue }
            let text = String(decoding: bytes.prefix { $0 != UInt8(ascii: "\n") }, as: UTF8.self)
            if let list = CPUList(text) { return list }
        }
        return nil
    }
}
