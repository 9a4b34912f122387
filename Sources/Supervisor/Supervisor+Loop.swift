// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import LinuxSys

extension Supervisor {
    /// What a descriptor in the poll list is.
    private enum Source {
        case process
        case listener
        case input
        case output(OutputPipe)
        case client(ControlClient)
    }

    private static let errors = Int16(POLLERR | POLLHUP | POLLNVAL)

    func loop() {
        var list: [pollfd] = []
        var sources: [Source] = []
        while true {
            advance()
            if case .over = phase { return }
            list.removeAll(keepingCapacity: true)
            sources.removeAll(keepingCapacity: true)
            collect { fd, events, source in
                list.append(pollfd(fd: fd, events: Int16(events), revents: 0))
                sources.append(source)
            }
            let limit = timeout
            _ = try? system("poll") { poll(&list, nfds_t(list.count), limit) }
            for (entry, source) in zip(list, sources) where entry.revents != 0 {
                serve(source, entry.revents)
            }
            clients.removeAll { client in
                if client.isGone { left(client) }
                return client.isGone
            }
        }
    }

    /// What there is to wait for now.
    private func collect(_ add: (CInt, CInt, Source) -> Void) {
        switch phase {
        case .running: add(container.pidfd, POLLIN, .process)
        case .leaving(let pidfd, _, _): add(pidfd, POLLIN, .process)
        default: break
        }
        if let listener { add(listener.raw, POLLIN, .listener) }
        if input.hasPending { add(input.fd, POLLOUT, .input) }
        // A client that must not lose anything holds the container back, but not its end.
        if record != nil || !clients.contains(where: \.holdsBack) {
            for output in outputs where output.fd >= 0 { add(output.fd, POLLIN, .output(output)) }
        }
        for client in clients {
            let mayRead = input.hasRoom || !client.options.contains(.stdin)
            add(client.fd, (mayRead ? POLLIN : 0) | (client.hasQueue ? POLLOUT : 0), .client(client))
        }
    }

    private func serve(_ source: Source, _ events: Int16) {
        switch source {
        case .process: processEnded()
        case .listener: accept()
        case .input: input.flush()
        case .output(let output): _ = read(output)
        case .client(let client):
            if events & Int16(POLLOUT) != 0 { client.flush() }
            if events & Int16(POLLIN) != 0 {
                serve(client)
            } else if events & Self.errors != 0 {
                client.leave()
            }
        }
    }

    /// Takes one piece of output: to the log, then to those who listen.
    ///
    /// - Returns: its size; 0 if there is nothing now, or no more.
    func read(_ output: OutputPipe) -> Int {
        let room = UnsafeMutableRawBufferPointer(rebasing: buffer[..<ControlMessage.largestData])
        switch output.read(room) {
        case .nothingNow: return 0
        case .ended:
            output.splitter.finish(at: .now, into: &encoded)
            writeLog()
            return 0
        case .bytes(let count):
            let bytes = UnsafeRawBufferPointer(rebasing: UnsafeRawBufferPointer(room)[..<count])
            if log != nil { output.splitter.take(bytes, at: .now, into: &encoded) }
            writeLog()
            broadcast(output.stream, bytes)
            return count
        }
    }

    private func writeLog() {
        log?.append(encoded)
        encoded.removeAll(keepingCapacity: encoded.capacity <= 64 << 10)
    }

    private func broadcast(_ stream: LogStream, _ bytes: UnsafeRawBufferPointer) {
        let wanted: AttachOptions = stream == .stdout ? .stdout : .stderr
        guard clients.contains(where: { $0.options.contains(wanted) }) else { return }
        let message = ControlMessage.output(stream, Array(bytes)).bytes
        for client in clients where client.options.contains(wanted) { client.send(message) }
    }

    private func accept() {
        guard let listener, case .done(let fd) = Attempt("accept", { Int(clinux_accept(listener.raw)) })
        else { return }
        let client = ControlClient(OwnedFD(adopting: CInt(fd)))
        if clients.count >= Self.mostClients {
            // One that has asked for nothing yet makes room, the oldest first.
            guard let idle = clients.firstIndex(where: { !$0.isAttached && !$0.awaitsEnd }) else { return }
            clients.remove(at: idle)
        }
        clients.append(client)
    }
}
