// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// A fresh directory in which scripts make layers and mount them, in a mount namespace that ends with the script.
///
/// Scripts start in the directory, which has `lower`, `upper`, `work` and `mnt`; `union` mounts them, with more options
/// as arguments, and `unmount` waits for the server's end. The first command that fails ends the script.
struct Union {
    let directory: TemporaryDirectory

    init() throws {
        directory = try TemporaryDirectory()
        for name in ["lower", "upper", "work", "mnt"] {
            try Files.makeDirectory(name, below: directory.fd, mode: 0o755)
        }
    }

    private static let prelude = """
        set -eu
        cd "$1"
        fail() { echo "FAILED: $*" >&2; exit 1; }
        same() { [ "$1" = "$2" ] || fail "$3: '$1', not '$2'"; }
        refused() { if "$@" 2>err; then fail "$* worked"; fi; }
        union() { "$PROGRAM" -o "lowerdir=lower,upperdir=upper,workdir=work,allow_other${1:+,$1}" mnt; }
        unmount() { umount mnt; flock -w 60 work/lock true; }

        """

    /// Runs the script as root in its own mount namespace, for at most `limit` seconds (300 and more); what it printed.
    @discardableResult
    func run(
        _ script: String,
        limit: Int = 300,
        _ location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let outcome = try directory.path.withPlatformString { path in
            try Self.shell(Self.prelude + script, String(cString: path), limit)
        }
        if outcome.code != 0 {
            Issue.record("exit code \(outcome.code): \(outcome.output)", sourceLocation: location)
        }
        return outcome.output
    }

    private static func shell(
        _ script: String,
        _ path: String,
        _ limit: Int
    ) throws -> (code: Int32, output: String) {
        let output = try OwnedFD(
            adopting: system("open") { open("/tmp", unnamed | O_RDWR | O_CLOEXEC, 0o600) }
        )
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output.raw, 1)
        posix_spawn_file_actions_adddup2(&actions, output.raw, 2)
        // The threads of tests block most signals, and a program that inherited that could not be ended by any of them.
        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setflags(&attributes, Int16(POSIX_SPAWN_SETSIGMASK))
        let words = [
            "timeout", "-k", "10", "\(max(300, limit))", "unshare", "-m", "--propagation", "private", "bash",
            "-c", script, "union", path,
        ]
        var arguments: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        let program = "PROGRAM=\(try InstalledProgram.find("strata-unionfs"))"
        var environment: [UnsafeMutablePointer<CChar>?] = [
            strdup("PATH=/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"), strdup(program), nil,
        ]
        defer { for word in arguments + environment { free(word) } }
        var pid: pid_t = 0
        let code = posix_spawnp(&pid, "timeout", &actions, &attributes, &arguments, &environment)
        if code != 0 { throw SystemError("start timeout", nil, Errno(rawValue: code)) }
        var status: CInt = 0
        try system("waitpid") { waitpid(pid, &status, 0) }
        try system("lseek") { lseek(output.raw, 0, SEEK_SET) }
        let text = String(decoding: try Files.contents(of: output.raw, limit: 16 << 20), as: UTF8.self)
        return (status & 0x7F == 0 ? (status >> 8) & 0xFF : 128 + status & 0x7F, text)
    }

    /// O_TMPFILE, which Glibc hides.
    private static let unnamed: CInt = 0o20_200_000
}
