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
    /// The write end of a pipe; closing it ends the thread.
    private let lifeline: Mutex<SharedFD?>

    /// Between two syncs the disk has something to gather, and a short job has none at all.
    private static let pause: CInt = 100

    /// Without a thread, a pipe or the directory there is none.
    init?(to path: FilePath) {
        guard let ends = try? SharedFD.pipe(),
            let target = try? SharedFD(Files.open(path, O_RDONLY | O_DIRECTORY))
        else { return nil }
        let output = ends.output
        lifeline = Mutex(ends.input)
        thread = Mutex(
            try? Thread {
                var end = pollfd(fd: output.raw, events: Int16(POLLIN), revents: 0)
                while poll(&end, 1, Self.pause) == 0 { try? Files.syncFileSystem(of: target.raw) }
            }
        )
    }

    /// Returns when it writes no more; the second time at once.
    func end() {
        lifeline.withLock { $0 = nil }
        thread.withLock { thread in
            thread?.join()
            thread = nil
        }
    }
}
