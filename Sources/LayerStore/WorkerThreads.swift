// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import Synchronization

/// Blocking work on threads of its own; the cooperative pool is never blocked.
enum WorkerThreads {
    /// Calls `body` with each number below `count`, on `width` threads at once; returns when all are done.
    static func run(_ count: Int, width: Int, _ body: @escaping @Sendable (Int) -> Void) {
        if count <= 1 || width <= 1 {
            for index in 0..<count { body(index) }
            return
        }
        let work = Work(count, body)
        // Without a thread the work is done by the others, and at worst by this one alone.
        let threads = (1..<min(width, count)).compactMap { _ in try? Thread { work.run() } }
        work.run()
        for thread in threads { thread.join() }
    }

    private final class Work: Sendable {
        private let next = Atomic<Int>(0)
        private let count: Int
        private let body: @Sendable (Int) -> Void

        init(_ count: Int, _ body: @escaping @Sendable (Int) -> Void) {
            self.count = count
            self.body = body
        }

        func run() {
            while true {
                let index = next.wrappingAdd(1, ordering: .relaxed).oldValue
                if index >= count { return }
                body(index)
            }
        }
    }

    /// Cores that this process may use.
    static var cores: Int { max(1, Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))) }
}
