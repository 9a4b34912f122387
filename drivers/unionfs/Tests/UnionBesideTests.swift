// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestGates
import Testing

/// A server that goes to the processor of the program that asks.
@Suite(
    .requires(
        .root,
        .path("/dev/fuse"),
        .path("/proc/1/task/1/children"),
        .program("flock"),
        .program("python3")
    )
)
struct UnionBesideTests {
    /// Killed at any time, among others that want the processors, it holds nobody up; and in the end is where it was.
    @Test func holdsNobodyUp() throws {
        try Union().run(
            """
            \(UnionLifeTests.server)
            head -c 300000 /dev/urandom > lower/large
            mkdir -p lower/shared0/sub; for f in $(seq 40); do echo "lower $f" > lower/shared0/f$f; done
            cat > load.py <<'END'
            \(UnionLifeTests.load)
            END
            start wait=beside
            python3 load.py 0 & worker=$!
            for n in $(seq 8); do server; old=$server; sleep 0.$((RANDOM % 10)); kill -9 $old; done
            burners=
            trap 'kill $burners 2>/dev/null || true; umount -l mnt 2>/dev/null || true' EXIT
            for n in $(seq $(nproc)); do timeout 600 sh -c 'while :; do :; done' & burners="$burners $!"; done
            for n in $(seq 3000); do [ ! -e mnt/none$n ] || fail "none$n is there"; done
            kill $burners 2>/dev/null || true
            touch enough
            wait $worker || fail "the worker ended with $?"
            server
            is_ordinary() {
                [ "$(cut -d ')' -f 2- /proc/$server/stat | cut -d ' ' -f 40)" = 0 ] &&
                    [ "$(grep Cpus_allowed: /proc/$server/status)" = "$(grep Cpus_allowed: /proc/self/status)" ]
            }
            await is_ordinary
            trap 'umount -l mnt 2>/dev/null || true' EXIT
            stop
            """
        )
    }

    /// Programs that are killed amid their requests, that map files of the union, and that start others: neither they nor the
    /// server wait for ever.
    @Test func outlivesItsCallers() throws {
        let seconds = getenv("STRATA_TEST_FULL") != nil ? 200 : 10
        try Union().run(
            """
            \(UnionLifeTests.server)
            mkdir lower/d; for f in $(seq 20); do echo "lower $f" > lower/d/f$f; done; cp "$(type -P true)" lower/program
            cat > callers.py <<'END'
            \(Self.callers)
            END
            start wait=beside
            python3 callers.py \(seconds) & callers=$!
            # Who hangs is freed by the end of the connection.
            trap '{ umount -f mnt || umount -l mnt || true; } 2>/dev/null' EXIT
            is_over() { ! kill -0 $callers 2>/dev/null; }
            await is_over
            wait $callers || fail "the callers ended with $?"
            same "$(cat mnt/d/f1)" "lower 1" "a file"
            stop
            """
        )
    }

    /// Starts, and kills, one program after the other.
    private static let callers = """
        import mmap, os, random, signal, sys, time
        end, serial, rng = time.monotonic() + int(sys.argv[1]), 0, random.Random(1)
        def ask(number):
            for n in range(1000000):
                new = f"mnt/n{number}.{n % 7}"
                with open(new, "w+b", 0) as f:
                    f.write(b"x" * 5000)
                    mapped = mmap.mmap(f.fileno(), 5000)
                    mapped[n % 5000] = 65
                    # The program that is started closes the file, which asks, while it holds locks of its process.
                    if n % 3 == 2: os.waitpid(os.posix_spawn("mnt/program", ["program"], {}), 0)
                for f in range(1, 21):
                    with open(f"mnt/d/f{f}") as file: file.read()
                    os.path.exists(f"mnt/none{n}.{f}")
                os.rename(new, f"mnt/r{number}"); os.unlink(f"mnt/r{number}")
        while time.monotonic() < end:
            serial += 1
            child = os.fork()
            if child == 0:
                ask(serial)
                os._exit(1)
            time.sleep(rng.random() / 50)
            os.kill(child, signal.SIGKILL)
            status = os.waitpid(child, 0)[1]
            assert os.WIFSIGNALED(status), f"a caller failed: {status}"
            for name in os.listdir("mnt"):
                if name[0] in "nr": os.unlink(f"mnt/{name}")
        print(serial, "killed")
        """
}
