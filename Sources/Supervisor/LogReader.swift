// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
package import SystemPackage

/// What to show of a log.
package struct LogQuery: Sendable {
    package var stdout = true
    package var stderr = true
    /// Only this many of the last records.
    package var tail: Int?
    package var since: Timestamp?
    package var until: Timestamp?
    package init() {}

    func shows(_ record: LogRecord) -> Bool {
        if record.stream == .stdout ? !stdout : !stderr { return false }
        if let since, record.time < since { return false }
        if let until, until < record.time { return false }
        return true
    }
}

/// Reads a container's log, the files set aside by rotation first.
package final class LogReader {
    private let path: FilePath
    private let query: LogQuery
    private let emit: (LogRecord) throws -> Void
    private var file: SharedFD?
    /// The part of a line that has been read.
    private var pending: [UInt8] = []
    private var chunk = [UInt8](repeating: 0, count: 64 << 10)

    /// - Parameter emit: called with each record that is to be shown, in order; what it throws ends the reading.
    package init(_ path: FilePath, _ query: LogQuery, emit: @escaping (LogRecord) throws -> Void) {
        self.path = path
        self.query = query
        self.emit = emit
    }

    /// Reads what is there.
    package func read() throws {
        let files = try older()
        try openCurrent()
        let current = file
        for file in try begin(files + (current.map { [$0] } ?? [])) {
            self.file = file
            try drain()
            if file !== current { try endLine() }
        }
        file = current
    }

    /// The files to read, each at the position to read from: all, or those that hold the last records.
    private func begin(_ files: [SharedFD]) throws(SystemError) -> ArraySlice<SharedFD> {
        guard var wanted = query.tail else { return files[...] }
        for index in files.indices.reversed() {
            let file = files[index]
            let (offset, found) = try Self.start(ofLast: wanted, in: file.raw)
            try system("lseek", path.printable) { lseek(file.raw, off_t(offset), SEEK_SET) }
            wanted -= found
            if wanted <= 0 { return files[index...] }
        }
        return files[...]
    }

    /// Where the last `wanted` lines of a file begin, and how many there are of them.
    private static func start(
        ofLast wanted: Int,
        in fd: CInt
    ) throws(SystemError) -> (offset: Int64, found: Int) {
        var position = try Files.status(of: fd).size
        if wanted <= 0 { return (position, 0) }
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        var ends = 0  // line ends seen; the one before the wanted lines is the last
        while position > 0 {
            let length = Int(min(Int64(chunk.count), position))
            position -= Int64(length)
            let count = try system("read") { pread(fd, &chunk, length, off_t(position)) }
            if count < length { break }  // it was cut meanwhile
            for index in chunk[..<length].indices.reversed() where chunk[index] == UInt8(ascii: "\n") {
                if ends == wanted { return (position + Int64(index) + 1, wanted) }
                ends += 1
            }
        }
        return (0, ends)
    }

    /// Reads what is there, and what comes until the container whose run directory this is has ended.
    package func follow(containerIn runDirectory: FilePath) throws {
        guard let connection = try ControlConnection.connect(runDirectory) else { return try read() }
        try connection.send(.wait)
        try follow(until: connection.socket.raw)
    }

    /// Reads what is there, then what comes, until `ended` becomes readable or is closed at its other end (a control
    /// connection that waits for the container), and at last what had come by then.
    package func follow(until ended: CInt) throws {
        let watch = OwnedFD(
            adopting: try system("inotify_init") { inotify_init1(CInt(IN_CLOEXEC) | CInt(IN_NONBLOCK)) }
        )
        let directory = path.removingLastComponent()
        let events = UInt32(IN_MODIFY | IN_CREATE | IN_MOVED_FROM)
        try system("inotify_add_watch", directory.printable) {
            directory.withCPath { inotify_add_watch(watch.raw, $0, events) }
        }
        try read()
        while true {
            var list = [
                pollfd(fd: watch.raw, events: Int16(POLLIN), revents: 0),
                pollfd(fd: ended, events: Int16(POLLIN), revents: 0),
            ]
            try system("poll") { poll(&list, nfds_t(list.count), -1) }
            if list[0].revents != 0 { _ = try? system("read") { Glibc.read(watch.raw, &chunk, chunk.count) } }
            try drain()
            while try replaced() {
                try endLine()
                try openCurrent()
                try drain()
            }
            if list[1].revents != 0 { return }
        }
    }

    /// Whether the log's name leads to another file by now.
    private func replaced() throws(SystemError) -> Bool {
        guard let named = try Files.status(path) else { return false }  // between the two steps of a rotation
        guard let file else { return true }
        let held = try Files.status(of: file.raw)
        return held.inode != named.inode || held.device != named.device
    }

    private func openCurrent() throws(SystemError) {
        if try Files.status(path) == nil {
            file = nil
        } else {
            file = SharedFD(try Files.open(path, O_RDONLY | O_NOFOLLOW))
        }
    }

    /// The files set aside, oldest first.
    private func older() throws(SystemError) -> [SharedFD] {
        var files: [SharedFD] = []
        var number = 1
        while try Files.status(path.aside(number)) != nil {
            files.insert(SharedFD(try Files.open(path.aside(number), O_RDONLY | O_NOFOLLOW)), at: 0)
            number += 1
        }
        return files
    }

    /// Reads to the present end of the file.
    private func drain() throws {
        guard let file else { return }
        while true {
            let count = try system("read", path.printable) { Glibc.read(file.raw, &chunk, chunk.count) }
            if count == 0 { return }
            var rest = chunk[..<count]
            while let end = rest.firstIndex(of: UInt8(ascii: "\n")) {
                pending += rest[..<end]
                rest = rest[(end + 1)...]
                try endLine()
            }
            pending += rest
            if pending.count > 1 << 20 { pending = [] }  // no record is that long
        }
    }

    private func endLine() throws {
        if pending.isEmpty { return }
        let record = LogRecord(line: pending)
        pending.removeAll(keepingCapacity: true)
        if let record, query.shows(record) { try emit(record) }
    }
}
