// SPDX-License-Identifier: Apache-2.0

import Format
import LayerDiff
import LayerStore
import LinuxSys
import Synchronization

/// What happens to the layers of an image: one line that is drawn again and again on a terminal, a line a layer
/// elsewhere.
final class LayerProgressLines: Sendable {
    private struct State {
        var finished = 0
        var active: [Int: LayerProgress] = [:]
        var drawer: Thread?
    }

    private let console = Console.errors
    private let isTerminal = Console.errors.isTerminal
    private let state = Mutex(State())
    /// `nil` where nothing is drawn.
    private let end = Console.errors.isTerminal ? try? SharedEvent() : nil

    /// Milliseconds from one drawing to the next.
    private static let interval: CInt = 100

    func show(_ progress: LayerProgress) {
        state.withLock { state in
            switch progress.step {
            case .exists, .unpacked:
                state.active[progress.index] = nil
                state.finished += 1
            case .waiting, .unpacking, .copying: state.active[progress.index] = progress
            }
            if isTerminal {
                startDrawing(&state)
            } else if progress.step == .unpacked {
                console.write("layer \(short(progress)): unpacked\n")
            }
        }
    }

    func finish() {
        end?.signal()
        state.withLock { $0.drawer.take() }?.join()
        if isTerminal { console.write("\r\u{1B}[K") }
    }

    /// Without a thread nothing is drawn.
    private func startDrawing(_ state: inout State) {
        guard state.drawer == nil, let end else { return }
        state.drawer = try? Thread { [self] in
            repeat { draw() } while !end.wait(milliseconds: Self.interval)
        }
    }

    private func draw() {
        let (finished, active) = state.withLock { ($0.finished, $0.active) }
        var line = "\(finished) layers ready"
        for progress in active.values.sorted(by: { $0.index < $1.index }) { line += "; \(text(progress))" }
        console.rewriteLine(line)
    }

    private func text(_ progress: LayerProgress) -> String {
        switch progress.step {
        case .waiting: return "\(short(progress)): another process makes it"
        case .copying(let driver): return "\(short(progress)): copying from \(driver)"
        case .exists, .unpacking, .unpacked: break
        }
        guard let read = progress.read?.value else { return "\(short(progress)): unpacking" }
        guard let size = progress.size else { return "\(short(progress)): \(Human.size(read))" }
        return "\(short(progress)): \(Human.size(read))/\(Human.size(size))"
    }

    private func short(_ progress: LayerProgress) -> String { String(progress.diffID.hex.prefix(12)) }
}
