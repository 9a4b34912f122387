// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LinuxSys

extension Supervisor {
    /// Serves what has come from a client, but not so much that others have to wait.
    func serve(_ client: ControlClient) {
        for _ in 0..<8 {
            guard let message = client.receive(buffer) else { return }
            serve(client, message)
            if !input.hasRoom { return }
        }
    }

    private func serve(_ client: ControlClient, _ message: ControlMessage) {
        switch message {
        case .attach(let options):
            client.options = options
            client.awaitsEnd = true
            client.send(.done)
        case .input(let bytes):
            if client.options.contains(.stdin) { input.take(bytes) }
        case .endInput:
            if client.options.contains(.stdin), job.input == .once { input.end() }
        case .resize(let size):
            answer(client) { container in
                guard let terminal = container.terminal else {
                    throw StartFailure("the container has no terminal")
                }
                try Terminal.setSize(of: terminal, to: size)
            }
        case .signal(let number): answer(client) { try $0.signal(number) }
        case .pause:
            answer(client) { try $0.pause() }
            isPaused = true
        case .resume:
            answer(client) { try $0.resume() }
            isPaused = false
        case .wait: client.awaitsEnd = true
        case .askStatus: client.send(.status(status))
        case .unmount: client.send(.refused("a container's root cannot be unmounted"))
        case .output, .done, .refused, .status, .ended: client.leave()  // these are ours to send
        }
    }

    /// Does what a client asked for and tells it how that went.
    private func answer(_ client: ControlClient, _ work: (any HeldContainer) throws -> Void) {
        guard record == nil else { return client.send(.refused("the container has ended")) }
        do {
            try work(container)
            client.send(.done)
        } catch {
            client.send(.refused("\(error)"))
        }
    }

    private var status: String {
        let json: JSON = [
            "pid": .integer(container.pid), "started": .string(started.rfc3339), "paused": .bool(isPaused),
            "running": .bool(record == nil), "clients": .integer(clients.count),
        ]
        return json.text
    }

    /// A client is no more: the input that was its alone ends.
    func left(_ client: ControlClient) {
        if client.options.contains(.stdin), job.input == .once { input.end() }
    }
}
