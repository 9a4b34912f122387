// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LayerStore
import LinuxSys
import Runtime
import Storage
import StoreRoot
import Supervisor
import SystemPackage

/// All that a holder needs to start a container's process.
struct PreparedLaunch {
    /// Where the root file system comes from, with descriptors of this process.
    enum Root {
        case mount(SharedFD)
        case fileSystem(home: SharedFD, type: String, directory: String, data: String)
        case directory(home: SharedFD, String)
    }

    var spec: Spec
    var options: StartOptions
    var source: Root
    /// Serves the mount; whoever holds the container holds it too.
    var companion: SharedFD?

    /// Every descriptor that the start needs.
    var descriptors: [CInt] {
        switch source {
        case .mount(let mount): [mount.raw] + (companion.map { [$0.raw] } ?? [])
        case .fileSystem(let home, _, _, _), .directory(let home, _):
            [home.raw] + (companion.map { [$0.raw] } ?? [])
        }
    }

    /// For a start by this process, which keeps its descriptors.
    func root() throws -> ContainerRoot {
        switch source {
        case .mount(let mount): .mount(try mount.fd.duplicate())
        case .fileSystem(let home, let type, let directory, let data):
            .idMappedFileSystem(home: try home.fd.duplicate(), type: type, directory: directory, data: data)
        case .directory(let home, let directory):
            .idMappedDirectory(home: try home.fd.duplicate(), directory: directory)
        }
    }
}

extension Engine {
    /// Mounts the container's layer and composes its specification.
    ///
    /// That is kept as `config.json` beside it, unless this process holds the container to its end and the configuration
    /// says it all.
    func prepareLaunch(of container: HeldContainer, isHeldHere: Bool = false) throws -> PreparedLaunch {
        let record = container.record
        let config = try record.config
        var spec = try config.spec(id: record.id, directory: root.containerPath(record.id))
        try makeBindSources(of: record)
        let writable: LayerAccess = config.removeWhenDone ? .scratch : .readWrite
        let mapped = try config.userNamespace ? idMappedMount(of: container) : nil
        let isMountedByChild =
            switch mapped {
            case .fileSystem, .directory: true
            case .mount, nil: false
            }
        let mounted = try layers.mount(container.layer, isMountedByChild ? .readOnly : writable)
        let companion = mounted.companion
        let tree = SharedFD(try mounted.asDetachedMount())
        try config.setUser(of: &spec, root: tree.raw)
        let source = try mapped.map { try idMappedRoot($0, tree, of: container, spec) } ?? .mount(tree)
        if !isHeldHere || config.readsHostFiles {
            try ContainerFiles.write(ContainerFiles.spec, spec.json.text, into: container.directory.raw)
        }
        var options = StartOptions(
            initProcess: config.usesInit,
            cache: root.path.appending("cache"),
            cgroup: spec.linux.cgroupsPath
        )
        options.parentDeathSignal = SIGKILL
        return PreparedLaunch(spec: spec, options: options, source: source, companion: companion)
    }

    /// As Docker does, a directory is made where `-v` names a source that is not there.
    private func makeBindSources(of record: ContainerRecord) throws {
        for text in try record.config.binds {
            let source = FilePath(try BindMount(parsing: text).source)
            try doing("make \(source), the source of a volume") {
                if try Files.status(source) == nil { try Files.makeDirectories(source, mode: 0o755) }
            }
        }
    }

    private func idMappedMount(of container: HeldContainer) throws -> IDMappedMount {
        let driver = try layers.driver(container.layer.driver)
        guard let mapping = driver as? any IDMappedMounting else {
            throw EngineError(
                .unsupported,
                "--userns: storage driver \(container.layer.driver) cannot map ids; use overlay2 or vfs"
            )
        }
        return try mapping.idMappedMount(container.layer.id, over: container.layer.parents)
    }

    /// The mounted layer with its ids mapped; or such a clone of the driver's home, from which the child makes the mount
    /// inside its own namespaces.
    private func idMappedRoot(
        _ shape: IDMappedMount,
        _ tree: SharedFD,
        of container: HeldContainer,
        _ spec: Spec
    ) throws -> PreparedLaunch.Root {
        func map(_ mount: CInt) throws {
            let namespace = try UserNamespace.make(spec.linux)
            try DetachedMount.mapIDs(by: namespace.raw, on: mount)
        }
        func home() throws -> SharedFD {
            try doing("map the ids of \(container.layer.driver)'s directory") {
                let path = root.home(ofDriver: container.layer.driver)
                let directory = try Files.openDirectory(path)
                let clone = try DetachedMount.clone("", below: directory.raw)
                try map(clone.raw)
                return SharedFD(clone)
            }
        }
        switch shape {
        case .fileSystem(let type, let directory, let data):
            return .fileSystem(home: try home(), type: type, directory: directory.string, data: data)
        case .directory(let directory): return .directory(home: try home(), directory.string)
        case .mount:
            try doing("map the ids of the mount of layer \(container.layer.id) (\(container.layer.driver))") {
                try map(tree.raw)
            }
            return .mount(tree)
        }
    }
}
