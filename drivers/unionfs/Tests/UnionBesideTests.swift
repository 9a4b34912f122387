// SPDX-License-Identifier: Apache-2.0

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
}
