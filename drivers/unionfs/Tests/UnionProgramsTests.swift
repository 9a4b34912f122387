// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// Many programs on the file system at once.
@Suite(.requires(.root, .path("/dev/fuse"), .deviceNodes, .program("flock"), .program("unshare")))
struct UnionProgramsTests {
    /// One thread, the helpers that a crowd calls, and the ways to wait for a request.
    @Test(arguments: ["threads=1", "threads=4", "wait=look", "wait=beside"])
    func servesManyProgramsAtOnce(_ options: String) throws {
        try Union().run(
            """
            for i in $(seq 50); do echo $i > lower/f$i; done; union \(options)
            cat > work.py <<'END'
            import os, sys
            me = sys.argv[1]
            os.mkdir(f"mnt/{me}")
            for i in range(300):
                name = f"mnt/{me}/n{i}"
                with open(name, "w") as out: out.write(f"{me} {i}")
                os.rename(name, f"mnt/{me}/r{i}")
                with open(f"mnt/{me}/r{i}") as file: assert file.read() == f"{me} {i}"
                number = i % 50 + 1
                with open(f"mnt/f{number}", "a") as out: out.write(f"{me}\\n")
                with open(f"mnt/f{number}") as file: assert file.readline() == f"{number}\\n"
                if i % 3: os.unlink(f"mnt/{me}/r{i}")
            END
            pids=; for me in a b c d; do python3 work.py $me & pids="$pids $!"; done
            for pid in $pids; do wait $pid || fail "a program failed"; done
            unmount; same "$(ls upper/[abcd] | grep -c '^r')" 400 "files that stay"
            same "$(cat upper/f* | wc -l)" 1250 "lines that were appended"
            """
        )
    }
}
