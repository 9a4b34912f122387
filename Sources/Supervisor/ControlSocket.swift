// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// The control socket of a container.
///
/// Its path may be longer than an address can hold (107 bytes), so it is reached through a descriptor of its
/// directory.
enum ControlSocket {
    /// A socket that listens at `control` below `directory`, which only its owner may connect to.
    static func listen(below directory: CInt) throws(SystemError) -> OwnedFD {
        let socket = OwnedFD(adopting: try system("socket") { clinux_packet_socket() })
        try system("fchmod") { fchmod(socket.raw, 0o600) }  // the name gets this mode
        try system("bind", RunFile.control) { clinux_unix_bind(socket.raw, path(below: directory)) }
        try system("listen", RunFile.control) { Glibc.listen(socket.raw, 128) }
        return socket
    }

    /// A connected socket, which waits when it must; `nil` if nobody listens.
    static func connect(below directory: CInt) throws(SystemError) -> OwnedFD? {
        let socket = OwnedFD(adopting: try system("socket") { clinux_packet_socket() })
        try system("fcntl") { clinux_set_nonblocking(socket.raw, 0) }
        let answer = try systemAnswer(
            "connect",
            RunFile.control,
            expecting: .noSuchFileOrDirectory,
            .connectionRefused
        ) {
            clinux_unix_connect(socket.raw, path(below: directory))
        }
        if answer == nil { return nil }
        return socket
    }

    private static func path(below directory: CInt) -> String {
        "/proc/self/fd/\(directory)/\(RunFile.control)"
    }
}
