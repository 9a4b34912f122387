// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import LinuxSys

/// Prints one line and ends, or tells whoever started us.
func fail(_ message: String, code: CInt, report: CInt?) -> Never {
    let line = Array("strata-unionfs: \(message)\n".utf8)
    if let report { try? Files.writeAll(line, to: report) }
    if report == nil { try? Files.writeAll(line, to: STDERR_FILENO) }
    exit(code)
}

/// Goes to the background; the parent waits for the first byte of the child, or for its end.
func detach() -> CInt? {
    var pair: (CInt, CInt) = (-1, -1)
    let result = withUnsafeMutablePointer(to: &pair) {
        $0.withMemoryRebound(to: CInt.self, capacity: 2) { pipe($0) }
    }
    guard result == 0 else { return nil }
    let child = cfuse_fork()
    if child < 0 { return nil }
    if child > 0 {
        close(pair.1)
        var line = [UInt8](repeating: 0, count: 4096)
        let count = read(pair.0, &line, line.count)
        if count == 1, line[0] == 0 { exit(0) }
        if count > 0 { try? Files.writeAll(Array(line[..<count]), to: STDERR_FILENO) }
        exit(1)
    }
    close(pair.0)
    setsid()
    return pair.1
}

func serve(_ options: Options) {
    var report = options.report
    if options.device == nil, !options.inForeground {
        guard let pipe = detach() else {
            fail("cannot start a process in the background", code: 1, report: nil)
        }
        report = pipe
    }
    do {
        let processors = Int(sysconf(Int32(_SC_NPROCESSORS_ONLN)))
        if options.device == nil {
            try FuseMount.checkMountPoint(options)
            EndSignals.prepare(options.mountPoint)
        }
        let union = try Assembly.union(options)
        let connection: (device: CInt, isDetached: Bool)
        if let device = options.device {
            connection = (device, false)
        } else {
            connection = try FuseMount.connect(options)
        }
        let device = connection.device
        union.device = device
        union.passesThrough = options.passesThrough
        union.isVolatile = options.isVolatile
        union.countsAccesses = options.attributes.contains(.strictAccessTime)
        union.refusesDirectoryRename = options.refusesDirectoryRename
        union.owners = options.owners
        var server = try Server(union, device: device, options)
        if connection.isDetached { try FuseMount.attach(device, options) }
        EndSignals.noteMount()
        server.makeClones(helpers: (options.threads ?? min(4, processors + 1)) - 1)
        umask(0)
        signal(SIGPIPE, SIG_IGN)
        chdir("/")
        func sayReady() {
            guard let ready = report else { return }
            try? Files.writeAll([0], to: ready)
            leave(ready, options)
            report = nil
        }
        guard options.restarts, let life = Life(options) else {
            EndSignals.handle()
            sayReady()
            server.run()
        }
        union.life = life.shared
        let heritage = try Keeper.startServers(life.shared, sayReady)
        if let inherited = report { leave(inherited, options) }
        report = nil
        union.journal = life.journal()
        if !heritage.isFirst { try server.takeOver(heritage.held) }
        server.run()
    } catch let refusal as Refusal {
        fail(refusal.message, code: 1, report: report)
    } catch {
        fail("\(error)", code: 1, report: report)
    }
}

/// Has nothing more to say to whoever started us.
func leave(_ report: CInt, _ options: Options) {
    close(report)
    guard options.device == nil else { return }
    guard let null = try? Files.open("/dev/null", O_RDWR) else { return }
    for fd in 0...2 as ClosedRange<CInt> { dup2(null.raw, fd) }
}

do throws(Options.Wrong) {
    let arguments = try (1..<max(1, Int(CommandLine.argc))).map { index throws(Options.Wrong) in
        guard let word = CommandLine.unsafeArgv[index], let argument = String(validatingCString: word) else {
            throw Options.Wrong("argument \(index) is not UTF-8: give its directories other names, or links")
        }
        return argument
    }
    let options = try Options(arguments)
    if options.wantsHelp {
        print(Options.usage)
    } else if options.wantsVersion {
        print("strata-unionfs 0.1, libfuse \(String(cString: fuse_pkgversion()))")
    } else {
        serve(options)
    }
} catch {
    fail("\(error.message); see strata-unionfs -h", code: 2, report: nil)
}
