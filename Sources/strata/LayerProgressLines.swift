// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LayerStore
import Synchronization

/// What happens to the layers of an image: one line that is rewritten on a terminal, a line a layer elsewhere.
final class LayerProgressLines: Sendable {
    private let console = Console.errors
    private let isTerminal = Console.errors.isTerminal
    private let done = Mutex<(finished: Int, active: Set<Int>)>((0, []))

    func show(_ progress: LayerProgress) {
        done.withLock { state in
            switch progress.step {
            case .exists, .unpacked:
                state.active.remove(progress.index)
                state.finished += 1
                if isTerminal { break }
                if progress.step == .unpacked { console.write("layer \(short(progress)): unpacked\n") }
            case .waiting, .unpacking, .copying:
                state.active.insert(progress.index)
            }
            guard isTerminal else { return }
            console.write("\r\u{1B}[K\(state.finished) layers ready, \(state.active.count) being unpacked")
        }
    }

    func finish() {
        if isTerminal { console.write("\r\u{1B}[K") }
    }

    private func short(_ progress: LayerProgress) -> String { String(progress.diffID.hex.prefix(12)) }
}
