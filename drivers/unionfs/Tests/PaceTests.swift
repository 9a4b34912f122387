// SPDX-License-Identifier: Apache-2.0

import CFuse
import Testing

/// In which way a server waits for requests.
struct PaceTests {
    private static let window = Int(CFUSE_PACE_WINDOW)
    private static let all: CInt = 1 << CInt(CFUSE_WAYS.rawValue) - 1

    /// Nanoseconds from answer to answer in each of the ways.
    private typealias Periods = (asleep: Int64, looking: Int64, beside: Int64)

    private func period(_ pace: cfuse_pace, _ periods: Periods) -> Int64 {
        switch pace.way {
        case CFUSE_LOOKING: periods.looking
        case CFUSE_BESIDE: periods.beside
        default: periods.asleep
        }
    }

    /// Windows of requests, which end early where a way does; in which way each was waited for.
    private func run(_ pace: inout cfuse_pace, _ windows: Int, _ periods: Periods) -> [cfuse_way] {
        (0..<windows).map { _ in
            let way = pace.way
            for request in 1...Self.window {
                let isHopeless = request < Self.window && pace.way != pace.best
                let changes = cfuse_learn(&pace, period(pace, periods)) != 0
                #expect(changes == (pace.way != way))
                if changes {
                    if request < Self.window { #expect(isHopeless && pace.way == pace.best) }
                    break
                }
            }
            return way
        }
    }

    @Test func sleepsWhereRequestsComeSoonAllTheSame() {
        var pace = cfuse_pace_of(Self.all, 50_000)
        #expect(!run(&pace, 500, (4_000, 1_000, 1_000)).contains { $0 != CFUSE_ASLEEP })
    }

    @Test func staysBesideWhereThatIsGood() {
        var pace = cfuse_pace_of(Self.all, 50_000)
        #expect(!run(&pace, 500, (10_000, 1_000, 8_000)).dropFirst(3).contains { $0 != CFUSE_BESIDE })
    }

    @Test func staysWithWhatIsAllowed() {
        for ways: CInt in 0..<8 {
            var pace = cfuse_pace_of(ways, 50_000)
            let used = run(&pace, 500, (40_000, 20_000, 25_000))
            for way in [CFUSE_LOOKING, CFUSE_BESIDE] {
                #expect(used.contains(way) == (ways & 1 << CInt(way.rawValue) != 0))
            }
        }
        var pace = cfuse_pace_of(Self.all, 0)
        #expect(!run(&pace, 500, (40_000, 1_000, 30_000)).contains(CFUSE_LOOKING))
    }

    @Test func sleepsOnlyToBeginWithWhereItShouldNot() {
        var pace = cfuse_pace_of(1 << CInt(CFUSE_BESIDE.rawValue), 50_000)
        let ways = run(&pace, 500, (5_000, 1_000, 90_000))
        #expect(ways.first == CFUSE_ASLEEP && !ways.dropFirst().contains { $0 != CFUSE_BESIDE })
    }

    @Test(arguments: [
        (Periods(40_000, 20_000, 60_000), CFUSE_LOOKING), (Periods(40_000, 20_000, 25_000), CFUSE_BESIDE),
        (Periods(40_000, 20_000, 10_000), CFUSE_BESIDE), (Periods(40_000, 36_000, 45_000), CFUSE_ASLEEP),
    ])
    func findsTheBest(_ periods: (asleep: Int64, looking: Int64, beside: Int64), _ best: cfuse_way) {
        var pace = cfuse_pace_of(Self.all, 50_000)
        #expect(run(&pace, 1000, periods).suffix(900).count { $0 == best } > 800)
        // When all has changed, so does it.
        _ = run(&pace, 1000, (20_000, 100_000, 100_000))
        #expect(run(&pace, 500, (20_000, 100_000, 100_000)).count { $0 == CFUSE_ASLEEP } > 480)
        _ = run(&pace, 600, periods)
        #expect(run(&pace, 900, periods).count { $0 == best } > 800)
    }

    @Test func proofsOfLookingAreRepeated() {
        var pace = cfuse_pace_of(0b011, 50_000)
        let asleep = run(&pace, 1000, (20_000, 5_000, 1)).count { $0 == CFUSE_ASLEEP }
        #expect((10...30).contains(asleep))
    }

    @Test func triesAgainEverMoreSeldomWhatWasInVain() {
        var pace = cfuse_pace_of(0b011, 50_000)
        let ways = run(&pace, 2500, (20_000, 40_000, 1))
        let tries = ways.indices.dropFirst().filter { ways[$0] != ways[$0 - 1] && ways[$0] == CFUSE_LOOKING }
        #expect(
            zip(tries, tries.dropFirst()).map { $1 - $0 }.prefix(8) == [10, 18, 34, 66, 130, 258, 514, 514]
        )
    }

    @Test func endsTrialsThatAreInVainEarly() {
        var pace = cfuse_pace_of(0b011, 50_000)
        var requests: [CInt: Int] = [:]
        for _ in 0..<1000 * Self.window {
            requests[CInt(pace.way.rawValue), default: 0] += 1
            _ = cfuse_learn(&pace, period(pace, (20_000, 400_000, 1)))
        }
        // Three windows' worth of time at most: ten requests, and that seven times.
        #expect((7...80).contains(requests[CInt(CFUSE_LOOKING.rawValue)] ?? 0))
    }

    @Test func givesUpAtOnce() {
        var pace = cfuse_pace_of(0b101, 50_000)
        _ = run(&pace, 5, (20_000, 1, 10_000))
        #expect(pace.way == CFUSE_BESIDE)
        cfuse_give_up(&pace, CInt(CFUSE_PACE_SHORTEST))
        #expect(pace.way == CFUSE_ASLEEP)
        let ways = run(&pace, 20, (20_000, 1, 10_000))
        #expect(ways.prefix(8).allSatisfy { $0 == CFUSE_ASLEEP } && ways.last == CFUSE_BESIDE)
        // What passes soon does not count as a failure.
        for _ in 0..<5 {
            cfuse_give_up(&pace, 1)
            #expect(run(&pace, 12, (20_000, 1, 10_000)).last == CFUSE_BESIDE)
        }
    }

    @Test func sleepsAfterAPause() {
        var pace = cfuse_pace_of(Self.all, 50_000)
        _ = run(&pace, 8, (20_000, 10_000, 40_000))
        #expect(pace.way == CFUSE_LOOKING)
        // Somebody who had the processor for some milliseconds is no pause.
        #expect(cfuse_learn(&pace, 4_000_000) == 0)
        #expect(cfuse_learn(&pace, 1_000_000_000) == 1)
        #expect(pace.way == CFUSE_ASLEEP)
    }

    @Test func staysBesideInAPause() {
        var pace = cfuse_pace_of(Self.all, 50_000)
        _ = run(&pace, 20, (20_000, 30_000, 18_000))
        #expect(pace.way == CFUSE_BESIDE)
        #expect(cfuse_learn(&pace, 900_000_000) == 0)
        #expect(run(&pace, 5, (20_000, 30_000, 18_000)).allSatisfy { $0 == CFUSE_BESIDE })
        // After so long it may be somebody else.
        #expect(cfuse_learn(&pace, 2_000_000_000) == 1)
        #expect(pace.way == CFUSE_ASLEEP)
    }
}
