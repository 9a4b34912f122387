// SPDX-License-Identifier: Apache-2.0

import JSON
package import LinuxSys

/// What a client of the control socket wants to hear of the container.
package struct AttachOptions: OptionSet, Hashable, Sendable {
    package let rawValue: UInt8
    package init(rawValue: UInt8) { self.rawValue = rawValue }

    package static let stdin = AttachOptions(rawValue: 1)
    package static let stdout = AttachOptions(rawValue: 2)
    package static let stderr = AttachOptions(rawValue: 4)
    /// The container waits for this client when it reads slowly, as for the reader of a pipe.
    ///
    /// Others who read slowly are sent away.
    package static let lossless = AttachOptions(rawValue: 8)
    package static let known: AttachOptions = [.stdin, .stdout, .stderr, .lossless]
}

/// One message on the control socket, which keeps message boundaries: a byte for the kind, then what belongs to it.
///
/// Numbers are little-endian. A message is at most `largest` bytes; whoever sends anything else is sent away.
package enum ControlMessage: Hashable, Sendable {
    // From a client. A request is answered by `done` or `refused`, except input.
    case attach(AttachOptions)
    case input([UInt8])
    case endInput
    case resize(WindowSize)
    case signal(CInt)
    case pause
    case resume
    /// To the holder of a layer's mount.
    case unmount
    /// Answered by `ended`, when it has.
    case wait
    /// Answered by `status`.
    case askStatus
    // From the supervisor.
    case output(LogStream, [UInt8])
    case done
    case refused(String)
    case status(String)
    case ended(ExitRecord)

    package static let largest = 64 << 10
    /// The most input or output in one message.
    package static let largestData = 16 << 10

    /// Reads a message; `nil` if it is none.
    package init?(_ bytes: UnsafeRawBufferPointer) {
        guard let kind = bytes.first else { return nil }
        let rest = UnsafeRawBufferPointer(rebasing: bytes.dropFirst())
        let message: ControlMessage? =
            switch (kind, rest.count) {
            case (Kind.attach, 1):
                rest[0] & ~AttachOptions.known.rawValue == 0 ? .attach(AttachOptions(rawValue: rest[0])) : nil
            case (Kind.input, 1...Self.largestData): .input(Array(rest))
            case (Kind.endInput, 0): .endInput
            case (Kind.resize, 4):
                .resize(WindowSize(rows: rest.number(at: 0), columns: rest.number(at: 2)))
            case (Kind.signal, 1): (1...64).contains(rest[0]) ? .signal(CInt(rest[0])) : nil
            case (Kind.pause, 0): .pause
            case (Kind.resume, 0): .resume
            case (Kind.unmount, 0): .unmount
            case (Kind.wait, 0): .wait
            case (Kind.askStatus, 0): .askStatus
            case (Kind.stdout, 1...Self.largestData): .output(.stdout, Array(rest))
            case (Kind.stderr, 1...Self.largestData): .output(.stderr, Array(rest))
            case (Kind.done, 0): .done
            case (Kind.refused, _): .refused(String(decoding: rest, as: UTF8.self))
            case (Kind.status, _): .status(String(decoding: rest, as: UTF8.self))
            case (Kind.ended, _): ExitRecord(Array(rest)).map(ControlMessage.ended)
            default: nil
            }
        guard let message else { return nil }
        self = message
    }

    package var bytes: [UInt8] {
        switch self {
        case .attach(let options): [Kind.attach, options.rawValue]
        case .input(let data): [Kind.input] + data
        case .endInput: [Kind.endInput]
        case .resize(let size):
            [
                Kind.resize, UInt8(size.rows & 0xFF), UInt8(size.rows >> 8), UInt8(size.columns & 0xFF),
                UInt8(size.columns >> 8),
            ]
        case .signal(let number): [Kind.signal, UInt8(clamping: number)]
        case .pause: [Kind.pause]
        case .resume: [Kind.resume]
        case .unmount: [Kind.unmount]
        case .wait: [Kind.wait]
        case .askStatus: [Kind.askStatus]
        case .output(let stream, let data): [stream == .stdout ? Kind.stdout : Kind.stderr] + data
        case .done: [Kind.done]
        case .refused(let text): [Kind.refused] + text.utf8.prefix(1024)
        case .status(let text): [Kind.status] + text.utf8
        case .ended(let record): [Kind.ended] + record.bytes
        }
    }

    private enum Kind {
        static let attach = UInt8(ascii: "a")
        static let input = UInt8(ascii: "i")
        static let endInput = UInt8(ascii: "e")
        static let resize = UInt8(ascii: "r")
        static let signal = UInt8(ascii: "s")
        static let pause = UInt8(ascii: "p")
        static let resume = UInt8(ascii: "u")
        static let unmount = UInt8(ascii: "m")
        static let wait = UInt8(ascii: "w")
        static let askStatus = UInt8(ascii: "q")
        static let stdout = UInt8(ascii: "1")
        static let stderr = UInt8(ascii: "2")
        static let done = UInt8(ascii: "k")
        static let refused = UInt8(ascii: "n")
        static let status = UInt8(ascii: "S")
        static let ended = UInt8(ascii: "x")
    }
}

extension UnsafeRawBufferPointer {
    fileprivate func number(at offset: Int) -> UInt16 { UInt16(self[offset]) | UInt16(self[offset + 1]) << 8 }
}
