// SPDX-License-Identifier: Apache-2.0

package import Storage
package import SystemPackage

/// What a driver must do with some layers and some operations on a container's layer over them, stated as data.
///
/// Every case is also held against a reference made of plain directories (`ReferenceTrees`), so what it states by
/// itself may be as little as is worth reading: the merged tree, the changes, the refusal.
package struct ConformanceCase: Sendable, CustomStringConvertible {
    package var name: String
    /// Image layers, the base first.
    ///
    /// Where `refused` is set, the last one must be.
    package var layers: [[EntrySpec]]
    /// What is done in a container over them.
    package var operations: [Operation] = []
    /// The tree at the end, as `TreeFacts.names` prints it, where the case states it.
    package var tree: [String]?
    /// The changes of the container, `A /path`, `C /path`, `D /path`, where the case states them; without operations,
    /// those of the last layer.
    package var changes: [String]?
    package var refused: Refusal?
    /// The case shows this departure, and is for drivers that declare it.
    package var departure: Departures = []
    /// The case is not for drivers that declare this.
    package var unless: Departures = []
    /// More operations, chosen as it goes.
    package var randomOperations: RandomOperations?
    /// The layers are random too, so they may be refused, if everyone refuses them.
    package var isRandom = false

    package init(
        _ name: String,
        layers: [[EntrySpec]],
        operations: [Operation] = [],
        tree: [String]? = nil,
        changes: [String]? = nil,
        refused: Refusal? = nil,
        departure: Departures = [],
        unless: Departures = []
    ) {
        self.name = name
        self.layers = layers
        self.operations = operations
        self.tree = tree
        self.changes = changes
        self.refused = refused
        self.departure = departure
        self.unless = unless
    }

    package var description: String { name }

    /// How the last layer is refused.
    package struct Refusal: Sendable {
        package var code: StorageError.Code
        /// The entry as the message names it.
        package var entry: String

        package init(_ code: StorageError.Code = .invalid, naming entry: String) {
            self.code = code
            self.entry = entry
        }
    }

    package static let all: [ConformanceCase] =
        whiteouts + links + metadata + names + containers + hostile + departures + depths + seeded
}

/// In what a driver may differ from plain directories; a case that shows a departure runs only where it is declared.
package struct Departures: OptionSet, Sendable {
    package let rawValue: Int

    package init(rawValue: Int) { self.rawValue = rawValue }

    /// Renaming a directory that has content in a layer below is EXDEV.
    package static let directoryRename = Departures(rawValue: 1)
    /// A change through one name of a file of a layer below takes that name from its group of hard links; and a
    /// symlink, fifo or device of a layer below that gets another name may show as two for a while (overlay cannot
    /// keep its origin on one).
    package static let linkGroups = Departures(rawValue: 2)
    /// mknod of a character device 0/0 is EPERM.
    package static let whiteoutDevice = Departures(rawValue: 4)
    /// Names that start with `.wh.` are EPERM.
    package static let whiteoutNames = Departures(rawValue: 8)
    /// An image's attributes `user.overlay.*` are refused.
    package static let overlayAttributes = Departures(rawValue: 16)

    /// What drivers that stand on the kernel's overlay file system do.
    package static let overlay: Departures = [.directoryRename, .linkGroups, .whiteoutDevice]
}

/// A driver, as the suite runs it.
package struct ConformanceSubject: Sendable {
    package var name: String
    package var departures: Departures
    /// Where the homes are made; `nil`: where all temporary directories are.
    package var directory: FilePath?
    /// The one home of all cases, where making one takes long; `nil`: each case has its own.
    package var home: FilePath?
    package var open: @Sendable (FilePath) throws -> any StorageDriver

    package init(
        _ name: String,
        departures: Departures = [],
        directory: FilePath? = nil,
        home: FilePath? = nil,
        open: @escaping @Sendable (FilePath) throws -> any StorageDriver
    ) {
        self.name = name
        self.departures = departures
        self.directory = directory
        self.home = home
        self.open = open
    }
}

extension ConformanceCase {
    /// Runs the case, as root.
    ///
    /// Throws `ConformanceFailure` where the driver does something else than it must.
    package func run(on subject: ConformanceSubject) throws {
        guard departure.isSubset(of: subject.departures), unless.isDisjoint(with: subject.departures) else {
            return
        }
        do {
            try ConformanceRun(self, subject).run()
        } catch let failure as ConformanceFailure {
            throw failure
        } catch {
            throw ConformanceFailure("case \(name) on \(subject.name): \(error)")
        }
    }
}
