// SPDX-License-Identifier: Apache-2.0

import Storage

/// A driver to be measured, and where: `overlay2`, or `vfs@xfs` for one on a file system in a loop file.
struct DriverChoice: Hashable, Sendable {
    let entry: DriverEntry
    /// `nil`: where the stores are made, else where the driver works at all.
    let fileSystem: String?

    /// As results name it.
    var name: String { fileSystem.map { "\(entry.name)@\($0)" } ?? entry.name }

    static func == (left: DriverChoice, right: DriverChoice) -> Bool { left.name == right.name }
    func hash(into hasher: inout Hasher) { hasher.combine(name) }

    /// What `names` mean, each once; without names all of `entries`.
    static func choices(_ names: [String], of entries: [DriverEntry]) throws -> [DriverChoice] {
        if names.isEmpty { return entries.map { DriverChoice(entry: $0, fileSystem: nil) } }
        var choices: [DriverChoice] = []
        for name in names {
            let choice = try choice(name, of: entries)
            if !choices.contains(choice) { choices.append(choice) }
        }
        return choices
    }

    private static func choice(_ name: String, of entries: [DriverEntry]) throws -> DriverChoice {
        let parts = name.split(separator: "@", maxSplits: 1, omittingEmptySubsequences: false).map(
            String.init
        )
        guard let entry = entries.first(where: { $0.name == parts[0] }) else {
            let known = entries.map(\.name).joined(separator: ", ")
            throw StorageError(
                .notFound,
                "measure driver \(name): no such driver was built",
                remedy: "drivers here: \(known)"
            )
        }
        guard let type = parts.dropFirst().first else { return DriverChoice(entry: entry, fileSystem: nil) }
        guard LoopFileSystem.types.contains(type) else {
            throw StorageError(
                .notFound,
                "measure driver \(name): no such file system can be made in a loop file",
                remedy: "there are \(LoopFileSystem.types.joined(separator: ", "))"
            )
        }
        return DriverChoice(entry: entry, fileSystem: type)
    }
}
