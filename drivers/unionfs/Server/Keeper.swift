// SPDX-License-Identifier: Apache-2.0

import CFuse
import CLinux
import Glibc
import LinuxSys

/// The process that starts the servers of a mount, one after the other, and lives as long as the mount.
///
/// It made all that they need: the mount, descriptors of the connection and of the layers, and memory that they share
/// with it. So a server that is killed, or ends by a fault, is followed by another one, a fork of this process, which
/// goes on with the requests where the kernel hands them out again. It does nothing else; if it is killed itself, the
/// server goes on, and is the last.
enum Keeper {
    /// What a server finds.
    struct Heritage {
        let isFirst: Bool
        /// Descriptors of open files without a name, by node.
        let held: [UInt64: CInt]
    }

    /// So many servers in a row that served nothing are enough.
    private static let mostFailures = 100

    /// Becomes the keeper, and returns in each server.
    ///
    /// - Parameter started: called in this process once the first server is there.
    static func startServers(
        _ life: UnsafeMutablePointer<cfuse_shared>,
        _ started: () -> Void
    ) throws -> Heritage {
        var pair: [CInt] = [-1, -1]
        guard cfuse_socket_pair(&pair) == 0 else { throw Refusal("make a pair of sockets") }
        var held: [UInt64: CInt] = [:]
        var failures = 0
        var isFirst = true
        while true {
            let served = life.pointee.served
            let pid = cfuse_fork()
            if pid == 0 {
                EndSignals.leave()
                if !isFirst { cfuse_show_as(CommandLine.unsafeArgv, nil) }
                cfuse_close(pair[0])
                cfuse_pass_through(pair[1])
                return Heritage(isFirst: isFirst, held: held)
            }
            if pid > 0 {
                EndSignals.server = pid
                if isFirst {
                    becomeKeeper()
                    started()
                }
                life.pointee.death = wait(for: pid, pair[0], &held)
                isFirst = false
            } else if isFirst {
                throw Refusal("start the process that serves")
            } else {
                usleep(10_000)
            }
            failures = life.pointee.served == served ? failures + 1 : 0
            if failures == mostFailures { exit(1) }
        }
    }

    private static func becomeKeeper() {
        EndSignals.handle()
        cfuse_show_as(CommandLine.unsafeArgv, "strata-keeper")
        clinux_drop_program_pages()
    }

    /// Takes what the server gives until it ends; the signal that ended it.
    ///
    /// If it ended by itself, so does this process.
    private static func wait(for pid: pid_t, _ socket: CInt, _ held: inout [UInt64: CInt]) -> CInt {
        let end = clinux_pidfd_open(pid)
        defer { if end >= 0 { cfuse_close(end) } }
        while true {
            var status: CInt = 0
            let isOver = cfuse_wait(socket, end) != 0
            let hasEnded = (isOver || end < 0) && waitpid(pid, &status, isOver ? 0 : WNOHANG) == pid
            take(from: socket, &held)
            if !hasEnded { continue }
            let number = status & 0x7F
            if number == 0 { exit((status >> 8) & 0xFF) }
            return number
        }
    }

    private static func take(from socket: CInt, _ held: inout [UInt64: CInt]) {
        var (id, fd): (UInt64, CInt) = (0, -1)
        while cfuse_take(socket, &id, &fd) == 1 {
            if id == 0 {
                // The mount is gone, and whoever unmounted it may want the layers' file systems next.
                cfuse_close_all()
                var status: CInt = 0
                waitpid(EndSignals.server, &status, 0)
                _exit(status & 0x7F == 0 ? (status >> 8) & 0xFF : 1)
            }
            if let old = fd < 0 ? held.removeValue(forKey: id) : held.updateValue(fd, forKey: id) {
                cfuse_close(old)
            }
        }
    }
}
