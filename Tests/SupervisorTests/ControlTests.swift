// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Testing

@testable import Supervisor

@Suite struct ControlMessageTests {
    private static let all: [ControlMessage] = [
        .attach([.stdin, .stderr]), .input([1, 2, 3]), .endInput,
        .resize(WindowSize(rows: 24, columns: 65_535)),
        .signal(15), .pause, .resume, .wait, .askStatus, .output(.stderr, [0]), .done, .refused("no: ü"),
        .status("{}"),
        .ended(ExitRecord(code: 137, outOfMemory: true, finished: Timestamp(seconds: 7, nanoseconds: 5))),
    ]

    private func parse(_ bytes: [UInt8]) -> ControlMessage? { bytes.withUnsafeBytes { ControlMessage($0) } }

    @Test(arguments: all) func comesBackAsItWas(_ message: ControlMessage) {
        #expect(parse(message.bytes) == message)
    }

    @Test(
        arguments: [
            [], [0], Array("a".utf8), Array("a\u{10}".utf8), Array("axx".utf8), Array("i".utf8),
            Array("r123".utf8),
            Array("s\u{0}".utf8), [0x73, 65], [0x73, 200], Array("px".utf8), Array("x".utf8),
            Array("x{\"code\":1}".utf8),
        ] as [[UInt8]]
    )
    func whatIsNoMessageIsRefused(_ bytes: [UInt8]) {
        #expect(parse(bytes) == nil)
    }

    @Test func tooMuchInputIsRefused() {
        let most = [UInt8](repeating: 0, count: ControlMessage.largestData)
        #expect(parse([0x69] + most) != nil)
        #expect(parse([0x69, 0] + most) == nil)
    }

    @Test func anyBytesAreReadOrRefused() {
        var generator = SplitMix(seed: 3)
        var accepted = 0
        for _ in 0..<20_000 {
            let bytes = (0..<Int.random(in: 0...12, using: &generator)).map { _ in
                UInt8.random(in: 0...255, using: &generator)
            }
            if let message = parse(bytes) {
                accepted += 1
                if case .refused = message { continue }  // a text that is not UTF-8 comes back as one that is
                if case .status = message { continue }
                #expect(message.bytes == bytes)
            }
        }
        #expect(accepted > 0)
    }
}

@Suite struct DetachKeysTests {
    @Test func theStandardSequenceDetaches() {
        var keys = DetachKeys.standard
        #expect(keys.filter([0x61, 0x10, 0x11, 0x62]) == ([0x61], true))
    }

    @Test func aSequenceCutInPiecesIsFound() {
        var keys = DetachKeys.standard
        #expect(keys.filter([0x61, 0x10]) == ([0x61], false))
        #expect(keys.filter([0x11]) == ([], true))
    }

    @Test func keysThatLeadNowhereArePassedOn() {
        var keys = DetachKeys.standard
        #expect(keys.filter([0x10, 0x10, 0x62]) == ([0x10, 0x10, 0x62], false))
        #expect(keys.filter([0x10, 0x10, 0x11]) == ([0x10], true))
    }

    @Test func aSequenceThatRepeatsItselfIsFoundWithinItself() throws {
        var keys = try #require(DetachKeys("a,a,b"))
        #expect(keys.filter(Array("xaaab".utf8)) == (Array("xa".utf8), true))
        #expect(keys.filter(Array("aaxaab".utf8)) == (Array("aax".utf8), true))
    }

    @Test func theFormIsDockers() throws {
        var keys = try #require(DetachKeys("ctrl-@,ctrl-Z,x"))
        #expect(keys.filter([0, 26, 0x78]) == ([], true))
        for bad in ["ctrl-", "ctrl-1", "ab", "a,,b", "ctrl-aa", "ü"] {
            #expect(DetachKeys(bad) == nil, "\(bad)")
        }
        var none = try #require(DetachKeys(""))
        #expect(none.filter([0x10, 0x11]) == ([0x10, 0x11], false))
    }
}
