// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys
import SystemPackage

/// Holds the locks of a layer while its mount stands in the mount table of whoever asked for it.
///
/// It ends when it is asked to unmount, or when somebody else has unmounted it; a mount that is in use stays.
package final class MountHolder {
    private let job: MountJob
    private let mountID: UInt64
    private let listener: OwnedFD
    /// Polls as exceptional whenever a mount comes or goes.
    private let table: OwnedFD
    private var clients: [ControlClient] = []
    private let buffer = UnsafeMutableRawBufferPointer.allocate(
        byteCount: ControlMessage.largestData + 1,
        alignment: 16
    )

    deinit { buffer.deallocate() }

    /// Does the job: attaches the mount, says so over the report pipe, and returns when the mount is gone.
    package static func run(_ job: MountJob) {
        do {
            let holder = try MountHolder(job)
            StartReport.started(pid: getpid()).send(to: job.report)
            clinux_drop_program_pages()
            holder.loop()
        } catch {
            StartReport.failed("\(error)", code: 1).send(to: job.report)
        }
    }

    private init(_ job: MountJob) throws {
        self.job = job
        try system("chdir", "/") { chdir("/") }  // or the directory of whoever asked stays in use
        let directory = try Files.open(job.runDirectory, O_RDONLY | O_DIRECTORY)
        listener = try ControlSocket.listen(below: directory.raw)
        table = try Files.open(MountTable.path, O_RDONLY)
        mountID = try Files.status(of: job.mount).mountID
        // Recorded before it stands, so that what a killed holder leaves can be found.
        try Files.replace(
            job.runDirectory.appending(RunFile.state),
            with: MountRecord(mountID: mountID, place: job.place).bytes,
            durable: false
        )
        try DetachedMount.attach(job.mount, at: ".", below: job.target)
        for fd in [job.mount, job.target] { _ = close(fd) }
    }

    private func loop() {
        while true {
            var list = [
                pollfd(fd: table.raw, events: Int16(POLLPRI), revents: 0),
                pollfd(fd: listener.raw, events: Int16(POLLIN), revents: 0),
            ]
            list += clients.map { pollfd(fd: $0.fd, events: Int16(POLLIN), revents: 0) }
            _ = try? system("poll") { poll(&list, nfds_t(list.count), -1) }
            if list[0].revents != 0, (try? place()) == .some(nil) {
                return release()
            }
            for (entry, client) in zip(list.dropFirst(2), clients) where entry.revents != 0 {
                if serve(client) { return }
            }
            clients.removeAll(where: \.isGone)
            if list[1].revents != 0 { accept() }
        }
    }

    private func accept() {
        let socket = listener.raw
        guard case .done(let fd) = Attempt("accept", { Int(clinux_accept(socket)) }) else { return }
        if clients.count >= Supervisor.mostClients { clients.removeFirst() }
        clients.append(ControlClient(OwnedFD(adopting: CInt(fd))))
    }

    /// Answers what a client has sent; whether the mount is gone.
    private func serve(_ client: ControlClient) -> Bool {
        guard let message = client.receive(buffer) else { return false }
        guard message == .unmount else {
            client.leave()
            return false
        }
        do {
            if let place = try place() { try MountTable.unmount(place) }
        } catch {
            client.send(.refused(reason(error)))
            return false
        }
        release()
        client.send(.done)
        return true
    }

    /// Where the mount stands by now (its directory may have been renamed); `nil` if it is gone.
    private func place() throws(SystemError) -> FilePath? {
        try MountTable.entries().first { $0.id == mountID }?.place
    }

    /// Why it cannot be unmounted: who uses it, or what stands on it.
    private func reason(_ error: any Error) -> String {
        guard (error as? SystemError)?.errno == .resourceBusy else { return "\(error)" }
        let above = ((try? MountTable.entries()) ?? []).filter { $0.parent == mountID }
        if let first = above.first { return "it is in use: \(first.place.printable) is mounted on it" }
        let users = MountTable.users(of: mountID)
        let names = users.prefix(5).map { "\($0)" } + (users.count > 5 ? ["\(users.count - 5) more"] : [])
        return names.isEmpty ? "it is in use" : "it is in use by \(names.joined(separator: ", "))"
    }

    /// The mount is gone: so is its record, and the locks are free before anyone is told.
    private func release() {
        try? Files.removeTree(job.runDirectory)
        _ = try? Files.unlink(job.lockFile)
        for fd in job.held { _ = close(fd) }
    }
}
