// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LayerDiff
import LinuxSys
import Storage
import StoreRoot
import SystemPackage

/// One driver with a store of its own, in which it is measured.
final class Bed {
    /// As results name it.
    let name: String
    /// On what file system, and where from: `ext4`, `btrfs in a loop file`.
    let place: String
    let strata: Program
    private let directory: FilePath
    private let entry: DriverEntry
    private let source: BenchImage
    /// The loop file, if it lies in one.
    private let disk: FilePath?
    /// Whether files of the place may share blocks, or lie with its metadata.
    private let sharesBlocks: Bool
    private var opened: (any StorageDriver)?
    private var files: ImageFiles?
    /// The image's name or id in this store once it is loaded.
    private(set) var image = ""
    /// The image's layers once it is loaded.
    private(set) var chain = LayerChain()

    /// - Parameter directory: empty, and removed by whoever made it.
    init(
        _ choice: DriverChoice,
        _ source: BenchImage,
        program: [String],
        directory: FilePath,
        place: String,
        disk: FilePath?,
        sharesBlocks: Bool
    ) {
        name = choice.name
        entry = choice.entry
        files = source.files
        self.source = source
        self.place = place
        self.directory = directory
        self.disk = disk
        self.sharesBlocks = sharesBlocks
        strata = Program(
            program + [
                "--root", directory.appending("root").string, "--run-root", directory.appending("run").string,
                "--storage-driver", choice.entry.name,
            ]
        )
    }

    /// The driver itself, for what no command shows alone.
    ///
    /// Only while no command runs in this store.
    func driver() throws -> any StorageDriver {
        if let opened { return opened }
        let root = try StoreRoot.open(
            directory.appending("root"),
            run: directory.appending("run"),
            access: .read
        )
        let driver = try entry.type.init(home: root.home(ofDriver: entry.name), options: [:])
        opened = driver
        return driver
    }

    /// Loads the image, from nothing.
    func load() throws -> Program.Outcome {
        if !chain.ids.isEmpty { try unload() }
        let outcome = try strata("load", "--input", source.path.string)
        guard let name = outcome.output.split(separator: "\n").last?.split(separator: " ").last else {
            throw StorageError(.system, "load \(source.path) to measure with: it named no image")
        }
        image = String(name)
        chain = LayerChain(try layers(of: image))
        return outcome
    }

    /// Loads the image unless it is there.
    func ensureImage() throws {
        if chain.ids.isEmpty { _ = try load() }
    }

    /// Removes the image, with all its bytes.
    private func unload() throws {
        try strata.run(["rmi", "--force", image])
        try strata.run(["system", "prune", "--force"])
        chain = LayerChain()
    }

    /// What the driver's files take, found as fits the place.
    ///
    /// Where files can share blocks, that is what is in use on the file system that the store lies on, but for the store's
    /// own files: blobs, database, what is kept back. There the files alone do not say it: copies that share blocks count each
    /// by themselves, and files that lie with the metadata not at all. But what others write there meanwhile counts too.
    func occupied() throws -> Int64 {
        let place = try Files.open(directory, O_RDONLY | O_DIRECTORY)
        try Files.syncFileSystem(of: place.raw)
        if !sharesBlocks {
            let home = FilePath("root/drivers").appending(entry.name)
            if try Files.status(home, below: place.raw) == nil { return 0 }
            let driver = try Files.openDirectory(home, below: place.raw)
            return try treeUsage(of: driver.raw).bytes
        }
        let space = try Files.space(of: place.raw)
        var bytes = Int64(space.total) - Int64(space.freeForRoot)
        guard let root = try? Files.openDirectory("root", below: place.raw) else { return bytes }
        for entry in try Files.list(root.raw) where entry.name.printable != "drivers" {
            guard let status = try Files.status(entry.name, below: root.raw) else { continue }
            if status.kind == .directory {
                let directory = try Files.openDirectory(entry.name, below: root.raw)
                bytes -= try treeUsage(of: directory.raw).bytes
            } else {
                bytes -= status.blocks * 512
            }
        }
        return bytes
    }

    var isInLoopFile: Bool { disk != nil }

    /// Makes a container of the image that does not start.
    func create(_ container: String) throws -> Sample {
        try strata("create", "--name", container, "--network", "none", image, "/bin/true").sample
    }

    /// The words that run a program of no effect in a container of the image.
    var runTrue: [String] {
        ["run", "--rm", "--network", "none"] + source.runTrue(image)
    }

    /// Files of the image to work on; found once, unless the image says them.
    func imageFiles() throws -> ImageFiles {
        if let files { return files }
        let found = try withLayer { root, _ in try ImageFiles(below: root) }
        files = found
        return found
    }

    /// The layers of an image or container, the base first.
    func layers(of name: String) throws -> [LayerID] {
        let text = try strata("inspect", "--format", "{{json .GraphDriver.Data.Layers}}", name).output
        let ids = try JSON.parse(text).strings ?? []
        return ids.compactMap { LayerID($0) }
    }

    /// A fresh writable layer over the image, mounted; gone afterwards.
    func withLayer<T>(_ body: (_ root: CInt, Meter) throws -> T) throws -> T {
        try withNamedLayer { _, root, meter in try body(root, meter) }
    }

    /// As `withLayer`, for who must know which layer it is.
    func withNamedLayer<T>(_ body: (LayerID, _ root: CInt, Meter) throws -> T) throws -> T {
        let driver = try driver()
        let id = LayerID.random()
        try driver.prepare(id, over: chain, options: LayerOptions())
        defer { discard(id, driver) }
        // Not as scratch: what a workload syncs must reach the disk.
        let mounted = try driver.mount(id, over: chain, access: .readWrite)
        return try body(id, mounted.root.raw, Meter(companion: mounted.companion.flatMap { process($0.raw) }))
    }

    /// Takes what lies below the file `name` of the layer out of the page cache too: the file behind one of a file system in
    /// user space, which forwards no such advice, and the loop file.
    func forget(_ name: TreePath, of id: LayerID) {
        let layer = directory.appending("root").appending("drivers").appending(entry.name)
            .appending("layers").appending("\(id)").appending(name.printable)
        for path in [layer, disk] {
            guard let path, let file = try? Files.open(path, O_RDONLY | O_NOFOLLOW) else { continue }
            fdatasync(file.raw)
            _ = posix_fadvise(file.raw, 0, 0, POSIX_FADV_DONTNEED)
        }
    }

    /// Removes a layer that no row names.
    func discard(_ id: LayerID, _ driver: any StorageDriver) {
        // What cannot be removed goes with the store.
        try? driver.remove(id)
        try? driver.emptyTrash { false }
    }

    /// The process of a pidfd, by proc_pid_fdinfo(5).
    private func process(_ descriptor: CInt) -> pid_t? {
        guard let bytes = try? Files.contents("/proc/self/fdinfo/\(descriptor)", limit: 4096) else {
            return nil
        }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") where line.hasPrefix("Pid:")
        {
            return line.split(whereSeparator: { $0 == "\t" || $0 == " " }).last.flatMap { pid_t($0) }
        }
        return nil
    }

    /// Gives back what removing the directory would not: devices, subvolumes, mounts.
    ///
    /// A loop file goes as a whole.
    func clear() {
        if !isInLoopFile { empty() }
    }

    /// Removes all containers, images and layers that the benchmark made.
    func empty() {
        _ = try? strata("rm", "--force", Containers.name)
        if !chain.ids.isEmpty { try? unload() }
        guard let driver = try? driver() else { return }
        Scratch.empty(driver)
    }
}
