// SPDX-License-Identifier: Apache-2.0

import Glibc
import LayerDiff
import LinuxSys
import Synchronization
import SystemPackage

/// Has a file system written to disk again and again while a job fills it, so that the sync at the job's end finds
/// little to do.
///
/// It only saves time: failures are left to that sync, which learns of them by a descriptor that is open since before.
///
/// What was tried instead, loads with sync in ms (20,000 small files / a Debian base / 500 MB in 4 files; ext4 on two
/// processors, where they take some 300 / 380 / 1650 without sync):
/// - this, every 25 ms: 374 / 474 / 1835; every 60 ms: 387 / 498 / -; one sync at the end: 453 / 530 / -;
/// - besides, each 8 MiB of a large file or blob given to the disk at once (`sync_file_range`): 1913 for the large
///   layer, and 2166 with a sync every 100 ms: more calls for what the next sync writes anyway;
/// - large files allocated as a whole before they are written (`fallocate`): 2253. What is allocated late lies together
///   anyway, and each part of a preallocated file must be marked as written once more.
///
/// Large blobs go past the page cache besides (`UncachedWriter`), where the kernel can: 1620 for the large layer in
/// place of 2650, in one run on a slower day. The same of its files was 1650 against 2040, but what is unpacked is
/// read soon.
///
/// On a disk whose blocks are in memory once (a loop device with direct I/O) the large layer takes 1429 without sync; with
/// one every 10 ms 1607, every 25 ms 1689, every 100 ms 2049, one at the end 1720; every 25 ms with the blob in the page
/// cache 1798.
///
/// On btrfs each sync ends a transaction, after which all of its trees that is touched again is copied again. Loads there
/// in ms on a busy machine (20,000 small files / 500 MB in 4 files): a sync every 25 ms 2985 / 7079, every 500 ms
/// - / 6430, one at the end 2223 / 8730.
final class EarlyWriting: Sendable {
    private let thread: Mutex<Thread?>
    private let isOver: SharedEvent

    /// Milliseconds between two syncs: a short job has none at all, and what one has to write stays little.
    private static func pause(on directory: CInt) -> CInt {
        (try? Files.fileSystemType(directory)) == "btrfs" ? 500 : 25
    }

    /// Without a thread, an event or the directory there is none.
    init?(to path: FilePath) {
        guard let isOver = try? SharedEvent(),
            let target = try? SharedFD(Files.open(path, O_RDONLY | O_DIRECTORY))
        else { return nil }
        self.isOver = isOver
        let pause = Self.pause(on: target.raw)
        thread = Mutex(
            try? Thread {
                while !isOver.wait(milliseconds: pause) { try? Files.syncFileSystem(of: target.raw) }
            }
        )
    }

    /// Returns when it writes no more; the second time at once.
    func end() {
        isOver.signal()
        thread.withLock { $0.take() }?.join()
    }
}
