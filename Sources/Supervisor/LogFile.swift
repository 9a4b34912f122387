// SPDX-License-Identifier: Apache-2.0

import Glibc
package import LinuxSys
package import SystemPackage

/// Where a container's output is kept, and how much of it.
package struct LogOptions: Hashable, Sendable {
    package var path: FilePath
    /// The file is set aside once it has this many bytes; `nil`: never.
    package var maximumSize: Int64?
    /// How many files are kept, the one being written among them.
    package var maximumFiles: Int

    package init(path: FilePath, maximumSize: Int64? = nil, maximumFiles: Int = 1) {
        self.path = path
        self.maximumSize = maximumSize
        self.maximumFiles = max(1, maximumFiles)
    }
}

/// The file that a container's records go to.
///
/// With a maximum size, `log` becomes `log.1`, that `log.2`, and so on.
///
/// A record that cannot be written (a full disk) is lost, and the container lives on.
package final class LogFile {
    private let options: LogOptions
    private var file: SharedFD
    private var size: Int64
    /// Whether what was written last ended with a line end.
    private var isTorn = false

    package init(_ options: LogOptions) throws(SystemError) {
        self.options = options
        let file = SharedFD(try Self.open(options.path))
        self.file = file
        size = try Files.status(of: file.raw).size
    }

    private static func open(_ path: FilePath) throws(SystemError) -> OwnedFD {
        try Files.open(path, O_WRONLY | O_APPEND | O_CREAT | O_NOFOLLOW, mode: 0o600)
    }

    /// Appends whole records.
    package func append(_ records: [UInt8]) {
        var rest = records[...]
        while !rest.isEmpty {
            var count = room(for: rest)
            if count == 0 {
                if rotate() { continue }
                count = rest.count
            }
            if isTorn { write([UInt8(ascii: "\n")]) }
            write(Array(rest.prefix(count)))
            rest = rest.dropFirst(count)
        }
    }

    /// How much of `records` the file still takes, in whole records; an empty file takes one of any size.
    private func room(for records: ArraySlice<UInt8>) -> Int {
        guard let limit = options.maximumSize, size + Int64(records.count) > limit else {
            return records.count
        }
        let fitting = records.prefix(Int(clamping: max(0, limit - size)))
        if let end = fitting.lastIndex(of: UInt8(ascii: "\n")) { return end + 1 - records.startIndex }
        if size > 0 { return 0 }
        return (records.firstIndex(of: UInt8(ascii: "\n")) ?? records.endIndex - 1) + 1 - records.startIndex
    }

    private func write(_ bytes: [UInt8]) {
        let descriptor = file.raw
        var done = 0
        while done < bytes.count {
            let count = try? system("write") {
                bytes.withUnsafeBytes {
                    Glibc.write(descriptor, $0.baseAddress.map { $0 + done }, $0.count - done)
                }
            }
            guard let count, count > 0 else { break }
            done += count
        }
        size += Int64(done)
        if done > 0 { isTorn = bytes[done - 1] != UInt8(ascii: "\n") }
    }

    /// Sets the full file aside; if that fails, the log goes on where it is.
    private func rotate() -> Bool {
        do throws(SystemError) {
            let path = options.path
            if options.maximumFiles == 1 {
                let descriptor = file.raw
                try system("ftruncate", path.printable) { ftruncate(descriptor, 0) }
            } else {
                for number in stride(from: options.maximumFiles - 1, to: 1, by: -1) {
                    let older = path.aside(number - 1)
                    if try Files.status(older) != nil { try Files.rename(older, to: path.aside(number)) }
                }
                try Files.rename(path, to: path.aside(1))
                file = SharedFD(try Self.open(path))
            }
            size = 0
            isTorn = false
            return true
        } catch {
            return false
        }
    }
}

extension FilePath {
    /// The name of an older log, such as `log.1`.
    func aside(_ number: Int) -> FilePath {
        FilePath(string + ".\(number)")
    }
}
