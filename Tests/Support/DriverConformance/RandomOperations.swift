// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Storage

/// SplitMix64: the same numbers for the same seed, everywhere.
package struct SeededGenerator: RandomNumberGenerator, Sendable {
    private var state: UInt64

    package init(seed: UInt64) { state = seed }

    package mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var value = state
        value = (value ^ (value >> 30)) &* 0xBF58_476D_1CE4_E5B9
        value = (value ^ (value >> 27)) &* 0x94D0_49BB_1331_11EB
        return value ^ (value >> 31)
    }
}

/// Chooses what to do next in a container from what is there.
package struct RandomOperations: Sendable {
    package let count: Int
    private var generator: SeededGenerator

    package init(seed: UInt64, count: Int) {
        self.count = count
        generator = SeededGenerator(seed: seed)
    }

    /// The next operation, which may fail, on all drivers alike; `nil` where a departure would show.
    package mutating func next(_ facts: TreeFacts, image: TreeFacts, departures: Departures) -> Operation? {
        let paths = facts.facts.keys.sorted()
        let directories = [.root] + paths.filter { facts.facts[$0]?.kind == .directory }
        guard let directory = directories.randomElement(using: &generator) else { return nil }
        let new = directory.appending(
            TreePath(bytes: Array("n\(Int.random(in: 0..<12, using: &generator))".utf8))
        )
        let old = paths.randomElement(using: &generator) ?? new
        let operation = choose(old, new, facts)
        let shows = operation.touched.contains { path in
            (departures.contains(.linkGroups)
                && (image.facts[path]?.group != nil
                    || operation.isLink && facts.facts[path]?.kind != .regular))
                || (departures.contains(.directoryRename) && operation.isRename
                    && image.facts[path]?.kind == .directory)
        }
        return shows ? nil : operation
    }

    private mutating func choose(_ old: TreePath, _ new: TreePath, _ facts: TreeFacts) -> Operation {
        let number = Int.random(in: 0..<1000, using: &generator)
        let text = String(repeating: "\(number) ", count: number % 40)
        let isFile = facts.facts[old]?.kind == .regular
        switch Int.random(in: 0..<24, using: &generator) {
        case 0, 1, 2: return .write(new, text)
        case 3: return isFile ? .write(old, text) : .write(new, text)
        case 4: return isFile ? .append(old, text) : .chmod(new, 0o700)
        case 5: return isFile ? .truncate(old, Int64(number)) : .removeDirectory(old)
        case 6, 7: return .makeDirectory(new, mode: [0o755, 0o700, 0o1777, 0o2775][number % 4])
        case 8: return .removeDirectory(old)
        case 9, 10: return .unlink(old)
        case 11: return .removeTree(old)
        case 12, 13, 14: return .rename(old, to: new)
        case 15: return .symlink(new, to: old.printable)
        case 16, 17: return .link(new, to: old)
        case 18:
            return facts.facts[old]?.kind == .symlink
                ? .chown(old, 1, 2) : .chmod(old, UInt32(number) & 0o777 | 0o4000)
        case 19: return .chown(old, UInt32(number) * 100, UInt32(number))
        case 20:
            return isFile || facts.facts[old]?.kind == .directory
                ? .setAttribute(old, "user.n\(number % 3)", [UInt8(number % 7)]) : .unlink(old)
        case 21: return isFile ? .openForWriting(old) : .makeNode(new, .fifo)
        case 22: return .touch(old, Timestamp(seconds: Int64(number), nanoseconds: UInt32(number)))
        default: return .makeNode(new, .characterDevice, DeviceNumber(major: 240, minor: UInt32(number % 12)))
        }
    }
}

extension Operation {
    /// The names through which it goes to a file.
    var touched: [TreePath] {
        switch self {
        case .rename(let path, let target): [path, target]
        case .link(_, let target): [target]
        case .write(let path, _), .append(let path, _), .truncate(let path, _), .chmod(let path, _),
            .chown(let path, _, _), .setAttribute(let path, _, _), .removeAttribute(let path, _),
            .touch(let path, _), .openForWriting(let path):
            [path]
        default: []
        }
    }

    var isLink: Bool {
        if case .link = self { return true }
        return false
    }

    var isRename: Bool {
        if case .rename = self { return true }
        return false
    }
}

extension ConformanceCase {
    /// Random layers and random operations over them.
    static let seeded: [ConformanceCase] = (1...12).map { seeded(seed: UInt64($0), count: 150) }

    /// The case of one seed; the same on every machine.
    package static func seeded(seed: UInt64, count: Int) -> ConformanceCase {
        var generator = SeededGenerator(seed: seed &* 7919)
        let layers = (0..<Int.random(in: 1...5, using: &generator)).map {
            randomLayer(&generator, mayLink: $0 == 0)
        }
        var result = ConformanceCase("seed \(seed)", layers: [base] + layers)
        result.isRandom = true
        result.randomOperations = RandomOperations(seed: seed, count: count)
        return result
    }

    private static func randomLayer(_ generator: inout SeededGenerator, mayLink: Bool) -> [EntrySpec] {
        func path() -> TreePath {
            let names: [TreePath] = ["dir", "file", "link", "one", "two", "sub", "deep", "n0", "n1", "n2"]
            return (0..<Int.random(in: 1...3, using: &generator)).reduce(TreePath.root) { path, _ in
                path.appending(names.randomElement(using: &generator) ?? "dir")
            }
        }
        return (0..<Int.random(in: 0...20, using: &generator)).map { index in
            let number = UInt32.random(in: 0..<100, using: &generator)
            switch Int.random(in: 0..<16, using: &generator) {
            case 0, 1, 2, 3, 4:
                return .file(path(), "content \(number)", mode: number & 0o7 | 0o640, uid: number)
            case 5, 6, 7: return .directory(path(), mode: 0o700 | number & 0o77, gid: number)
            case 8: return .symlink(path(), to: path().printable)
            case 9, 10: return .whiteout(path())
            case 11: return .opaque(path())
            // In one layer only, since a link to one of several names below takes that from the others (`linkGroups`);
            // and not often, since a target that is no file refuses the layer.
            case 12:
                return mayLink && index % 4 == 0
                    ? .hardLink(path(), to: "dir/one") : .file(path(), "\(index)")
            case 13: return .other(path(), .fifo)
            case 14: return .file(path(), xattrs: ["user.number": [UInt8(number)]])
            default: return .other(path(), .characterDevice(DeviceNumber(major: 240, minor: number)))
            }
        }
    }
}
