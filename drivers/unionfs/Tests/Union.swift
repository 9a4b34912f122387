// SPDX-License-Identifier: Apache-2.0

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
        exec 19> .commands; BASH_XTRACEFD=19; set -x
        fail() { echo "FAILED: $*" >&2; exit 1; }
        same() { [ "$1" = "$2" ] || fail "$3: '$1', not '$2'"; }
        refused() { if "$@" 2>err; then fail "$* worked"; fi; }
        union() { "$PROGRAM" -o "lowerdir=lower,upperdir=upper,workdir=work,allow_other${1:+,$1}" mnt; }
        unmount() { umount mnt; flock -w 240 work/lock true; }
        # Waits until a command succeeds.
        await() {
            local end=$((SECONDS + 240))
            until "$@"; do
                [ $SECONDS -lt $end ] || fail "waited in vain for: $*"
                kill -0 ${keeper:-$$} 2>/dev/null || fail "the keeper ended while waiting for: $*"
                sleep 0.002
            done
        }
        # Mounts a file: somebody else may be trying to take the same loop device.
        mount_file() { mount -o loop $1 $2 2>err; }
        # Traces a process with the options that follow; then strace holds all its threads, or it is gone.
        trace() {
            rm -f attached
            strace -f "${@:2}" -p $1 2> attached & tracer=$!
            await grep -qs attach attached
        }
        # A strace that is asked to end waits for the first thread of what it traced, and that one, if it was killed, for
        # the others, which wait for strace.
        untrace() { kill -9 $tracer 2>/dev/null || true; wait $tracer 2>/dev/null || true; }

        """

    /// Runs the script as root in its own mount namespace, for at most `limit` seconds (900 and more); what it printed.
    @discardableResult
    func run(
        _ script: String,
        limit: Int = 900,
        _ location: SourceLocation = #_sourceLocation
    ) throws -> String {
        let words = [
            "timeout", "-k", "10", "\(max(900, limit))", "unshare", "-m", "--propagation", "private", "bash",
            "-c", "exec 2>&1\n" + Self.prelude + script, "union", directory.path.string,
        ]
        let program = "PROGRAM=\(try InstalledProgram.find("strata-unionfs"))"
        let outcome = try Program.run(words, environment: [program], limit: max(900, limit) + 30)
        let output = outcome.text + outcome.errorText
        if outcome.code != 0 {
            let done =
                (try? Files.contents(directory.path.appending(".commands"), limit: 256 << 20)) ?? []
            let last = String(decoding: done, as: UTF8.self).split(separator: "\n").suffix(5)
            Issue.record(
                "exit code \(outcome.code): \(output)\nlast: \(last.joined(separator: "\n"))",
                sourceLocation: location
            )
        }
        return output
    }
}
