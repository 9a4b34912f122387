// SPDX-License-Identifier: Apache-2.0

import TestGates
import Testing

@testable import LayerStore

@Suite struct EarlyWritingTests {
    @Test func endsWheneverItIsToldAndTwice() throws {
        let directory = try TemporaryDirectory()
        for _ in 0..<20 {
            let writing = try #require(EarlyWriting(to: directory.path))
            writing.end()
            writing.end()
        }
    }

    @Test func isNotThereWithoutTheDirectory() throws {
        let directory = try TemporaryDirectory()
        #expect(EarlyWriting(to: directory.appending("absent")) == nil)
    }
}
