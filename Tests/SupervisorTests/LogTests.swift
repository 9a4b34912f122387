// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LinuxSys
import SystemPackage
import TestGates
import Testing

@testable import Supervisor

@Suite struct LogFormatTests {
    private let noon = Timestamp(seconds: 1_795_262_400, nanoseconds: 120_000_000)

    /// The records that a splitter makes of pieces of output.
    private func log(_ pieces: [[UInt8]], finish: Bool = true) -> [UInt8] {
        var splitter = LogSplitter(.stdout)
        var output: [UInt8] = []
        for (index, piece) in pieces.enumerated() {
            let time = Timestamp(seconds: noon.seconds + Int64(index), nanoseconds: noon.nanoseconds)
            piece.withUnsafeBytes { splitter.take($0, at: time, into: &output) }
        }
        if finish { splitter.finish(at: noon, into: &output) }
        return output
    }

    private func text(_ pieces: String...) -> String {
        String(decoding: log(pieces.map { Array($0.utf8) }), as: UTF8.self)
    }

    private func lines(_ log: [UInt8]) throws -> [LogRecord] {
        try log.split(separator: UInt8(ascii: "\n")).map { try #require(LogRecord(line: $0)) }
    }

    @Test func recordsAreDockersByteForByte() {
        #expect(
            text("hello\n", "two\nthree")
                == #"{"log":"hello\n","stream":"stdout","time":"2026-11-21T12:00:00.12Z"}"# + "\n"
                + #"{"log":"two\n","stream":"stdout","time":"2026-11-21T12:00:01.12Z"}"# + "\n"
                + #"{"log":"three","stream":"stdout","time":"2026-11-21T12:00:00.12Z"}"# + "\n"
        )
    }

    @Test func whatDockerEscapesIsEscaped() {
        let line = text("<a href=\"x\">&\\\t\r\u{1}\u{7F}ü\u{2028}\u{2029}😀\n")
        #expect(
            line.hasPrefix(
                #"{"log":"\u003ca href=\"x\"\u003e\u0026\\\u0009\r\u0001"# + "\u{7F}ü" + #"\u2028\u2029"#
                    + "😀"
                    + #"\n","#
            )
        )
    }

    @Test(
        arguments: [
            ([0xFF], 1), ([0xC3], 1), ([0xC3, 0x28], 1), ([0xE2, 0x82], 2), ([0xED, 0xA0, 0x80], 3),
            ([0xF5, 0x80], 2),
            ([0xC0, 0x80], 2), ([0xF0, 0x8F, 0xBF, 0xBF], 4),
        ] as [([UInt8], Int)]
    )
    func eachByteThatIsNotUTF8IsReplaced(_ bytes: [UInt8], _ replaced: Int) throws {
        let line = String(decoding: log([[0x61] + bytes + [0x62, 0x0A]]), as: UTF8.self)
        #expect(line.components(separatedBy: #"\ufffd"#) == replaced + 1)
        _ = try lines(Array(line.utf8))
    }

    @Test func longLinesAreCutAndKeepTheirTime() throws {
        let long = [UInt8](repeating: 0x78, count: 2 * LogSplitter.longest + 10)
        let records = try lines(
            log([Array(long[..<20_000]), Array(long[20_000...]) + Array("\nnext\n".utf8)])
        )
        #expect(records.map(\.bytes.count) == [16_384, 16_384, 11, 5])
        #expect(records[2].bytes.last == 0x0A && records[1].bytes.last == 0x78)
        #expect(records.map(\.time.seconds) == [0, 0, 0, 1].map { noon.seconds + $0 })
    }

    @Test func aLineOfExactlyTheLargestSize() throws {
        let line = [UInt8](repeating: 0x79, count: LogSplitter.longest)
        #expect(try lines(log([line + [0x0A]])).map(\.bytes.count) == [16_384, 1])
        #expect(try lines(log([line])).map(\.bytes.count) == [16_384])
    }

    @Test func piecesOfAnySizeGiveTheSameLines() throws {
        var generator = SplitMix(seed: 11)
        for _ in 0..<8 {
            let bytes = (0..<Int.random(in: 0...50_000, using: &generator)).map { _ -> UInt8 in
                Int.random(in: 0..<9_000, using: &generator) == 0
                    ? 0x0A : UInt8.random(in: 0x20...0x7E, using: &generator)
            }
            var pieces: [[UInt8]] = []
            var rest = bytes[...]
            while !rest.isEmpty {
                let count = min(rest.count, Int.random(in: 1...20_000, using: &generator))
                pieces.append(Array(rest[..<(rest.startIndex + count)]))
                rest = rest.dropFirst(count)
            }
            let records = try lines(log(pieces))
            #expect(records.map(\.bytes) == (try lines(log([bytes])).map(\.bytes)))
            #expect(records.flatMap(\.bytes) == bytes)
            #expect(records.allSatisfy { $0.bytes.count <= LogSplitter.longest })
        }
    }
}

@Suite struct LogFileTests {
    private func record(_ number: Int, _ stream: LogStream = .stdout) -> [UInt8] {
        var output: [UInt8] = []
        let time = Array(Timestamp(seconds: 1_000 + Int64(number)).rfc3339.utf8)
        Array("line \(number)".utf8).withUnsafeBytes {
            LogEncoder.append($0, ended: true, stream: stream, time: time, to: &output)
        }
        return output
    }

    private func read(_ path: FilePath, _ change: (inout LogQuery) -> Void = { _ in }) throws -> [String] {
        var query = LogQuery()
        change(&query)
        var lines: [String] = []
        try LogReader(path, query) { lines.append(String(decoding: $0.bytes.dropLast(), as: UTF8.self)) }
            .read()
        return lines
    }

    @Test func tailSinceUntilAndStreamsChoose() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("log")
        let log = try LogFile(LogOptions(path: path))
        for number in 0..<10 { log.append(record(number, number % 2 == 0 ? .stdout : .stderr)) }
        #expect(try read(path).count == 10)
        #expect(try read(path) { $0.tail = 2 } == ["line 8", "line 9"])
        #expect(try read(path) { $0.tail = 0 }.isEmpty)
        #expect(try read(path) { $0.tail = 11 }.count == 10)
        #expect(try read(path) { $0.since = Timestamp(seconds: 1_007) } == ["line 7", "line 8", "line 9"])
        #expect(try read(path) { $0.until = Timestamp(seconds: 1_001) } == ["line 0", "line 1"])
        #expect(try read(path) { $0.stdout = false }.first == "line 1")
        #expect(try read(directory.appending("none")).isEmpty)
    }

    @Test func aFullLogIsSetAside() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("log")
        let size = Int64(record(0).count)
        let log = try LogFile(LogOptions(path: path, maximumSize: 3 * size, maximumFiles: 3))
        for number in 0..<10 { log.append(record(number)) }
        #expect(try read(path) == (3..<10).map { "line \($0)" })
        #expect(try read(path) { $0.tail = 5 } == (5..<10).map { "line \($0)" })
        #expect(try Files.status(path.aside(3)) == nil)
        for file in [path, path.aside(1), path.aside(2)] {
            #expect(try Files.status(file)?.size ?? 0 <= 3 * size)
        }
    }

    /// Much output that comes at once, and a record that is larger than a file may be.
    @Test func recordsThatComeTogetherAreSetAsideOneByOne() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("log")
        let size = Int64(record(0).count)
        let log = try LogFile(LogOptions(path: path, maximumSize: 3 * size, maximumFiles: 3))
        log.append((0..<10).flatMap { record($0) })
        #expect(try read(path) == (3..<10).map { "line \($0)" })
        let small = try LogFile(LogOptions(path: path, maximumSize: 5, maximumFiles: 2))
        small.append(record(1) + record(2) + record(3))
        #expect(try read(path).suffix(2) == ["line 2", "line 3"])
    }

    @Test func oneFileIsCut() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("log")
        let log = try LogFile(LogOptions(path: path, maximumSize: 3 * Int64(record(0).count)))
        for number in 0..<8 { log.append(record(number)) }
        #expect(try read(path) == ["line 6", "line 7"])
    }

    @Test func aTornRecordIsLeftOut() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("log")
        try Files.replace(path, with: record(0) + record(1).dropLast(9) + [0x0A] + record(2), durable: false)
        #expect(try read(path) == ["line 0", "line 2"])
    }

    @Test func followSeesWhatComesAndEnds() throws {
        let directory = try TemporaryDirectory()
        let path = directory.appending("log")
        let size = Int64(record(0).count)
        let log = try LogFile(LogOptions(path: path, maximumSize: 4 * size, maximumFiles: 2))
        log.append(record(0))
        var pipe: [CInt] = [-1, -1]
        try system("pipe") { Glibc.pipe(&pipe) }
        let output = OwnedFD(adopting: pipe[0])
        let input = SharedFD(OwnedFD(adopting: pipe[1]))
        var lines: [String] = []
        var next = 1
        // Each record that is read makes the next be written; the last ends the container.
        let reader = LogReader(path, LogQuery()) { read in
            lines.append(String(decoding: read.bytes.dropLast(), as: UTF8.self))
            if next < 50 {
                log.append(self.record(next))
                next += 1
            } else {
                _ = write(input.raw, "x", 1)
            }
        }
        try reader.follow(until: output.raw)
        #expect(lines == (0..<50).map { "line \($0)" })
    }
}

/// A small seeded generator (SplitMix64), so that a failure can be repeated.
struct SplitMix: RandomNumberGenerator {
    private var state: UInt64
    init(seed: UInt64) { state = seed }

    mutating func next() -> UInt64 {
        state &+= 0x9E37_79B9_7F4A_7C15
        var mixed = state
        mixed = (mixed ^ (mixed >> 30)) &* 0xBF58_476D_1CE4_E5B9
        mixed = (mixed ^ (mixed >> 27)) &* 0x94D0_49BB_1331_11EB
        return mixed ^ (mixed >> 31)
    }
}

extension String {
    /// How many pieces `separator` cuts it into.
    func components(separatedBy separator: String) -> Int {
        var (count, rest) = (1, self[...])
        while let found = rest.firstRange(of: separator) {
            count += 1
            rest = rest[found.upperBound...]
        }
        return count
    }
}
