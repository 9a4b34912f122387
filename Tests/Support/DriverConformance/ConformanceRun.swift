// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Storage
import SystemPackage
import TestGates

/// One case on one driver, beside the same on plain directories.
final class ConformanceRun {
    static let label = "layer sha256:c0ffee"

    private let testCase: ConformanceCase
    private let subject: ConformanceSubject
    private let scratch: TemporaryDirectory
    private let home: FilePath
    private let driver: any StorageDriver
    /// The names in the home before there is a layer.
    private let emptyHome: [String]
    private let reference: ReferenceTrees
    private var chain = LayerChain()

    init(_ testCase: ConformanceCase, _ subject: ConformanceSubject) throws {
        self.testCase = testCase
        self.subject = subject
        scratch = try TemporaryDirectory(below: subject.directory ?? TemporaryDirectory.base)
        home = subject.home ?? scratch.appending("home")
        driver = try subject.open(home)
        emptyHome = try Self.names(below: home)
        reference = try ReferenceTrees(in: scratch.appending("reference"))
    }

    func run() throws {
        // Hostile layers point here.
        try Files.makeDirectory("outside", below: scratch.fd, mode: 0o755)
        let outside = try Files.openDirectory("outside", below: scratch.fd)
        _ = try Files.open("canary", below: outside.raw, O_WRONLY | O_CREAT | O_EXCL, mode: 0o600)
        let before = try TreeFacts(of: outside.raw)

        try makeLayers()
        try checkLayers()
        try checkContainer()
        try checkRemoval()
        try expect(try TreeFacts(of: outside.raw) == before, "something outside the layers was touched")
    }

    func expect(_ isTrue: @autoclosure () throws -> Bool, _ fault: @autoclosure () -> String) throws {
        if try !isTrue() { throw ConformanceFailure("case \(testCase.name) on \(subject.name): \(fault())") }
    }

    // MARK: Layers

    private func makeLayers() throws {
        for (index, layer) in testCase.layers.enumerated() {
            let isRefused = testCase.refused != nil && index == testCase.layers.count - 1
            let failure = try outcome { try make(layer) }
            // What only departs is applied to plain directories.
            let departs = isRefused && !testCase.departure.isEmpty
            let other = departs ? failure : try outcome { try reference.apply(layer) }
            try expect(
                (failure == nil) == (other == nil),
                "layer \(index): \(failure.map(String.init(describing:)) ?? "applied"), on plain directories "
                    + (other.map(String.init(describing:)) ?? "applied")
            )
            if let failure {
                try checkRefusal(failure, isExpected: isRefused)
            } else if isRefused {
                try expect(false, "the layer was applied, and must be refused")
            }
            if failure != nil { return }
        }
    }

    private func outcome(_ body: () throws -> Void) throws -> StorageError? {
        do {
            try body()
            return nil
        } catch let error as StorageError {
            return error
        }
    }

    private func make(_ entries: [EntrySpec]) throws {
        let id = LayerID.random()
        do {
            let source = MemorySource(entries, label: Self.label)
            let undecided = try driver.apply(source, to: id, over: driver.appliesOverParent ? chain : nil)
            try expect(Set(try driver.list()) == Set(chain.ids + [id]), "list is wrong before seal")
            do {
                try driver.seal(id, over: chain, undecided: undecided)
            } catch {
                try driver.remove(id)  // the store does
                throw error
            }
        } catch {
            try expect(Set(try driver.list()) == Set(chain.ids), "a refused layer left something behind")
            throw error
        }
        chain = chain.appending(id)
    }

    private func checkRefusal(_ error: StorageError, isExpected: Bool) throws {
        guard isExpected, let refused = testCase.refused else {
            // Random layers may be refused, by everyone alike.
            return try expect(testCase.isRandom, "the layer was refused: \(error)")
        }
        try expect(error.code == refused.code, "refused with \(error.code), not \(refused.code): \(error)")
        try expect(
            error.message.contains(refused.entry),
            "the refusal does not name the entry \(refused.entry): \(error)"
        )
        try expect(!error.description.contains("\n"), "the refusal is more than one line: \(error)")
    }

    private func checkLayers() throws {
        guard let top = reference.top else { return }
        // All of a deep chain would take long and show nothing more.
        let count = chain.ids.count
        for index in chain.ids.indices where index < 2 || index >= count - 2 {
            let parents = LayerChain(Array(chain.ids[..<index]))
            let changes = try driver.changes(chain.ids[index], over: parents)
            try compare(changes.changes, try reference.changes(index), "changes of layer \(index)")
            let usage = try driver.usage(chain.ids[index])
            try expect(usage.inodes >= 1 && usage.bytes >= 0, "usage of layer \(index) is \(usage)")
        }
        let mounted = try mountTop()
        try compare(try TreeFacts(of: mounted.root.raw), try TreeFacts(of: top.raw), "image")
        if testCase.operations.isEmpty, !testCase.isRandom {
            try compareStated(try TreeFacts(of: mounted.root.raw).names, testCase.tree, "tree")
            let last = try reference.changes(count - 1)
            try compareStated(last.map(\.line), testCase.changes, "changes")
        }
        let failure = try outcome {
            _ = try doing("write") {
                try Files.open(".never made", below: mounted.root.raw, O_WRONLY | O_CREAT)
            }
        }
        try expect(
            failure?.code == .permission,
            "a sealed layer can be written to: \(failure.debugDescription)"
        )
    }

    private func mountTop() throws -> MountedLayer {
        guard let top = chain.top else {
            throw ConformanceFailure("case \(testCase.name) has no layer that is applied")
        }
        return try driver.mount(top, over: LayerChain(chain.ids.dropLast()), access: .readOnly)
    }

    // MARK: Container

    private func checkContainer() throws {
        if testCase.operations.isEmpty, testCase.randomOperations == nil, chain.ids.isEmpty { return }
        let id = LayerID.random()
        try driver.prepare(id, over: chain, options: LayerOptions())
        try expect(
            try outcome { try driver.prepare(id, over: chain, options: LayerOptions()) }?.code == .exists,
            "an id twice"
        )
        let tree = try reference.copyOfTop()
        let mounted = try driver.mount(id, over: chain, access: .readWrite)
        try expect(try driver.changes(id, over: chain).changes.isEmpty, "a new container has changes")
        try operate(on: mounted.root.raw, tree.raw, id)
        try checkChanges(id, mounted.root.raw)
        try commit(id, mounted.root.raw)
        // It waits for the whole file system, and does the same whatever is in it.
        if testCase.operations.count == 1 { try driver.sync() }
        try driver.remove(id)
        try driver.remove(id)
    }

    private func operate(on mounted: CInt, _ tree: CInt, _ id: LayerID) throws {
        for (number, operation) in testCase.operations.enumerated() {
            try doing("operation \(number), \(operation)") { try operation.run(on: mounted, number: number) }
            // What departs is not done to the plain tree, where it works; the case states the tree.
            if case .fails = operation { continue }
            try doing("operation \(number) on plain directories") {
                try operation.run(on: tree, number: number)
            }
        }
        guard var random = testCase.randomOperations else { return }
        let image = try TreeFacts(of: reference.trees[reference.trees.count - 2].raw)
        for number in 0..<random.count {
            let facts = try TreeFacts(of: tree)
            guard let operation = random.next(facts, image: image, departures: subject.departures) else {
                continue
            }
            let result = Result { try operation.run(on: tree, number: number) }
            let other = Result { try operation.run(on: mounted, number: number) }
            try expect(
                errno(result) == errno(other),
                "operation \(number), \(operation): \(other), on plain directories \(result)"
            )
            if number % 50 == 49 { try checkChanges(id, mounted) }
        }
    }

    private func errno(_ result: Result<Void, any Error>) throws -> Errno? {
        do {
            try result.get()
            return nil
        } catch let error as SystemError {
            return error.errno
        }
    }

    private func checkChanges(_ id: LayerID, _ mounted: CInt) throws {
        let changes = try driver.changes(id, over: chain).changes
        let parent = try chain.ids.isEmpty ? nil : mountTop()
        let walked = try TreeComparison.changes(parent: parent.root, tree: mounted)
        try compare(changes, walked, "changes against the walk of two trees")
        if testCase.departure.isEmpty {
            try compare(
                try TreeFacts(of: mounted),
                try TreeFacts(of: reference.trees[reference.trees.count - 1].raw),
                "container"
            )
            try compare(changes, try reference.changes(reference.trees.count - 1), "changes")
        }
        if testCase.operations.isEmpty { return }
        try compareStated(try TreeFacts(of: mounted).names, testCase.tree, "tree")
        try compareStated(changes.map(\.line), testCase.changes, "changes")
    }

    /// The changes as a layer give the same digest as on plain directories, and the same tree when they are applied.
    private func commit(_ id: LayerID, _ mounted: CInt) throws {
        let set = try driver.changes(id, over: chain)
        if set.changes.contains(where: { $0.path.name.bytes.starts(with: ".wh.".utf8) }) { return }
        let new = LayerID.random()
        let sink = DigestSink()
        let tee = TarTee(ChangeStream(set, label: "changes of \(id)"), sink: sink)
        let undecided = try driver.apply(tee, to: new, over: driver.appliesOverParent ? chain : nil)
        try tee.finish()
        try driver.seal(new, over: chain, undecided: undecided)
        try compareCommitted(new, mounted, set.changes)
        let written = sink.finish()
        try copy(id, mounted, set.changes, written)
        if testCase.departure.isEmpty {
            let index = reference.trees.count - 1
            let plain = ChangeSet(
                changes: try reference.changes(index),
                tree: reference.trees[index],
                form: PlainForm()
            )
            let digest = try DigestSink.digest(of: ChangeStream(plain, label: "changes on plain directories"))
            try expect(written == digest, "the digest of the layer is not that of plain directories")
        }
        try driver.remove(new)
    }

    private func compareCommitted(_ id: LayerID, _ mounted: CInt, _ changes: [Change]) throws {
        let committed = try driver.mount(id, over: chain, access: .readOnly)
        try compare(try TreeFacts(of: committed.root.raw), try TreeFacts(of: mounted), "committed layer")
        try compare(try driver.changes(id, over: chain).changes, changes, "changes of the committed layer")
    }

    /// What a driver copies as a whole is what applying the changes gives, and stays it when the layer goes on.
    private func copy(_ id: LayerID, _ mounted: CInt, _ changes: [Change], _ digest: Digest?) throws {
        guard let driver = driver as? any LayerSnapshotting, !chain.ids.isEmpty else { return }
        for isFinal in [true, false] {
            let new = LayerID.random()
            let made = try driver.snapshot(id, over: chain, as: new, over: chain, isFinal: isFinal)
            guard let made else { return try expect(false, "the layer cannot be copied") }
            try compare(made.changes, changes, "changes of the copied layer")
            let copied = try DigestSink.digest(of: ChangeStream(made, label: "changes of \(id), copied"))
            try expect(copied == digest, "the digest of the copied layer is not that of the applied one")
            try driver.seal(new, over: chain, undecided: Undecided())
            try compareCommitted(new, mounted, changes)
            try expect(
                try outcome {
                    _ = try driver.snapshot(id, over: chain, as: new, over: chain, isFinal: isFinal)
                }?.code == .exists,
                "an id twice"
            )
            try driver.remove(new)
        }
    }

    // MARK: Removal

    private func checkRemoval() throws {
        for id in chain.ids.reversed() { try driver.remove(id) }
        try expect(try driver.list().isEmpty, "removed layers are listed")
        try driver.emptyTrash { false }
        try driver.remove(LayerID.random())
        // Nothing of them is left: what is there now was there before.
        let left = try Self.names(below: home)
        try expect(left == emptyHome, "the home has \(left) after all layers are gone, \(emptyHome) before")
    }

    /// The names below a driver's home; what is in its files is its own, and may be a whole disk.
    private static func names(below home: FilePath) throws -> [String] {
        var names: [String] = []
        var pending = [home]
        while let next = pending.popLast() {
            let directory = try Files.openDirectory(next)
            for entry in try Files.list(directory.raw) {
                let path = next.appending(entry.name.printable)
                names.append(String(path.string.dropFirst(home.string.count)))
                if try Files.status(path)?.kind == .directory { pending.append(path) }
            }
        }
        return names.sorted()
    }

    // MARK: Comparing

    private func compare(_ mine: TreeFacts, _ plain: TreeFacts, _ what: String) throws {
        let lines = mine.differences(from: plain, names: (subject.name, "what it should be"))
        try expect(lines.isEmpty, "\(what): \(lines.prefix(8).joined(separator: "\n"))")
    }

    private func compare(_ mine: [Change], _ plain: [Change], _ what: String) throws {
        if mine == plain { return }
        let (one, two) = (Set(mine), Set(plain))
        let more = mine.filter { !two.contains($0) }.map(\.line)
        let less = plain.filter { !one.contains($0) }.map(\.line)
        try expect(
            false,
            "\(what): too many \(more.prefix(8)), missing \(less.prefix(8)), sorted \(mine == mine.sorted())"
        )
    }

    private func compareStated(_ lines: [String], _ stated: [String]?, _ what: String) throws {
        guard let stated else { return }
        try expect(lines == stated, "\(what) is \(lines), not \(stated)")
    }
}

extension MountedLayer? where Wrapped: ~Copyable {
    fileprivate var root: CInt? {
        switch self {
        case .some(let layer): layer.root.raw
        case .none: nil
        }
    }
}

extension Change {
    /// As `docker diff` prints it.
    package var line: String {
        switch kind {
        case .added: "A \(path)"
        case .modified: "C \(path)"
        case .deleted: "D \(path)"
        }
    }
}

/// Hashes the tar of a layer.
private final class DigestSink: ByteSink {
    private var hasher: SHA256Hasher? = SHA256Hasher()

    func write(_ bytes: UnsafeRawBufferPointer) { hasher?.update(bytes) }

    func finish() -> Digest? {
        guard let hasher = hasher.take() else { return nil }
        return hasher.finish()
    }

    /// The digest of the layer that `source` gives.
    static func digest(of source: any LayerEntrySource) throws -> Digest? {
        let sink = DigestSink()
        let tee = TarTee(source, sink: sink)
        while let entry = try tee.next() {
            if case .regular = entry.kind { try tee.readContent { _ in } }
        }
        try tee.finish()
        return sink.finish()
    }
}
