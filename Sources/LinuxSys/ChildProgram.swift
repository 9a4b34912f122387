// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage

/// A program to be started in a new session, with the signals and descriptors of a fresh one: standard input and
/// outputs at /dev/null, and beside them only `descriptors`, under their own numbers.
package struct ChildProgram {
    /// POSIX_SPAWN_SETSID, which Glibc hides.
    private static let setSession: Int16 = 0x80

    package let arguments: [String]
    package let descriptors: [CInt]

    package init(_ arguments: [String], descriptors: [CInt]) {
        self.arguments = arguments
        self.descriptors = descriptors
    }

    /// Starts it; its pid.
    ///
    /// The environment is ours.
    package func spawn() throws(SystemError) -> CInt {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        for fd in 0...2 as ClosedRange<CInt> {
            posix_spawn_file_actions_addopen(&actions, fd, "/dev/null", fd == 0 ? O_RDONLY : O_WRONLY, 0)
        }
        // To its own number: clears close-on-exec, which all our descriptors have.
        for fd in descriptors where fd > 2 { posix_spawn_file_actions_adddup2(&actions, fd, fd) }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var all = sigset_t()
        sigfillset(&all)
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETSIGMASK) | Self.setSession
        )

        var words: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) } + [nil]
        defer { for word in words { free(word) } }
        var pid: pid_t = 0
        let program = arguments.first ?? ""
        let code = posix_spawn(&pid, program, &actions, &attributes, &words, environ)
        if code != 0 { throw SystemError("start", arguments.first, Errno(rawValue: code)) }
        return pid
    }
}
