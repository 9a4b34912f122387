// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
package import JSON
package import LinuxSys
package import SystemPackage

/// A client's end of a container's control socket.
package final class ControlConnection: Sendable {
    package let socket: OwnedFD

    /// Connects to the supervisor of the container whose run directory this is; `nil` if none is there: the container
    /// does not run.
    package static func connect(_ runDirectory: FilePath) throws(SystemError) -> ControlConnection? {
        guard try Files.status(runDirectory) != nil else { return nil }
        let directory = try Files.open(runDirectory, O_RDONLY | O_DIRECTORY)
        guard let socket = try ControlSocket.connect(below: directory.raw) else { return nil }
        return ControlConnection(socket: socket)
    }

    /// A connection and the other end of it, for `SupervisorJob.client`: attached before the container starts, so that nothing
    /// is missed.
    package static func pair() throws(SystemError) -> ControlPair {
        var ends: [CInt] = [-1, -1]
        try system("socketpair") { clinux_seqpacket_pair(&ends) }
        return ControlPair(ours: OwnedFD(adopting: ends[0]), theirs: OwnedFD(adopting: ends[1]))
    }

    package init(socket: consuming OwnedFD) {
        self.socket = socket
    }

    /// Sends a message, waiting if the supervisor is busy.
    ///
    /// One that has ended meanwhile is no failure: `receive` gives what it left, and then that it is gone.
    package func send(_ message: ControlMessage) throws(SystemError) {
        let (descriptor, bytes) = (socket.raw, message.bytes)
        _ = try systemAnswer("send", expecting: .brokenPipe, .connectionReset) {
            bytes.withUnsafeBytes { clinux_send(descriptor, $0.baseAddress, $0.count, 1) }
        }
    }

    /// The next message, waited for; `nil` when the supervisor has closed the connection.
    package func receive() throws(SystemError) -> ControlMessage? {
        let descriptor = socket.raw
        var whole = 0
        var message: ControlMessage?
        let count = try withUnsafeTemporaryBuffer(ControlMessage.largest) { buffer throws(SystemError) in
            let count =
                try systemAnswer("recv", expecting: .connectionReset) {
                    clinux_recv(descriptor, buffer.baseAddress, buffer.count, &whole)
                } ?? 0
            message = ControlMessage(
                UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
            )
            return count
        }
        if count > 0, message == nil {
            throw SystemError("read the supervisor's answer", nil, .protocolError)
        }
        return message
    }

    /// Sends a request and waits for its answer.
    package func request(_ message: ControlMessage) throws {
        try send(message)
        switch try receive() {
        case .done: return
        case .refused(let text): throw StartFailure(text, code: 1)
        default: throw StartFailure("the supervisor ended before it answered", code: 1)
        }
    }

    package func signal(_ number: CInt) throws { try request(.signal(number)) }
    package func pause() throws { try request(.pause) }
    package func resume() throws { try request(.resume) }
    package func resize(_ size: WindowSize) throws { try request(.resize(size)) }

    /// What the supervisor tells of the container: `pid`, `started`, `paused`, `running`, `clients`.
    package func status() throws -> JSON {
        try send(.askStatus)
        guard case .status(let text) = try receive() else {
            throw StartFailure("the supervisor ended before it answered", code: 1)
        }
        return try JSON.parse(Array(text.utf8))
    }
}

/// Both ends of a connection that is made before its supervisor.
package struct ControlPair: ~Copyable {
    private let ours: OwnedFD
    package let theirs: OwnedFD

    init(ours: consuming OwnedFD, theirs: consuming OwnedFD) {
        self.ours = ours
        self.theirs = theirs
    }

    /// Our end, once the supervisor has inherited its own, which is closed here.
    package consuming func connection() -> ControlConnection { ControlConnection(socket: ours) }
}

/// Lends `body` a buffer of `size` bytes.
private func withUnsafeTemporaryBuffer<R, E: Error>(
    _ size: Int,
    _ body: (UnsafeMutableRawBufferPointer) throws(E) -> R
) throws(E) -> R {
    let buffer = UnsafeMutableRawBufferPointer.allocate(byteCount: size, alignment: 16)
    defer { buffer.deallocate() }
    return try body(buffer)
}

/// Waiting for the end of a container.
package enum ContainerWait {
    /// Waits until the container whose run directory this is has ended; `nil` if it does not run and has left no
    /// record: it never ran, or its supervisor was killed.
    package static func end(_ runDirectory: FilePath) throws -> ExitRecord? {
        guard let connection = try ControlConnection.connect(runDirectory) else {
            return try ExitRecord.read(runDirectory)
        }
        try connection.send(.wait)
        while let message = try connection.receive() {
            if case .ended(let record) = message { return record }
        }
        return try ExitRecord.read(runDirectory)
    }
}
