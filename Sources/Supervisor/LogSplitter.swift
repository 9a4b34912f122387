// SPDX-License-Identifier: Apache-2.0

package import LinuxSys

/// Cuts one output of a container into the records of its log, as Docker does: at line ends, and a line of more than
/// 16 KiB into parts of that size, which all bear the time of the first.
package struct LogSplitter {
    package static let longest = 16 << 10

    package let stream: LogStream
    /// The beginning of a line whose end has not come.
    private var pending: [UInt8] = []
    /// The time of the first part, while a long line is being cut.
    private var partTime: [UInt8]?

    package init(_ stream: LogStream) {
        self.stream = stream
    }

    /// Takes what the container has written and appends the records it completes to `output`.
    package mutating func take(
        _ bytes: UnsafeRawBufferPointer,
        at time: Timestamp,
        into output: inout [UInt8]
    ) {
        let stamp = Array(time.rfc3339.utf8)
        var rest = bytes
        while !rest.isEmpty {
            let room = Self.longest - pending.count
            let window = UnsafeRawBufferPointer(rebasing: rest.prefix(room))
            if let end = window.firstIndex(of: UInt8(ascii: "\n")) {
                emit(UnsafeRawBufferPointer(rebasing: window[..<end]), ended: true, stamp, into: &output)
                rest = UnsafeRawBufferPointer(rebasing: rest[(end + 1)...])
            } else if rest.count >= room {
                emit(window, ended: false, stamp, into: &output)
                rest = UnsafeRawBufferPointer(rebasing: rest[room...])
            } else {
                pending.append(contentsOf: rest)
                return
            }
        }
    }

    /// What is left when the output has ended: a line without an end.
    package mutating func finish(at time: Timestamp, into output: inout [UInt8]) {
        if pending.isEmpty { return }
        emit(
            UnsafeRawBufferPointer(start: nil, count: 0),
            ended: false,
            Array(time.rfc3339.utf8),
            into: &output
        )
    }

    /// Appends the record of `pending` and `bytes`.
    private mutating func emit(
        _ bytes: UnsafeRawBufferPointer,
        ended: Bool,
        _ stamp: [UInt8],
        into output: inout [UInt8]
    ) {
        let time = partTime ?? stamp
        partTime = ended ? nil : time
        if pending.isEmpty {
            LogEncoder.append(bytes, ended: ended, stream: stream, time: time, to: &output)
            return
        }
        pending.append(contentsOf: bytes)
        pending.withUnsafeBytes {
            LogEncoder.append($0, ended: ended, stream: stream, time: time, to: &output)
        }
        pending = []  // gives its memory back: most outputs end their lines
    }
}
