// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
package import SystemPackage

/// Where a container's root file system comes from.
package enum ContainerRoot: ~Copyable, Sendable {
    /// A detached mount, attached in the container's mount namespace as it is.
    case mount(OwnedFD)
    /// For a user namespace: `home` is an id-mapped detached clone of the storage driver's directory; the child
    /// attaches it and makes the mount itself, with `data`'s names relative to `directory` below `home`.
    case idMappedFileSystem(home: OwnedFD, type: String, directory: String, data: String)
    /// The same, and the directory is the tree.
    case idMappedDirectory(home: OwnedFD, directory: String)
}

/// What a container's standard input, output and error are.
package enum ContainerIO: Sendable {
    /// Descriptors of this process, passed straight through; they stay the caller's.
    case descriptors(input: CInt, output: CInt, error: CInt)
    /// A new terminal; its master comes back with the container.
    case terminal(Spec.ConsoleSize?)

    /// This process's own.
    package static let inherited = ContainerIO.descriptors(input: 0, output: 1, error: 2)
}

/// How a container is started, beyond its specification.
package struct StartOptions: Sendable {
    package var io: ContainerIO
    /// `--init`: the interpreter stays as pid 1, reaps, and passes signals on.
    package var initProcess: Bool
    /// Sent to the container when the thread that started it ends; `nil` lets it live on.
    package var parentDeathSignal: CInt?
    /// Where compiled seccomp programs are kept.
    package var cache: FilePath?
    /// The path of the cgroup, such as `/strata/<id>`; `nil` for none.
    package var cgroup: String?
    /// A descriptor on which the container's process waits for one byte before it executes the program.
    package var gate: CInt?

    package init(
        io: ContainerIO = .inherited,
        initProcess: Bool = false,
        parentDeathSignal: CInt? = 9,
        cache: FilePath? = nil,
        cgroup: String? = nil,
        gate: CInt? = nil
    ) {
        self.io = io
        self.initProcess = initProcess
        self.parentDeathSignal = parentDeathSignal
        self.cache = cache
        self.cgroup = cgroup
        self.gate = gate
    }
}
