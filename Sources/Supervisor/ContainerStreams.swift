// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys

/// The way to the container's standard input.
///
/// What it does not take at once waits here.
final class InputPipe {
    private var owned: SharedFD?
    /// -1 when it is closed, or the container has none.
    private(set) var fd: CInt
    private var pending: [UInt8] = []
    private var isEnding = false

    /// No input.
    init() {
        owned = nil
        fd = -1
    }

    init(_ pipe: SharedFD) {
        owned = pipe
        fd = pipe.raw
    }

    /// The terminal, which never ends from our side.
    init(borrowing terminal: CInt) {
        owned = nil
        fd = terminal
    }

    var hasPending: Bool { !pending.isEmpty && fd >= 0 }
    var hasRoom: Bool { pending.count < Supervisor.mostInput }

    func take(_ bytes: [UInt8]) {
        if fd < 0 || isEnding { return }
        pending += bytes
        flush()
    }

    /// The container reads to here.
    func end() {
        if owned == nil { return }  // a terminal
        isEnding = true
        flush()
    }

    func flush() {
        var done = 0
        while done < pending.count, fd >= 0 {
            let attempt = Attempt("write") {
                pending.withUnsafeBytes { Glibc.write(fd, $0.baseAddress.map { $0 + done }, $0.count - done) }
            }
            if case .failed = attempt { return close() }  // nobody reads it any more
            guard case .done(let count) = attempt else { break }
            done += count
        }
        pending.removeFirst(min(done, pending.count))
        if isEnding, pending.isEmpty { close() }
    }

    func close() {
        owned = nil
        fd = -1
        pending = []
    }
}

/// One output of the container.
final class OutputPipe {
    private var owned: SharedFD?
    /// -1 when it has ended.
    private(set) var fd: CInt
    var splitter: LogSplitter
    var stream: LogStream { splitter.stream }

    init(_ stream: LogStream, _ pipe: SharedFD) {
        owned = pipe
        fd = pipe.raw
        splitter = LogSplitter(stream)
    }

    init(_ stream: LogStream, borrowing terminal: CInt) {
        owned = nil
        fd = terminal
        splitter = LogSplitter(stream)
    }

    enum Answer {
        case bytes(Int)
        case nothingNow
        case ended
    }

    func read(_ buffer: UnsafeMutableRawBufferPointer) -> Answer {
        switch Attempt("read", { Glibc.read(fd, buffer.baseAddress, buffer.count) }) {
        case .done(let count) where count > 0: return .bytes(count)
        case .later: return .nothingNow
        default:  // the end; of a terminal: EIO, when nobody has it open any more
            owned = nil
            fd = -1
            return .ended
        }
    }
}
