// SPDX-License-Identifier: Apache-2.0

import TestGates
import Testing

@testable import LayerStore

@Suite struct EarlyWritingTests {
    @Test func endsAtOnceAndTwice() throws {
        let directory = try TemporaryDirectory()
        let started = ContinuousClock.now
        for _ in 0..<50 {
            let writing = try #require(EarlyWriting(to: directory.path))
            writing.end()
            writing.end()
        }
        // Far less than the pause before the first sync, fifty times.
        #expect(ContinuousClock.now - started < .seconds(4))
    }

    @Test func isNotThereWithoutTheDirectory() throws {
        let directory = try TemporaryDirectory()
        #expect(EarlyWriting(to: directory.appending("absent")) == nil)
    }
}
