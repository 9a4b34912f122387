// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys

/// A client at the supervisor's end of the control socket.
///
/// What it does not take at once waits here, up to `patience`.
final class ControlClient {
    /// Bytes that may wait for a client.
    ///
    /// One that reads more slowly is sent away, or holds the container back if it is `lossless`.
    static let patience = 256 << 10

    private let socket: OwnedFD
    var options: AttachOptions = []
    /// Whether it is told of the end.
    var awaitsEnd = false
    /// It has left, has sent what is no message, or reads too slowly: to be dropped.
    private(set) var isGone = false

    private var queue: [[UInt8]] = []
    private var sent = 0  // the first messages of `queue`, which have gone out
    private(set) var queuedBytes = 0

    init(_ socket: consuming OwnedFD) {
        self.socket = socket
    }

    var fd: CInt { socket.raw }
    var isAttached: Bool { !options.intersection([.stdin, .stdout, .stderr]).isEmpty }
    var hasQueue: Bool { sent < queue.count }
    var holdsBack: Bool { options.contains(.lossless) && queuedBytes > Self.patience / 4 && !isGone }

    func leave() { isGone = true }

    /// Sends a message, now or when the client takes it.
    func send(_ message: [UInt8]) {
        if isGone { return }
        if !hasQueue, trySend(message) { return }
        queue.append(message)
        queuedBytes += message.count
        if queuedBytes > Self.patience, !options.contains(.lossless) { isGone = true }
    }

    func send(_ message: ControlMessage) { send(message.bytes) }

    /// Sends what waits, as far as the client takes it.
    func flush() {
        while hasQueue, !isGone {
            guard trySend(queue[sent]) else { return }
            queuedBytes -= queue[sent].count
            queue[sent] = []
            sent += 1
        }
        queue = []
        sent = 0
    }

    /// Whether the message went out; a client that cannot be reached is gone.
    private func trySend(_ message: [UInt8]) -> Bool {
        let attempt = Attempt("send") {
            message.withUnsafeBytes { clinux_send(socket.raw, $0.baseAddress, $0.count, 0) }
        }
        switch attempt {
        case .done: return true
        case .later: return false
        case .failed:
            isGone = true
            return true
        }
    }

    /// The next message that has come; `nil` if none has, or the client is gone.
    func receive(_ buffer: UnsafeMutableRawBufferPointer) -> ControlMessage? {
        if isGone { return nil }
        var whole = 0
        switch Attempt("recv", { clinux_recv(socket.raw, buffer.baseAddress, buffer.count, &whole) }) {
        case .later: return nil
        case .done(let count) where count > 0 && whole <= buffer.count:
            let message = ControlMessage(
                UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(buffer)[..<count])
            )
            if message == nil { isGone = true }
            return message
        default:  // the end, an error, a message too long
            isGone = true
            return nil
        }
    }
}
