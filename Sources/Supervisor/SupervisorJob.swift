// SPDX-License-Identifier: Apache-2.0

import Glibc
package import JSON
import LinuxSys
package import SystemPackage

/// All that a supervisor is told: a JSON text in a descriptor it inherits.
///
/// Descriptors in it are numbers at which the supervisor inherits them.
package struct SupervisorJob: Sendable {
    package enum Input: String, Sendable {
        /// /dev/null.
        case none
        /// Open as long as the container runs, whoever attaches (`-d -i`).
        case open
        /// Ends with the input of the first client who is attached to it (`-i`).
        case once
    }

    /// The container's id.
    package var id: String
    /// `<run>/containers/<id>`, which exists: the control socket and the state and exit files are made in it.
    package var runDirectory: FilePath
    package var log: LogOptions?
    package var input: Input
    /// A connected control socket (`ControlConnection.pair`) that is attached with `clientOptions` before the container starts.
    package var client: CInt?
    package var clientOptions: AttachOptions
    /// The pipe that `StartReport` is written to.
    package var report: CInt
    /// Descriptors held until the container has ended: its mount, the companion of its layer.
    package var held: [CInt]
    /// Descriptors, such as locks, held longer: `onExit` inherits them under the same numbers.
    package var kept: [CInt]
    /// The program and arguments run when the container has ended and all else is done; those who wait for the container hear of
    /// its end after this.
    package var onExit: [String]
    /// What `ContainerLaunch` reads.
    package var launch: JSON

    package init(
        id: String,
        runDirectory: FilePath,
        log: LogOptions?,
        input: Input,
        client: CInt? = nil,
        clientOptions: AttachOptions = [],
        report: CInt = -1,
        held: [CInt] = [],
        kept: [CInt] = [],
        onExit: [String] = [],
        launch: JSON
    ) {
        self.id = id
        self.runDirectory = runDirectory
        self.log = log
        self.input = input
        self.client = client
        self.clientOptions = clientOptions
        self.report = report
        self.held = held
        self.kept = kept
        self.onExit = onExit
        self.launch = launch
    }

    /// Whether the specification asks for a terminal.
    var hasTerminal: Bool { launch["spec"]?["process"]?["terminal"]?.bool == true }

    /// The descriptors that the supervisor inherits, beside that of the report.
    var descriptors: [CInt] { held + kept + (client.map { [$0] } ?? []) }

    package init?(_ json: JSON) {
        guard let id = json["id"]?.string, let directory = json["runDirectory"]?.string,
            let input = json["input"]?.string.flatMap(Input.init(rawValue:)), let launch = json["launch"],
            let report = json["report"]?.descriptor, let held = json["held"]?.descriptors,
            let kept = json["kept"]?.descriptors, let onExit = json["onExit"]?.strings
        else { return nil }
        var log: LogOptions?
        if let options = json["log"], !options.isNull {
            guard let path = options["path"]?.string else { return nil }
            log = LogOptions(
                path: FilePath(path),
                maximumSize: options["maximumSize"]?.int64,
                maximumFiles: options["maximumFiles"]?.int ?? 1
            )
        }
        self.init(
            id: id,
            runDirectory: FilePath(directory),
            log: log,
            input: input,
            client: json["client"]?.descriptor,
            clientOptions: AttachOptions(rawValue: UInt8(clamping: json["clientOptions"]?.int ?? 0)),
            report: report,
            held: held,
            kept: kept,
            onExit: onExit,
            launch: launch
        )
    }

    package var json: JSON {
        var object: JSONObject = [
            "id": .string(id), "runDirectory": .string(runDirectory.string), "input": .string(input.rawValue),
            "clientOptions": .integer(clientOptions.rawValue), "report": .integer(report),
            "held": .array(held.map { .integer($0) }), "kept": .array(kept.map { .integer($0) }),
            "onExit": .strings(onExit), "launch": launch,
        ]
        if let client { object["client"] = .integer(client) }
        if let log {
            var options: JSONObject = [
                "path": .string(log.path.string), "maximumFiles": .integer(log.maximumFiles),
            ]
            if let size = log.maximumSize { options["maximumSize"] = .integer(size) }
            object["log"] = .object(options)
        }
        return .object(object)
    }
}

extension JSON {
    var descriptor: CInt? { int.flatMap(CInt.init(exactly:)) }

    var descriptors: [CInt]? {
        guard let array else { return nil }
        let numbers = array.compactMap(\.descriptor)
        return numbers.count == array.count ? numbers : nil
    }
}

/// What a supervisor says over its report pipe, once.
package enum StartReport: Hashable, Sendable {
    case started(pid: CInt)
    /// One line, and the exit code that a `run` ends with: 125, 126 or 127.
    case failed(String, code: CInt)

    package init?(_ bytes: [UInt8]) {
        guard let json = try? JSON.parse(bytes, limits: JSONLimits(size: 64 << 10, depth: 2)) else {
            return nil
        }
        if let pid = json["pid"]?.int.flatMap(CInt.init(exactly:)) {
            self = .started(pid: pid)
        } else if let message = json["error"]?.string,
            let code = json["code"]?.int.flatMap(CInt.init(exactly:))
        {
            self = .failed(message, code: code)
        } else {
            return nil
        }
    }

    package var bytes: [UInt8] {
        let json: JSON =
            switch self {
            case .started(let pid): ["pid": .integer(pid)]
            case .failed(let message, let code): ["error": .string(message), "code": .integer(code)]
            }
        return json.bytes()
    }

    /// Writes it to the report pipe, which ends with it.
    func send(to pipe: CInt) {
        guard pipe >= 0 else { return }
        try? Files.writeAll(bytes, to: pipe)  // who waits for it may have gone
        _ = close(pipe)
    }
}
