// SPDX-License-Identifier: Apache-2.0

package import LinuxSys

/// How a driver's trees say on disk what a layer says: the marks for "hidden", and names that are the mark's own.
package protocol TreeForm: Sendable {
    /// Whether a tree holds everything that is seen (parents included), so that hiding is deleting.
    var isWholeTree: Bool { get }

    /// Leaves the mark that hides `name` in the layers below. The name does not exist. Never called for whole trees.
    func makeWhiteout(_ name: TreePath, below directory: CInt) throws

    /// Marks an open directory as hiding all that the layers below have in it. Never called for whole trees.
    func makeOpaque(_ directory: CInt) throws

    /// Whether this object is the mark that `makeWhiteout` leaves at the name itself.
    func isWhiteout(_ status: FileStatus, named name: TreePath) -> Bool

    /// What a name in a directory says by itself.
    func meaning(of name: TreePath) -> NameMeaning

    /// Whether `directory` bears a mark of `makeWhiteout` that hides `name` and stands beside it.
    func hides(_ name: TreePath, below directory: CInt) throws -> Bool

    /// Takes such a mark away; whether there was one.
    func removeWhiteout(_ name: TreePath, below directory: CInt) throws -> Bool

    /// Whether an open directory bears the mark of `makeOpaque`.
    func isOpaque(_ directory: CInt) throws -> Bool

    /// Attributes as they are stored, for attributes as a layer gives them. Throws `FormRefusal` where the form cannot store one.
    func stored(_ attributes: [ExtendedAttribute]) throws -> [ExtendedAttribute]

    /// Attributes as a layer gives them, for attributes read from disk; marks are left out. Sorted by name.
    func visible(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute]

    /// Whether `visible` keeps an attribute of this name, whatever its value.
    func shows(_ name: ArraySlice<UInt8>) -> Bool
}

extension TreeForm {
    package func shows(_ name: ArraySlice<UInt8>) -> Bool { true }

    /// The attributes of an open file as a layer gives them.
    package func attributes(of fd: CInt) throws(SystemError) -> [ExtendedAttribute] {
        visible(try ExtendedAttributes.read(of: fd, where: shows))
    }

    /// The attributes of a name as a layer gives them.
    package func attributes(
        of name: TreePath,
        below directory: CInt
    ) throws(SystemError) -> [ExtendedAttribute] {
        visible(try ExtendedAttributes.read(name, below: directory, where: shows))
    }
}

/// What a name in a directory says by itself.
package enum NameMeaning: Sendable {
    /// An object of the layer, or a mark that its status tells.
    case entry
    /// A mark that hides this name in the layers below.
    case whiteout(TreePath)
    /// A mark that says something of its directory.
    case mark
}

/// Forms whose marks stand at the names that they hide.
extension TreeForm {
    package func meaning(of name: TreePath) -> NameMeaning { .entry }

    package func hides(_ name: TreePath, below directory: CInt) throws -> Bool { false }

    package func removeWhiteout(_ name: TreePath, below directory: CInt) throws -> Bool { false }
}

/// What a form cannot hold; whoever knows of which layer and entry it is says so.
package struct FormRefusal: Error, Sendable {
    package let code: StorageError.Code
    package let message: String
    package let remedy: String?

    package init(_ code: StorageError.Code, _ message: String, remedy: String? = nil) {
        self.code = code
        self.message = message
        self.remedy = remedy
    }
}

/// Every file is what it seems, and the tree holds everything.
package struct PlainForm: TreeForm {
    package init() {}

    package var isWholeTree: Bool { true }

    package func makeWhiteout(_ name: TreePath, below directory: CInt) throws {
        throw StorageError(.unsupported, "hide \(name): a whole tree has no whiteouts")
    }

    package func makeOpaque(_ directory: CInt) throws {
        throw StorageError(.unsupported, "make a directory opaque: a whole tree has no opaque directories")
    }

    package func isWhiteout(_ status: FileStatus, named name: TreePath) -> Bool { false }

    package func isOpaque(_ directory: CInt) throws -> Bool { false }

    package func stored(_ attributes: [ExtendedAttribute]) throws -> [ExtendedAttribute] { attributes }

    package func visible(_ attributes: [ExtendedAttribute]) -> [ExtendedAttribute] { attributes }
}
