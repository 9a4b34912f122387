// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
package import Storage
import SystemPackage

/// Resolves what `TreeApplier` could not decide without the parent, at a cost of its count.
///
/// Implied directories take the metadata of the parent's directory of the same path, or stay as they are where the
/// parent has none. Targets of hard links are copied up from the parent, with the directories above them.
///
/// - Parameters:
///   - root: the layer's tree, in `form`.
///   - parentRoot: the parents' tree as a container sees it; `nil` where there is no parent.
///   - parentForm: what attributes of `parentRoot` mean, where that is not such a tree.
package func resolve(
    _ undecided: Undecided,
    root: CInt,
    form: any TreeForm,
    parentRoot: CInt?,
    parentForm: any TreeForm = PlainForm(),
    label: String
) throws {
    if undecided.isEmpty { return }
    let label = undecided.label ?? label
    try doing("seal \(label)") {
        let resolution = Resolution(
            root: root,
            form: form,
            parentRoot: parentRoot,
            parentForm: parentForm,
            label: label
        )
        for (link, target) in undecided.hardLinks { try resolution.link(link, to: target) }
        guard let parentRoot else { return }
        // A directory's time is set after whatever is made in it; nothing is made any more.
        for path in undecided.impliedDirectories { try resolution.takeMetadata(path, from: parentRoot) }
    }
}

private struct Resolution {
    let root: CInt
    let form: any TreeForm
    let parentRoot: CInt?
    let parentForm: any TreeForm
    let label: String
    let entries = EntryCopier()

    func takeMetadata(_ path: TreePath, from parentRoot: CInt) throws {
        guard let parent = try openDirectory(path, in: parentRoot) else { return }
        let directory = try Files.openBeneath(path, in: root, O_RDONLY | O_DIRECTORY)
        try describe(directory.raw, as: parent.raw)
    }

    private func describe(_ directory: CInt, as parent: CInt) throws {
        let status = try Files.status(of: parent)
        try system("fchown") { fchown(directory, status.uid, status.gid) }
        try Metadata.replaceAttributes(
            on: directory,
            with: try parentForm.attributes(of: parent),
            form: form
        )
        try system("fchmod") { fchmod(directory, status.mode) }
        try Metadata.setTime(status.mtime, on: directory)
    }

    /// A directory of the parent, or `nil` if it has none of this path.
    private func openDirectory(_ path: TreePath, in parentRoot: CInt) throws -> OwnedFD? {
        do throws(SystemError) {
            return try Files.openBeneath(path, in: parentRoot, O_RDONLY | O_DIRECTORY)
        } catch {
            if error.meansGone { return nil }
            throw error
        }
    }

    func link(_ link: TreePath, to target: TreePath) throws {
        let refused = StorageError(
            .invalid,
            "unpack \(label), entry \(link.shown): a hard link to \(target.shown), which no layer has as a file"
        )
        let covered = try isCovered(target.parent ?? .root)
        guard let source = try directory(target.parent ?? .root, isCovered: covered) else { throw refused }
        try copyUp(target, to: source.raw, isCovered: covered, orThrow: refused)
        guard let place = try openDirectory(link.parent ?? .root, in: root) else { throw refused }
        let time = try Files.status(of: place.raw).mtime
        try Files.removeTree(link.name, below: place.raw)
        try Metadata.link(target.name, below: source.raw, to: link.name, below: place.raw)
        try Metadata.setTime(time, on: place.raw)
    }

    /// Whether the layer hides what the parent has in the directory `path`.
    private func isCovered(_ path: TreePath) throws -> Bool {
        var here = try Files.open(".", below: root, O_RDONLY | O_DIRECTORY)
        if try form.isOpaque(here.raw) { return true }
        for name in path.components {
            guard let next = try openDirectory(name, in: here.raw) else { return false }
            if try form.isOpaque(next.raw) { return true }
            here = next
        }
        return false
    }

    /// Brings the file into the layer, unless it is there.
    private func copyUp(
        _ target: TreePath,
        to directory: CInt,
        isCovered: Bool,
        orThrow refused: StorageError
    ) throws {
        if let status = try Files.status(target.name, below: directory) {
            if form.isWhiteout(status, named: target.name) || status.kind == .directory { throw refused }
            return
        }
        guard try !isCovered && !form.hides(target.name, below: directory), let parentRoot,
            let
                parent = try openDirectory(target.parent ?? .root, in: parentRoot),
            let status = try Files.status(target.name, below: parent.raw), status.kind != .directory
        else { throw refused }
        let time = try Files.status(of: directory).mtime
        try entries.copy(target.name, status, from: parent.raw, to: directory, form: form)
        try Metadata.setTime(time, on: directory)
    }

    /// The directory `path` of the layer, made as the parent has it where the layer lacks it; `nil` where it is hidden.
    private func directory(_ path: TreePath, isCovered: Bool) throws -> OwnedFD? {
        var here = try Files.open(".", below: root, O_RDONLY | O_DIRECTORY)
        var done = TreePath.root
        for name in path.components {
            done = done.appending(name)
            if let next = try openDirectory(name, in: here.raw) {
                here = next
                continue
            }
            guard try Files.status(name, below: here.raw) == nil, try !form.hides(name, below: here.raw),
                !isCovered, let parentRoot,
                let parent = try openDirectory(done, in: parentRoot)
            else { return nil }
            let time = try Files.status(of: here.raw).mtime
            try Files.makeDirectory(name, below: here.raw)
            let next = try Files.openDirectory(name, below: here.raw)
            try describe(next.raw, as: parent.raw)
            try Metadata.setTime(time, on: here.raw)
            here = next
        }
        return here
    }
}
