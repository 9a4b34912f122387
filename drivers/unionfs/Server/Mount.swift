// SPDX-License-Identifier: Apache-2.0

import CFuse
import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Why the file system cannot be had, in one line.
struct Refusal: Error {
    let message: String
    init(_ message: String) { self.message = message }
}

/// Opens the directories that the options name and makes the union of them.
enum Assembly {
    static func union(_ options: Options) throws -> UnionFS {
        var opened: [(fd: CInt, status: FileStatus, name: String)] = []
        if let upper = options.upper, !options.isReadOnly { opened.append(try open("upperdir", upper)) }
        // Read-only, the upper is one more layer.
        let lowers = (options.isReadOnly ? [options.upper].compactMap(\.self) : []) + options.lowers
        for lower in lowers { opened.append(try open("lowerdir", lower)) }
        let isWritable = options.upper != nil && !options.isReadOnly
        try checkOverlaps(opened, options)
        var (work, inodes): (CInt, InodeMap?) = (-1, nil)
        if isWritable, let name = options.work {
            work = try openWork(name, beside: opened[0])
            try checkOutside(work, name, opened.dropFirst())
            try take(opened[0].fd, opened[0].name)
            (opened[0].fd, work) = keepingTimes(upper: opened[0].fd, work: work, options)
            (work, inodes) = try prepare(work, name)
        }
        var devices: [DeviceNumber] = []
        let layers = opened.enumerated().map { index, layer in
            let known = devices.firstIndex(of: layer.status.device)
            if known == nil { devices.append(layer.status.device) }
            return Layer(
                isWritable && index == 0 ? layer.fd : heldApart(layer.fd, options),
                fileSystem: UInt64(known ?? devices.count - 1),
                isUpper: isWritable && index == 0,
                readsOverlayForm: options.readsOverlayForm && !(isWritable && index == 0)
            )
        }
        var limit = rlimit()
        getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        limit.rlim_cur = limit.rlim_max
        setrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit)
        Directory.key = .random(in: .min ... .max)
        do {
            return try UnionFS(
                layers: layers,
                work: work,
                inodes: inodes,
                links: LinkTable(layers: layers, notes: opened.map { notes(of: $0.name, options) }),
                descriptors: Int(clamping: limit.rlim_cur)
            )
        } catch {
            throw Refusal("open the layers: \(Errno(rawValue: error.code))")
        }
    }

    private static func notes(of layer: String, _ options: Options) -> FilePath? {
        guard let links = options.links, let name = FilePath(layer).lastComponent else { return nil }
        return FilePath(links).appending(name)
    }

    private static func open(_ option: String, _ path: String) throws -> (CInt, FileStatus, String) {
        do throws(SystemError) {
            let directory = try Files.open(path, CLINUX_O_PATH | O_DIRECTORY)
            let status = try Files.status(of: directory.raw)
            return (directory.release(), status, path)
        } catch {
            throw Refusal("open \(option) \(path): \(error.errno)")
        }
    }

    private static func checkOverlaps(
        _ layers: [(fd: CInt, status: FileStatus, name: String)],
        _ options: Options
    ) throws {
        var seen: [FileStatus.Identity: String] = [:]
        for layer in layers {
            if let other = seen.updateValue(layer.name, forKey: layer.status.identity) {
                throw Refusal("\(layer.name) and \(other) are the same directory: name each layer once")
            }
        }
        for layer in layers {
            for above in try directoriesAbove(layer.fd) {
                guard let outer = seen[above] else { continue }
                throw Refusal("\(layer.name) lies in \(outer): layers must be separate directories")
            }
        }
    }

    /// All directories that show another, up to the root of its mount: layers are read without what is mounted in them.
    private static func directoriesAbove(_ directory: CInt) throws -> [FileStatus.Identity] {
        var current = try OwnedFD.duplicating(directory)
        var status = try Files.status(of: directory)
        var above: [FileStatus.Identity] = []
        while true {
            current = try Files.open("..", below: current.raw, CLINUX_O_PATH | O_DIRECTORY)
            let next = try Files.status(of: current.raw)
            if next.identity == status.identity || next.mountID != status.mountID { return above }
            above.append(next.identity)
            status = next
        }
    }

    private static func openWork(
        _ name: String,
        beside upper: (fd: CInt, status: FileStatus, name: String)
    ) throws -> CInt {
        let (fd, status, _) = try open("workdir", name)
        if status.device != upper.status.device {
            throw Refusal("workdir \(name) is on another file system than upperdir \(upper.name)")
        }
        // Nothing can be renamed from one mount to another.
        if status.mountID != upper.status.mountID {
            throw Refusal("workdir \(name) is on another mount than upperdir \(upper.name)")
        }
        if try status.identity == upper.status.identity
            || directoriesAbove(fd).contains(upper.status.identity)
            || directoriesAbove(upper.fd).contains(status.identity)
        {
            throw Refusal("workdir \(name) and upperdir \(upper.name) must be separate directories")
        }
        return fd
    }

    /// What is written into the workdir must not change a layer.
    private static func checkOutside(
        _ work: CInt,
        _ name: String,
        _ lowers: ArraySlice<(fd: CInt, status: FileStatus, name: String)>
    ) throws {
        let above = try [Files.status(of: work).identity] + directoriesAbove(work)
        if let lower = lowers.first(where: { above.contains($0.status.identity) }) {
            throw Refusal(
                "workdir \(name) lies in lowerdir \(lower.name): what is written would change a layer"
            )
        }
    }

    /// Two mounts that write to one upper would not know what the other changes.
    private static func take(_ upper: CInt, _ name: String) throws {
        do throws(SystemError) {
            try WorkDirectory.take(Files.open(".", below: upper, O_RDONLY | O_DIRECTORY))
        } catch {
            // Not every file system locks a directory; the workdir, of which there is one for each upper, is locked too.
            if error.errno == .resourceBusy { throw Refusal("upperdir \(name) \(inUse)") }
        }
    }

    private static let inUse = "is in use by another mount, perhaps in another mount namespace"

    private static func prepare(_ work: CInt, _ name: String) throws -> (CInt, InodeMap) {
        do {
            let stage = try WorkDirectory.open(work)
            if !WorkDirectory.takesMarks(stage) {
                throw Refusal(
                    "workdir \(name) lies in a union, where no whiteout can be made: use directories outside of it"
                )
            }
            return (stage, try InodeMap(in: work))
        } catch let error as SystemError {
            let isBusy = error.errno == .resourceBusy
            throw Refusal(
                isBusy ? "workdir \(name) \(inUse)" : "prepare workdir \(name): \(error)"
            )
        } catch let error as Failure {
            throw Refusal("read the inode numbers in workdir \(name): \(Errno(rawValue: error.code))")
        }
    }
}

extension FileStatus {
    /// Which object it is.
    struct Identity: Hashable {
        var device: DeviceNumber
        var inode: UInt64
    }

    var identity: Identity { Identity(device: device, inode: inode) }
}

/// The fuse file system itself.
enum FuseMount {
    /// A connection, and whether it is still to be attached: an ordinary user's is mounted by fusermount3 at once.
    static func connect(_ options: Options) throws -> (device: CInt, isDetached: Bool) {
        do throws(SystemError) {
            if try mayMount() { return (try Files.open("/dev/fuse", O_RDWR).release(), true) }
        } catch {
            throw Refusal("open /dev/fuse: \(error.errno); is the module fuse loaded?")
        }
        var words = ["nosuid", "nodev", "default_permissions", "fsname=\(options.source)"]
        words.append(options.isReadOnly || options.upper == nil ? "ro" : "rw")
        if options.allowsOthers { words.append("allow_other") }
        let result = cfuse_fusermount(options.mountPoint, words.joined(separator: ","))
        if result == -ENOENT {
            throw Refusal("mount on \(options.mountPoint): needs root, or the program fusermount3")
        }
        if result < 0 { throw Refusal("mount on \(options.mountPoint): fusermount3 refuses it") }
        return (result, false)
    }

    private static func mayMount() throws(SystemError) -> Bool {
        try systemAnswer("fsopen", "fuse", expecting: .notPermitted) {
            let context = clinux_fsopen("fuse")
            if context >= 0 { cfuse_close(context) }
            return context
        } != nil
    }

    /// Before anything is made.
    static func checkMountPoint(_ options: Options) throws {
        let kind: FileKind
        do throws(SystemError) {
            let point = try Files.open(options.mountPoint, CLINUX_O_PATH)
            kind = try Files.status(of: point.raw).kind
        } catch {
            let isDead = error.errno == Errno(rawValue: ENOTCONN)
            throw Refusal(
                "mount point \(options.mountPoint): \(error.errno)"
                    + (isDead ? "; what is mounted there has lost its server: unmount it first" : "")
            )
        }
        if kind != .directory { throw Refusal("mount point \(options.mountPoint) is not a directory") }
    }

    /// Makes the mount, detached, and attaches it.
    static func attach(_ device: CInt, _ options: Options) throws {
        do throws(SystemError) {
            let mount = try make(device, options)
            // Through a symlink too.
            let point = try Files.open(options.mountPoint, CLINUX_O_PATH | O_DIRECTORY)
            try DetachedMount.attach(mount.raw, at: ".", below: point.raw)
        } catch {
            throw Refusal("mount on \(options.mountPoint): \(error)")
        }
    }

    /// The mount, detached.
    static func make(_ device: CInt, _ options: Options) throws(SystemError) -> OwnedFD {
        var parameters: [DetachedMount.Parameter] = [
            .string("source", options.source), .string("fd", "\(device)"), .string("rootmode", "40000"),
            .string("user_id", "\(getuid())"), .string("group_id", "\(getgid())"),
            .flag("default_permissions"),
        ]
        if options.allowsOthers { parameters.append(.flag("allow_other")) }
        var attributes = options.attributes
        if options.isReadOnly || options.upper == nil { attributes.insert(.readOnly) }
        return try DetachedMount.make("fuse", parameters, attributes: attributes)
    }
}
