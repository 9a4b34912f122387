// SPDX-License-Identifier: Apache-2.0

import CFuse
import Testing

/// When a server looks for requests instead of sleeping.
struct PaceTests {
    private static let window = Int(CFUSE_PACE_WINDOW)

    /// Windows of answers `asleep` or `looking` ns after each other; for which of them requests were looked for.
    private func run(
        _ pace: inout cfuse_pace,
        _ windows: Int,
        asleep: Int64,
        looking: Int64
    ) -> [Bool] {
        (0..<windows).map { _ in
            let looks = pace.looks != 0
            for request in 1...Self.window {
                let changes = cfuse_learn(&pace, looks ? looking : asleep) != 0
                if request < Self.window { #expect(!changes) }
                #expect(changes == ((pace.looks != 0) != looks))
            }
            return looks
        }
    }

    @Test func sleepsWhereRequestsComeSoonAllTheSame() {
        var pace = cfuse_pace_of(50_000)
        #expect(!run(&pace, 500, asleep: 10_000, looking: 1_000).contains(true))
    }

    @Test func neverLooksWithoutTime() {
        var pace = cfuse_pace_of(0)
        #expect(!run(&pace, 500, asleep: 40_000, looking: 1_000).contains(true))
    }

    @Test func looksAsLongAsItHelps() {
        var pace = cfuse_pace_of(50_000)
        let helped = run(&pace, 1000, asleep: 20_000, looking: 10_000)
        #expect(helped[..<2] == [false, true])
        // It sleeps now and then, to see whether it still does.
        #expect((10...30).contains(helped.count { !$0 }))
        let vain = run(&pace, 2000, asleep: 20_000, looking: 18_000)
        #expect(vain.suffix(1000).count { $0 } < 20)
        #expect(run(&pace, 1000, asleep: 20_000, looking: 10_000).suffix(500).count { $0 } > 480)
    }

    @Test func triesAgainEverMoreSeldomWhatWasInVain() {
        var pace = cfuse_pace_of(50_000)
        let looks = run(&pace, 1000, asleep: 20_000, looking: 40_000)
        let tries = looks.indices.dropFirst().filter { looks[$0] && !looks[$0 - 1] }
        #expect(zip(tries, tries.dropFirst()).map { $1 - $0 }.prefix(6) == [10, 18, 34, 66, 130, 130])
    }

    @Test func sleepsAfterAPause() {
        var pace = cfuse_pace_of(50_000)
        _ = run(&pace, 5, asleep: 20_000, looking: 10_000)
        #expect(pace.looks != 0)
        #expect(cfuse_learn(&pace, 1_000_000_000) == 1)
        #expect(pace.looks == 0)
        // Somebody who had the processor for some milliseconds is no pause.
        _ = run(&pace, 5, asleep: 20_000, looking: 10_000)
        #expect(pace.looks != 0)
        #expect(cfuse_learn(&pace, 4_000_000) == 0)
    }
}
