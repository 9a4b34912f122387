// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Synchronization
import SystemPackage

/// Has a file system written to disk again and again while a job fills it, so that the sync at the job's end finds
/// little to do.
///
/// It only saves time: failures are left to that sync, which learns of them by a descriptor of its own.
final class EarlyWriting: Sendable {
    private let thread: Mutex<Thread?>
    private let isOver: SharedEvent

    /// Milliseconds between two syncs: a short job has none at all, and what one has to write stays little.
    private static let pause: CInt = 25

    /// Without a thread, an event or the directory there is none.
    init?(to path: FilePath) {
        guard let isOver = try? SharedEvent(),
            let target = try? SharedFD(Files.open(path, O_RDONLY | O_DIRECTORY))
        else { return nil }
        self.isOver = isOver
        thread = Mutex(
            try? Thread {
                while !isOver.wait(milliseconds: Self.pause) { try? Files.syncFileSystem(of: target.raw) }
            }
        )
    }

    /// Returns when it writes no more; the second time at once.
    func end() {
        isOver.signal()
        thread.withLock { $0.take() }?.join()
    }
}
