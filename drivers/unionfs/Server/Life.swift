// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import UnionJournal

/// The memory that the servers of a mount share, one after the other.
struct Life {
    let shared: UnsafeMutablePointer<cfuse_shared>
    private let size: Int

    /// `nil` without memory, and so without a server after the first.
    init?(_ options: Options) {
        // Addresses; of memory it takes what is written.
        var size = 2 << 30
        guard let shared = cfuse_share(&size) else { return nil }
        self.shared = shared
        self.size = size / 2
        shared.pointee.refuses_resend = options.refusesResend ? 1 : 0
    }

    /// What was noted so far.
    func journal() -> Journal {
        Journal(header: cfuse_journal_words(shared), areas: cfuse_shared_tail(shared), size: size)
    }
}
