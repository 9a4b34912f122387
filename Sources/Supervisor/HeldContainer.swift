// SPDX-License-Identifier: Apache-2.0

import CLinux
import LinuxSys

/// A running container as its supervisor sees it.
package protocol HeldContainer: AnyObject {
    var pid: CInt { get }
    /// Readable when the container's first process has ended.
    var pidfd: CInt { get }
    /// The master of its terminal, if it has one; owned by the container.
    var terminal: CInt? { get }
    func signal(_ number: CInt) throws
    func pause() throws
    func resume() throws
    /// Called once, when the first process has ended: ends what is left of the container and removes its cgroup.
    func finish() throws -> (code: CInt, outOfMemory: Bool)
}

/// A container that could not be started.
package struct StartFailure: Error, Sendable, CustomStringConvertible {
    package let description: String
    /// 125, 126 or 127, as Docker gives them.
    package let code: CInt

    package init(_ description: String, code: CInt = 125) {
        self.description = description
        self.code = code
    }
}

/// The container's ends of its standard input and outputs; `nil` throughout if it has a terminal.
///
/// The launcher gives them to the container and does not keep them.
package struct ContainerStdio: Sendable {
    package var input: CInt
    package var output: CInt
    package var error: CInt
}

/// A pipe of ours to or from the container: our end, which never waits, and the container's.
struct ContainerPipe {
    let ours: SharedFD
    let theirs: SharedFD

    static func toContainer() throws(SystemError) -> ContainerPipe {
        let (read, write) = try ends()
        try system("fcntl") { clinux_set_nonblocking(write.raw, 1) }
        return ContainerPipe(ours: write, theirs: read)
    }

    static func fromContainer() throws(SystemError) -> ContainerPipe {
        let (read, write) = try ends()
        try system("fcntl") { clinux_set_nonblocking(read.raw, 1) }
        return ContainerPipe(ours: read, theirs: write)
    }

    private static func ends() throws(SystemError) -> (SharedFD, SharedFD) {
        var pair: [CInt] = [-1, -1]
        try system("pipe") { clinux_pipe(&pair) }
        return (SharedFD(OwnedFD(adopting: pair[0])), SharedFD(OwnedFD(adopting: pair[1])))
    }
}
