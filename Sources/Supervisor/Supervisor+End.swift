// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

extension Supervisor {
    private static let drainTime: Int64 = 2_000
    private static let leaveTime: Int64 = 60_000
    private static let farewellTime: Int64 = 2_000
    /// The largest pipe of an ordinary user, pipe(7).
    private static let mostInPipe = 1 << 20

    /// How long poll(2) may wait, in its terms.
    var timeout: CInt {
        let until: Int64
        switch phase {
        case .running, .over: return -1
        case .draining(let time), .leaving(_, _, let time): until = time
        case .farewell(let time):
            // A client that must not lose anything may take its time: it ends this by leaving.
            if clients.contains(where: { $0.hasQueue && $0.options.contains(.lossless) }) { return -1 }
            until = time
        }
        return CInt(clamping: max(0, until - Self.milliseconds))
    }

    private func isPast(_ time: Int64) -> Bool { Self.milliseconds >= time }

    /// Goes from phase to phase as far as it can now.
    func advance() {
        if case .draining(let until) = phase, isPast(until) || outputs.allSatisfy({ $0.fd < 0 }) {
            readRest()
            settle()
        }
        if case .leaving(_, let pid, let until) = phase, isPast(until) {
            kill(pid, SIGKILL)
            reap(pid)
        }
        if case .farewell(let until) = phase {
            let waiting = clients.filter(\.hasQueue)
            if waiting.isEmpty
                || isPast(until) && !waiting.contains(where: { $0.options.contains(.lossless) })
            {
                phase = .over
            }
        }
    }

    /// The first process of the container, or the program run at its end, has ended.
    func processEnded() {
        switch phase {
        case .running:
            let end: (code: CInt, outOfMemory: Bool)
            do {
                end = try container.finish()
            } catch {
                end = (255, false)  // it cannot be known any more
            }
            record = ExitRecord(code: end.code, outOfMemory: end.outOfMemory)
            input.close()
            phase = .draining(until: Self.milliseconds + Self.drainTime)
        case .leaving(let pidfd, let pid, _):
            _ = close(pidfd)
            reap(pid)
        default: break
        }
    }

    private func reap(_ pid: CInt) {
        var status: CInt = 0
        _ = try? system("waitpid") { waitpid(pid, &status, 0) }
        sayFarewell()
    }

    /// Takes what lies in the pipes: this process may come to it only after the time for that.
    ///
    /// No more than a pipe holds, for what is left of the container may go on writing.
    private func readRest() {
        for output in outputs {
            var taken = 0
            while output.fd >= 0, taken < Self.mostInPipe {
                let count = read(output)
                if count == 0 { break }
                taken += count
            }
        }
    }

    /// All output is in the log: the end is written down, and what was held for the container let go.
    private func settle() {
        if let record {
            try? Files.replace(job.runDirectory.appending(RunFile.exit), with: record.bytes, durable: false)
        }
        for fd in job.held { _ = close(fd) }
        guard !job.onExit.isEmpty, let (pid, pidfd) = try? startOnExit() else { return sayFarewell() }
        phase = .leaving(pidfd: pidfd, pid: pid, until: Self.milliseconds + Self.leaveTime)
    }

    private func startOnExit() throws -> (CInt, CInt) {
        let child = ChildProgram(job.onExit, descriptors: job.kept)
        let pid = try child.spawn()
        do {
            return (pid, try system("pidfd_open") { clinux_pidfd_open(pid) })
        } catch {
            var status: CInt = 0
            _ = try? system("waitpid") { waitpid(pid, &status, 0) }
            throw error
        }
    }

    private func sayFarewell() {
        listener = nil
        _ = try? Files.unlink(RunFile.control, below: directory.raw)
        for fd in job.kept { _ = close(fd) }
        if let record {
            for client in clients where client.awaitsEnd { client.send(.ended(record)) }
        }
        phase = .farewell(until: Self.milliseconds + Self.farewellTime)
    }
}
