// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestGates
import Testing

/// A server that is killed is followed by another one, and programs go on.
@Suite(
    .requires(
        .root,
        .path("/dev/fuse"),
        .path("/proc/1/task/1/children"),
        .program("strace"),
        .program("flock"),
        .program("python3")
    )
)
struct UnionLifeTests {
    /// The server of the mount whose first process is `$keeper`; functions of scripts.
    static let server = """
        start() {
            "$PROGRAM" -f -o "lowerdir=lower,upperdir=upper,workdir=work,allow_other${1:+,$1}" mnt & keeper=$!
            trap 'umount -l mnt 2>/dev/null || true' EXIT
            await mountpoint -q mnt
        }
        is_new() {
            server=
            { read -r server _ < /proc/$keeper/task/$keeper/children; } 2>/dev/null || true  # no line end is there
            [ -n "$server" ] && [ "$server" != "${old:-}" ]
        }
        # The server that is there now, and is not $old.
        server() { await is_new; }
        stop() { umount mnt; wait $keeper || fail "the keeper ended with $?"; }

        """

    @Test(arguments: ["", "norestart"]) func goesWithTheProcessThatAUserEnds(_ option: String) throws {
        try Union().run(
            Self.server + #"""
                ended() { wait $keeper && fail "$1 ended it with 0" || same $? $2 "exit code after $1"; }
                echo text > lower/file
                for number in 15 2 1; do
                    start \#(option)
                    echo more >> mnt/file
                    kill -$number $keeper
                    ended $number $((128 + number))
                    if mountpoint -q mnt; then fail "signal $number left the mount"; fi
                    flock -w 240 work/lock true
                done
                same "$(wc -l < upper/file)" 4 "lines that were written"
                # What somebody else has mounted there since is not this one's.
                start \#(option)
                mount -t tmpfs above mnt
                kill -15 $keeper
                ended 15 143
                findmnt -n -o SOURCE mnt | grep -qx above || fail "the mount above is gone"
                """#
        )
    }

    /// Kills the server at each of its system calls on files, one after the other, in each of some operations.
    @Test(
        .requires(resending),
        arguments: [
            ("chmod 600 mnt/file", "cat mnt/file mnt/hard; stat -c %a mnt/file mnt/hard"),
            ("mv mnt/d mnt/moved", "cat mnt/d/below mnt/moved/below; ls mnt/d mnt/moved"),
            ("ln mnt/hard mnt/third && rm mnt/file", "ls mnt; stat -c %h mnt/hard"),
            (exchange, "ls -R mnt; cat mnt/file"),
            ("rm mnt/file && rm -r mnt/d mnt/empty && mkdir mnt/empty", "ls -R mnt; stat -c %h mnt/hard"),
            (removeOpen, "ls -R mnt"),
            (nameLater, "ls mnt/d; cat mnt/d/named; stat -c %h mnt/d/named"),
        ]
    )
    func goesOnAfterEachCall(_ operation: String, _ look: String) throws {
        let step = getenv("STRATA_TEST_FULL") != nil ? 1 : 6
        try Union().run(
            """
            \(Self.server)
            calls=openat,linkat,renameat2,unlinkat,mkdirat,mknodat,symlinkat,fchownat,fchmodat,utimensat,write,writev,pwrite64,copy_file_range,setxattr,fsetxattr,ftruncate,ioctl,sendmsg
            mkdir lower/d lower/e lower/empty; echo text > lower/file; ln lower/file lower/hard; echo below > lower/d/below
            echo e > lower/e/e; ln -s file lower/symlink; cp -a lower pristine
            change() { \(operation); }
            look() { (\(look)) 2>&1 | grep -v 'stat of' || true; }
            "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt
            look > old; ls -l mnt > /dev/null; change; look > new; unmount
            # What a new mount shows: it does not know of names that were taken from a file of a layer below.
            "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt; look > later; unmount
            cmp -s old new && fail "nothing changes"
            n=1 done=0
            while [ $done = 0 ]; do
                rm -rf upper work; mkdir upper work
                start threads=1,wait=sleep; old=; server; old=$server
                ls -lR mnt > /dev/null; look > /dev/null
                trace $old -o /dev/null -e trace=$calls -e inject=$calls:signal=KILL:when=$n
                change > log 2>&1 || fail "killed at call $n: $(cat log)"
                look > now; cmp now new || fail "killed at call $n: $(cat now; find upper)"
                kill -0 $old 2>/dev/null && done=1
                untrace
                stop
                "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt
                look > now; unmount
                cmp now later || fail "killed at call $n, after remount: $(cat now; find upper)"
                [ -z "$(find work/stage -mindepth 1)" ] || fail "left in the work directory"
                diff -r lower pristine || fail "the layer below changed"
                n=$((n + \(step)))
                [ $n -lt 600 ] || fail "no end"
            done
            [ $n -gt 2 ] || fail "nothing was killed"
            """
        )
    }

    /// Several programs at once, and a server that is killed again and again: no error, and the tree as it should be.
    @Test(.requires(resending)) func goesOnUnderLoad() throws {
        let kills = getenv("STRATA_TEST_FULL") != nil ? 1000 : 30
        try Union().run(
            """
            \(Self.server)
            head -c 3000000 /dev/urandom > lower/large
            for d in 0 1 2; do mkdir -p lower/shared$d/sub; for f in $(seq 40); do echo "lower $f" > lower/shared$d/f$f; done; done
            cp -a lower pristine
            cat > load.py <<'END'
            \(Self.load)
            END
            start
            for worker in 0 1 2; do python3 load.py $worker & echo $! >> workers; done
            for n in $(seq \(kills)); do
                server; old=$server; sleep 0.0$((RANDOM % 10)); kill -9 $old
            done
            touch enough
            for worker in $(cat workers); do wait $worker || fail "a worker ended with $?"; done
            (cd mnt && find . -type f ! -name large -printf '%p %s %n\\n' | sort) > seen
            (cd mnt && find . -type f ! -name large -exec md5sum {} + | sort -k 2) > sums
            cmp mnt/large lower/large
            stop
            "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt
            (cd mnt && find . -type f ! -name large -printf '%p %s %n\\n' | sort) | diff seen - || fail "after remount"
            (cd mnt && find . -type f ! -name large -exec md5sum {} + | sort -k 2) | diff sums - || fail "after remount"
            sort expected.* | diff - <(cd mnt && find . -type f ! -name large -printf '%p\\n' | sort) || fail "the tree"
            unmount
            [ -z "$(find work/stage -mindepth 1)" ] || fail "left in the work directory"
            diff -r lower pristine || fail "the layer below changed"
            """,
            limit: kills
        )
    }

    /// What one program does, in a directory of its own and one of a layer below, until the file `enough` is there; then
    /// it says which names should be left.
    static let load = """
        import mmap, os, random, sys
        number = int(sys.argv[1])
        rng = random.Random(number)
        home, shared = f"mnt/own{number}", f"mnt/shared{number}"
        os.mkdir(home)
        files = {}
        lowers = {f"{shared}/f{n}": f"lower {n}\\n".encode() for n in range(1, 41)}
        files.update(lowers)
        large = open("lower/large", "rb").read()
        reader = open("mnt/large", "rb")
        mapped = mmap.mmap(reader.fileno(), 0, prot=mmap.PROT_READ)
        orphans, kept, serial = [], {}, 0
        def check(path):
            with open(path, "rb") as f: data = f.read()
            assert data == files[path], f"{path}: {data[:40]} of {len(data)}, not {files[path][:40]} of {len(files[path])}"
        def fresh():
            global serial
            serial += 1
            return f"{rng.choice((home, shared, shared + '/sub'))}/n{serial}"
        while not os.path.exists("enough") or serial < 200:
            what = rng.randrange(14)
            path = rng.choice(sorted(files)) if files else None
            if what < 3 or path is None:
                path, data = fresh(), rng.randbytes(rng.choice((0, 10, 5000, 200000)))
                with open(path, "xb") as f: f.write(data)
                files[path] = data
            elif what == 3:
                new = fresh(); os.rename(path, new); files[new] = files.pop(path)
                assert not os.path.lexists(path)
            elif what == 4:
                new = rng.choice(sorted(files)); os.rename(path, new)
                if new != path: files[new] = files.pop(path)
            elif what == 5:
                os.unlink(path); del files[path]
                assert not os.path.lexists(path)
            elif what == 6:
                with open(path, "ab") as f: f.write(b"more")
                files[path] += b"more"
            elif what == 7:
                new = fresh(); os.link(path, new)
                assert os.stat(new).st_ino == os.stat(path).st_ino
                os.unlink(new)
            elif what == 8:
                f = open(path, "r+b"); data = files.pop(path); os.unlink(path)
                orphans.append((f, data))
                if len(orphans) > 5:
                    f, data = orphans.pop(rng.randrange(6))
                    f.seek(0, 2); f.write(b"end"); f.flush()
                    assert os.fstat(f.fileno()).st_nlink == 0
                    f.seek(0); assert f.read() == data + b"end", "an unlinked file"
                    f.close()
            elif what == 9:
                offset = rng.randrange(len(large) - 100)
                assert mapped[offset:offset + 100] == large[offset:offset + 100], "a mapping"
                os.pread(reader.fileno(), 100, offset) == large[offset:offset + 100]
            elif what == 10:
                new = fresh(); os.mkdir(new); os.symlink("to", new + "/s")
                assert os.readlink(new + "/s") == "to" and os.listdir(new) == ["s"]
                os.unlink(new + "/s"); os.rmdir(new)
            elif what == 11:
                os.chmod(path, 0o640); assert os.stat(path).st_mode & 0o777 == 0o640
                os.setxattr(path, "user.name", b"value"); assert os.getxattr(path, "user.name") == b"value"
            elif what == 12:
                fd = os.open(home, os.O_RDWR | os.O_TMPFILE); os.write(fd, b"unnamed")
                assert os.pread(fd, 10, 0) == b"unnamed"
                if rng.random() < 0.5:
                    new = fresh(); os.link(f"/proc/self/fd/{fd}", new, src_dir_fd=fd, follow_symlinks=True); files[new] = b"unnamed"
                os.close(fd)
            else:
                for directory in (home, shared, shared + "/sub"):
                    here = {name for name in os.listdir(directory) if name != "sub"}
                    should = {os.path.basename(p) for p in files if os.path.dirname(p) == directory}
                    assert here == should, f"{directory}: {here ^ should}"
            if files: check(rng.choice(sorted(files)))
        for path in files: check(path)
        with open(f"expected.{number}", "w") as f:
            for path in files: f.write("." + path[3:] + "\\n")
        """

    /// Where the kernel hands nothing out again, requests in flight fail, and the rest goes on.
    @Test func losesRequestsInFlightAlone() throws { try Union().run(Self.losing("noresend")) }

    private static func losing(_ option: String) -> String {
        """
        \(server)
        mkdir lower/d; echo below > lower/d/file; head -c 1000000 /dev/urandom > lower/large
        start \(option)
        exec 5< mnt/large; exec 6> mnt/written; echo before >&6; exec 7<> mnt/gone; echo gone >&7; rm mnt/gone
        for n in 1 2 3 4 5; do
            # Until it is gone, it may still take a request.
            server; old=$server; kill -9 $old; server
            same "$(cat mnt/d/file)" below "a file"; echo $n > mnt/new$n; mv mnt/new$n mnt/moved$n
            same "$(cat mnt/moved$n)" $n "a new file"; echo $n >&6
        done
        same "$(cat mnt/written | tr '\\n' ' ')" "before 1 2 3 4 5 " "what was written"
        cmp - mnt/large <&5; same "$(cat /proc/self/fd/7)" gone "the file without a name"
        exec 5<&- 6>&- 7>&-
        # A request that the server holds when it dies: it stands still in it, and is killed.
        server; old=$server
        trace $old -o /dev/null -e trace=mkdirat -e inject=mkdirat:delay_enter=240000000
        mkdir mnt/made 2> err & maker=$!
        # By the numbers of mkdirat on the processors there are.
        await grep -Eqs '^(258|34) ' /proc/$old/task/*/syscall
        kill -9 $old; untrace
        if wait $maker; then fail "the request in flight did not fail"; fi
        [ ! -e mnt/made ] || fail "made is there"
        mkdir mnt/made; same "$(ls mnt | wc -w)" 9 names
        stop
        """
    }

    /// Gives a file that was made without a name one while it is open.
    private static let nameLater = """
        python3 -c 'import os; fd = os.open("mnt/d", os.O_RDWR | os.O_TMPFILE, 0o644); os.write(fd, b"unnamed"); os.link(f"/proc/self/fd/{fd}", "mnt/d/named", src_dir_fd=fd, follow_symlinks=True); os.write(fd, b"more")'
        """

    /// Removes a file and goes on with it.
    private static let removeOpen = """
        python3 -c 'import os; f = open("mnt/d/below", "r+b", 0); f.seek(6); os.unlink("mnt/d/below"); f.write(b"more"); assert os.fstat(f.fileno()).st_nlink == 0; assert open(f"/proc/self/fd/{f.fileno()}").read() == "below" + chr(10) + "more"'
        """

    private static let exchange = """
        python3 -c 'import ctypes, os; c = ctypes.CDLL(None, use_errno=True); assert c.renameat2(-100, b"mnt/file", -100, b"mnt/d", 2) == 0, os.strerror(ctypes.get_errno())'
        """
}

/// A kernel that hands out again what a dead server had.
private let resending = Need.linux(6, 9, for: "requests handed out again")
