// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// The file system by its mount helper, as any program meets it.
@Suite(.requires(.root, .path("/dev/fuse"), .deviceNodes, .program("flock"), .program("unshare")))
struct UnionTests {
    @Test(arguments: [
        ("", "no mount point"), ("mnt", "no lowerdir"), ("-o lowerdir=none mnt", "lowerdir none"),
        ("-o lowerdir=lower none", "mount point none"), ("-o lowerdir=lower,upperdir=upper mnt", "workdir"),
        ("-o lowerdir=lower:lower mnt", "the same directory"),
        ("-o lowerdir=lower,upperdir=lower,workdir=work mnt", "the same directory"),
        ("-o lowerdir=lower,upperdir=lower/in,workdir=work mnt", "lies in"),
        ("-o lowerdir=lower,upperdir=upper,workdir=upper mnt", "separate"),
        ("-o lowerdir=lower,upperdir=upper,workdir=upper/in mnt", "separate"),
        ("-o lowerdir=lower,upperdir=upper,workdir=/dev/shm mnt", "another file system"),
        ("-o lowerdir=lower,upperdir=upper,workdir=lower/in mnt", "lies in lowerdir lower"),
        ("-o lowerdir=work:lower,upperdir=upper,workdir=work mnt", "lies in lowerdir work"),
        ("-o lowerdir=lower loop", "Too many levels of symbolic links"),
        ("-o lowerdir=loop mnt", "lowerdir loop"), ("-o lowerdir=lower::upper mnt", "is empty"),
        ("-o lowerdir=file mnt", "lowerdir file"), ("-o lowerdir=lower file", "not a directory"),
        ("-o lowerdir=lower,upperdir=upper,workdir=work none", "mount point none"),
        ("-o lowerdir=lower,threads=x mnt", "threads"), ("-x mnt", "unknown option"),
        ("-o lowerdir=lower,uidmapping=0:1 mnt", "uidmapping"), ("$'-olowerdir=\\xff' mnt", "not UTF-8"),
        ("-o lowerdir=lower,gidmapping=0:4294967295:1 mnt", "gidmapping"),
        ("-o lowerdir=lower,squash_to_uid=-1 mnt", "squash_to_uid"),
        ("-o lowerdir=lower:lower/in mnt", "lies in"),
    ])
    func refusesWithOneLine(_ arguments: String, _ words: String) throws {
        try Union().run(
            """
            mkdir lower/in upper/in; ln -s loop loop; touch file
            before=$(find . | sort)
            code=0; "$PROGRAM" \(arguments) >out 2>&1 || code=$?
            [ $code != 0 ] || fail "it worked"
            same "$(wc -l < out)" 1 "lines of $(cat out)"
            grep -q -- '\(words)' out || fail "it says: $(cat out)"
            rm out; same "$(find . | sort)" "$before" "what is there"
            """
        )
    }

    @Test func mountsAsAsked() throws {
        try Union().run(
            """
            echo lower > lower/file; mkdir 'a:b' 'c,d'; echo colon > 'a:b/colon'; echo comma > 'c,d/comma'
            "$PROGRAM" -o 'lowerdir=a\\:b:c\\,d:lower,suid,user,_netdev,auto,fsname=name' mnt
            same "$(awk '$1 == "name" && $3 == "fuse" && $4 ~ /^ro,/' /proc/mounts | wc -l)" 1 "the mount"
            same "$(ls mnt | tr '\\n' ' ')" 'colon comma file ' names
            refused touch mnt/new; grep -q 'Read-only' err || fail "$(cat err)"
            umount mnt
            mount -t tmpfs none /usr/local/sbin; ln -s "$PROGRAM" /usr/local/sbin/strata-unionfs
            mount -t fuse.strata-unionfs source mnt -o "lowerdir=$PWD/lower,upperdir=$PWD/upper,workdir=$PWD/work"
            same "$(awk '$1 == "source" && $3 == "fuse" && $4 ~ /^rw,/' /proc/mounts | wc -l)" 1 "by mount(8)"
            echo new > mnt/new; same "$(cat upper/new)" new "the upper"
            refused "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt; grep -q 'in use' err || fail "$(cat err)"
            unmount
            "$PROGRAM" -f -o lowerdir=lower mnt & pid=$!
            await mountpoint -q mnt
            umount mnt; wait $pid || fail "the one in front ended with $?"
            """
        )
    }

    /// Layers below keep theirs, and the upper as the options say.
    @Test func keepsAccessTimesAsAsked() throws {
        try Union().run(
            """
            accessed() { stat -c %x "$1"; }
            # Read again, when the clock of files has gone on.
            reads() { touch tick; while ! [ tick2 -nt tick ]; do touch tick2; done; cat "$1" > /dev/null; }
            old='2001-02-03 04:05:06.000000000 +0000'; export TZ=UTC
            mkdir lower/d; echo text > lower/d/file; touch -a -d "$old" lower/d/file lower/d
            echo text > upper/file; touch -a -d "$old" upper/file
            union noatime
            ls mnt/d > /dev/null; cat mnt/d/file mnt/file > /dev/null
            same "$(accessed mnt/file)" "$old" noatime; same "$(accessed upper/file)" "$old" "noatime below"
            echo new > mnt/new; mv mnt/new mnt/d/new; rm mnt/d/file; unmount
            union strictatime
            cat mnt/file > /dev/null; first=$(accessed mnt/file); [ "$first" != "$old" ] || fail "strictatime"
            reads mnt/file; [ "$(accessed mnt/file)" != "$first" ] || fail "strictatime, the second time"
            unmount
            same "$(accessed lower/d/file)" "$old" "a file of a layer below"
            same "$(accessed lower/d)" "$old" "a directory of a layer below"
            """
        )
    }

    @Test(.requires(.program("chattr"), .loopDevices)) func heedsFlagsOfFiles() throws {
        try Union().run(
            """
            truncate -s 16M disk; mkfs.ext4 -q disk; mkdir small; await mount_file disk small; mkdir small/upper small/work
            mkdir -p lower/d/sub; echo below > lower/d/sub/file
            "$PROGRAM" -o lowerdir=lower,upperdir=small/upper,workdir=small/work mnt
            echo one > mnt/log; echo one > mnt/d/sub/file; chattr +a mnt/log mnt/d
            echo two >> mnt/log; python3 -c 'import os; os.write(os.open("mnt/log", os.O_RDWR | os.O_APPEND), b"three")'
            same "$(tr '\\n' ' ' < mnt/log)" 'one two three' "what was appended"
            refused sh -c 'echo x > mnt/log'; refused rmdir mnt/d/sub; grep -q 'not permitted' err || fail "$(cat err)"
            chattr -a mnt/log mnt/d; refused rmdir mnt/d/sub; grep -q 'not empty' err || fail "$(cat err)"
            umount mnt; flock -w 240 small/work/lock true
            """
        )
    }

    @Test func keepsInodeNumbers() throws {
        try Union().run(
            """
            mkdir -p lower/d/e; for f in a d/b d/e/c; do echo x > lower/$f; done; ln lower/a lower/d/hard
            ln -s a lower/symlink; mkfifo lower/fifo
            numbers() { (cd mnt; find . -printf '%p %i\\n' | sort; ls -1iaU d | awk '{print $2, $1}' | sort) ; }
            union; numbers > before
            stat -c %d mnt mnt/d/e/c | sort -u | wc -l | grep -qx 1 || fail "several devices"
            for f in a d/b d/e/c; do echo y >> mnt/$f; done
            chown -h 1 mnt/symlink; chown 1 mnt/fifo mnt/d mnt/d/e
            numbers | diff before - || fail "after copy-up"
            unmount; union; numbers | diff before - || fail "after remount"
            mv mnt/d mnt/moved; mv mnt/moved mnt/d; mv mnt/a mnt/b; mv mnt/b mnt/a
            numbers | diff before - || fail "after renames"
            unmount; union; numbers | diff before - || fail "after renames and remount"
            find upper -name '.wh.*' -o -type f -o -type d -o -type l -o -type p | wc -l > /dev/null
            """
        )
    }

    @Test func keepsHardLinks() throws {
        try Union().run(
            """
            mkdir lower/d; echo x > lower/a; ln lower/a lower/b; ln lower/a lower/d/c; echo z > lower/alone
            union
            echo y >> mnt/b; same "$(cat mnt/a mnt/d/c | tr -d '\\n')" xyxy content
            same "$(stat -c %h mnt/a)" 3 "links"; same "$(stat -c %i mnt/a mnt/b mnt/d/c | sort -u | wc -l)" 1 inodes
            ln mnt/alone mnt/two; echo more >> mnt/two; same "$(tail -n 1 mnt/alone)" more "a new name"
            rm mnt/a; same "$(stat -c %h mnt/b)" 2 "links after unlink"
            unmount; union
            same "$(stat -c %i mnt/b mnt/d/c | sort -u | wc -l)" 1 "inodes after remount"; [ ! -e mnt/a ] || fail "a is back"
            """
        )
    }

    @Test func renamesDirectoriesOfLayersBelow() throws {
        try Union().run(
            """
            mkdir -p lower/d/e/f second/d/e; echo 1 > lower/d/one; echo 2 > second/d/e/two; echo 3 > lower/d/e/f/three
            echo hidden > lower/d/gone; mkdir lower/target; echo t > lower/target/t
            mount_union() { "$PROGRAM" -o lowerdir=second:lower,upperdir=upper,workdir=work mnt; }
            mount_union; rm mnt/d/gone; echo new > mnt/d/e/new
            (cd mnt/d; find . -type f | sort) > before
            mv mnt/d mnt/moved; [ ! -e mnt/d ] || fail "d is still there"
            (cd mnt/moved; find . -type f | sort) | diff before - || fail "content"
            rm mnt/target/t; python3 -c 'import os; os.rename("mnt/moved", "mnt/target")'
            (cd mnt/target; find . -type f | sort) | diff before - || fail "over an empty directory"
            mkdir mnt/d; same "$(ls mnt/d | wc -l)" 0 "a new d"
            unmount; mount_union
            (cd mnt/target; find . -type f | sort) | diff before - || fail "after remount"
            same "$(ls mnt/d | wc -l)" 0 "the new d after remount"
            python3 - <<'END'
            import ctypes, os
            libc = ctypes.CDLL(None, use_errno=True)
            def rename(a, b, flags):
                return 0 if libc.renameat2(-100, a.encode(), -100, b.encode(), flags) == 0 else ctypes.get_errno()
            os.mkdir("mnt/x"); open("mnt/x/in", "w").close(); open("mnt/file", "w").close()
            assert rename("mnt/x", "mnt/target", 1) == 17, "NOREPLACE"
            assert rename("mnt/target", "mnt/x", 2) == 0, "EXCHANGE"
            assert os.listdir("mnt/target") == ["in"] and "one" in os.listdir("mnt/x")
            assert rename("mnt/file", "mnt/x", 2) == 0 and os.path.isdir("mnt/file") and os.path.isfile("mnt/x")
            assert rename("mnt/x", "mnt/none", 2) == 2
            END
            [ -z "$(find work/stage -mindepth 1)" ] || fail "left in the work directory: $(find work/stage)"
            """
        )
    }

    @Test func keepsHiddenWhatWasReplaced() throws {
        try Union().run(
            """
            mkdir lower/d; for f in a b c d/a d/b; do echo lower > lower/$f; done
            union; echo new > mnt/new; echo other > mnt/other
            mv mnt/new mnt/a; mv mnt/b mnt/c; mv mnt/other mnt/d/a; mv mnt/d/b mnt/d/a
            same "$(cat mnt/a mnt/c mnt/d/a | tr '\\n' ' ')" 'new lower lower ' content
            rm mnt/a mnt/c mnt/d/a; same "$(find mnt -type f)" '' "what is left"
            unmount; union; same "$(find mnt -type f)" '' "what is left after remount"
            same "$(cd upper; find . -type f | sort | tr '\\n' ' ')" './.wh.a ./.wh.b ./.wh.c ./d/.wh.a ./d/.wh.b ' "the upper"
            echo again > mnt/a; mkdir mnt/b; same "$(ls -A mnt/b)" '' b; rmdir mnt/b
            rm mnt/a; [ ! -e mnt/a ] && [ ! -e mnt/b ] || fail "something is back"
            """
        )
    }

    @Test func refusesNamesOfMarks() throws {
        try Union().run(
            """
            echo x > lower/file; echo hidden > lower/gone; touch lower/.wh.gone 'lower/.wh..wh.plnk'; mkdir lower/.wh.d lower/d
            union
            for op in 'touch mnt/.wh.x' 'mkdir mnt/.wh.x' 'ln -s x mnt/.wh.x' 'ln mnt/file mnt/.wh.x' 'mv mnt/file mnt/.wh.x'; do
                refused $op; grep -q 'not permitted' err || fail "$op: $(cat err)"
            done
            same "$(ls -A mnt | tr '\\n' ' ')" 'd file gone ' names
            refused cat mnt/.wh.gone; grep -q 'No such file' err || fail "$(cat err)"
            rm -r mnt/d mnt/file mnt/gone; same "$(ls -A mnt)" '' "what is left"
            same "$(ls -A upper | tr '\\n' ' ')" '.wh.d .wh.file .wh.gone ' "the upper"
            """
        )
    }

    @Test func keepsRemovedFilesOpen() throws {
        try Union().run(
            """
            echo lower > lower/below; echo upper > upper/above; union
            python3 - <<'END'
            import ctypes, os
            for name in ("mnt/below", "mnt/above"):
                fd, path = os.open(name, os.O_RDWR if "above" in name else os.O_RDONLY), os.open(name, os.O_PATH)
                text = os.read(fd, 10); os.unlink(name)
                assert os.fstat(fd).st_nlink == 0 and os.fstat(path).st_nlink == 0, os.fstat(fd)
                assert os.pread(fd, 10, 0) == text and not os.path.exists(name)
            fd = os.open("mnt", os.O_TMPFILE | os.O_RDWR, 0o640)
            os.write(fd, b"unnamed")
            assert os.fstat(fd).st_nlink == 0
            assert ctypes.CDLL(None).linkat(-100, b"/proc/self/fd/%d" % fd, -100, b"mnt/named", 0x400) == 0
            assert open("mnt/named").read() == "unnamed" and os.stat("mnt/named").st_nlink == 1
            reader = os.open("mnt/named", os.O_RDONLY); writer = os.open("mnt/named", os.O_WRONLY | os.O_APPEND)
            os.write(writer, b"+"); assert os.pread(reader, 20, 0) == b"unnamed+"
            os.chdir("mnt"); os.mkdir("d"); d = os.open("d", os.O_RDONLY); os.rmdir("d")
            assert os.listdir(d) == []
            try: os.open("x", os.O_CREAT | os.O_WRONLY, dir_fd=d); assert False
            except FileNotFoundError: pass
            END
            """
        )
    }

    @Test(.requires(.program("fusermount3")))
    func servesAnOrdinaryUser() throws {
        try Union().run(
            """
            chmod 711 . ; mkdir lower/d; echo text > lower/d/file; chown -R 65534:65534 lower upper work mnt
            mount -t tmpfs none /dev/shm; mknod -m 666 /dev/shm/fuse c 10 229; mount --bind /dev/shm/fuse /dev/fuse
            as() { setpriv --reuid 65534 --regid 65534 --clear-groups "$@"; }
            as "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt
            as sh -c 'echo more >> mnt/d/file; mv mnt/d mnt/e; rm mnt/e/file; echo new > mnt/e/new; cat mnt/e/new' > out
            same "$(cat out)" new "a new file"; same "$(cd upper; find . -type f | sort | tr '\\n' ' ')" './.wh.d ./e/.wh..wh..opq ./e/new ' upper
            as fusermount3 -u mnt
            """
        )
    }

    @Test func readsOverlayForm() throws {
        try Union().run(
            """
            mkdir -p lower/d lower/e over/d over/e; touch lower/gone lower/kept lower/d/old lower/e/old over/d/new over/e/new
            mknod over/gone c 0 0; setfattr -n trusted.overlay.opaque -v y over/d; setfattr -n user.overlay.opaque -v y over/e
            "$PROGRAM" -o lowerdir=over:lower,upperdir=upper,workdir=work mnt
            same "$(cd mnt; find . | sort | tr '\\n' ' ')" '. ./d ./d/new ./e ./e/new ./kept ' names
            same "$(getfattr -d -m - mnt/d mnt/e)" '' "attributes"
            touch mnt/d/more mnt/gone; getfattr -d -m - upper/d | grep -q overlay && fail "the mark came up"
            same "$(cd mnt; find . | sort | tr '\\n' ' ')" '. ./d ./d/more ./d/new ./e ./e/new ./gone ./kept ' "names later"
            umount mnt; flock -w 240 work/lock true; rm -r upper work; mkdir upper work
            "$PROGRAM" -o lowerdir=over:lower,upperdir=upper,workdir=work,layerform=aufs mnt
            [ -e mnt/d/old ] && [ -e mnt/e/old ] || fail "marks of overlays mean something where they should not"
            """
        )
    }

    @Test func copiesUpAllOfAFile() throws {
        try Union().run(
            """
            echo text > lower/file; chown 5:6 lower/file; chmod 4711 lower/file
            setfattr -n user.a -v b lower/file; setcap cap_net_raw+ep lower/file; setfacl -m u:7:rw lower/file
            truncate -s 100M lower/sparse; echo end >> lower/sparse; touch -d '2001-02-03 04:05:06.789' lower/*
            union; before=$(getfattr -d -m - mnt/file; stat -c '%u %g %a %Y %y %s' mnt/file)
            sum=$(md5sum < mnt/sparse)
            touch -a mnt/file mnt/sparse
            same "$(getfattr -d -m - mnt/file; stat -c '%u %g %a %Y %y %s' mnt/file)" "$before" "the file"
            same "$(md5sum < mnt/sparse)" "$sum" "content"
            [ "$(stat -c %b upper/sparse)" -lt 1000 ] || fail "holes were filled"
            chmod 4755 mnt/file; chown 0 mnt/file; chmod 4755 mnt/file
            chmod 6777 mnt/file; (cd mnt; setpriv --reuid 65534 --regid 65534 --clear-groups sh -c 'echo x >> file')
            same "$(stat -c %a mnt/file)" 777 "the mode after a stranger wrote"
            """
        )
    }

    @Test func dropsSetIDsOnWrite() throws {
        try Union().run(
            """
            echo lower > lower/below; chmod 6777 lower/below; union
            # On an open file that was given the bits since, on one that has them, on a new one; by root they stay.
            python3 - <<'END'
            import os
            os.umask(0)
            def write(file, mode, user, flags=os.O_WRONLY | os.O_CREAT):
                if (child := os.fork()) == 0:
                    fd = os.open(f"mnt/{file}", flags, 0o666 if mode is None else mode)
                    if mode is None: os.chmod(f"mnt/{file}", 0o6777)
                    os.setgroups([]); os.setgid(user); os.setuid(user)
                    os.write(fd, b"x")
                    os._exit(0)
                assert os.waitpid(child, 0)[1] == 0
                return oct(os.stat(f"mnt/{file}").st_mode & 0o7777)
            assert write("later", None, 65534) == "0o777", "given later"
            assert write("below", 0, 65534) == "0o777", "of a layer below"
            assert write("new", 0o6777, 65534) == "0o777", "new"
            assert write("root", 0o6777, 0) == "0o6777", "new, written by root"
            assert write("lateroot", None, 0) == "0o6777", "given later, written by root"
            os.chmod("mnt/below", 0o6777)
            assert write("below", 0, 0) == "0o6777", "of a layer below, written by root"
            END
            unmount; same "$(stat -c %a upper/later upper/new | sort -u)" 777 "on disk"
            """
        )
    }

    /// The kernel hands a mapping of a file that passes through to the layer's file system.
    @Test func timesShowWhatIsWrittenThroughAMapping() throws {
        try Union().run(
            """
            head -c 200000 /dev/zero > lower/old; touch -d 2001-01-01 lower/old; union
            python3 - <<'END'
            import mmap, os, time
            for name in "old", "new":
                fd = os.open(f"mnt/{name}", os.O_RDWR | os.O_CREAT, 0o644)
                os.ftruncate(fd, 200000)
                os.utime(fd, (1e9, 1e9))
                with mmap.mmap(fd, 200000) as mapping:
                    assert os.stat(f"mnt/{name}").st_mtime == os.fstat(fd).st_mtime == 1e9
                    mapping[5000] = 7
                    mapping.flush()
                    assert os.stat(f"mnt/{name}").st_mtime > 1.7e9, f"{name}: by name"
                    assert os.fstat(fd).st_mtime > 1.7e9, f"{name}: by descriptor"
                    os.close(fd)
                    os.utime(f"mnt/{name}", (1e9, 1e9))
                    mapping[100000] = 7
                    mapping.flush()
                    assert os.stat(f"mnt/{name}").st_mtime > 1.7e9, f"{name}: after the descriptor was closed"
            END
            unmount
            """
        )
    }

    /// As setattr_should_drop_sgid has it, for a file that its group may not run.
    @Test func aStrangersChangeDropsSetGID() throws {
        try Union().run(
            """
            chmod 755 .; umask 0
            for f in write trunc truncate fallocate chown member root; do echo x > lower/$f; chown 1000:5 lower/$f; chmod 2666 lower/$f; done
            union; cp -p mnt/write mnt/new
            as() { setpriv --reuid $1 --regid 1000 --groups $2 /usr/bin/python3 -c "import os; $3"; }
            check() { same "$(stat -c %a mnt/$1)" $2 "the mode after $1"; same "$(stat -c %a upper/$1)" $2 "on disk after $1"; }
            as 2000 6 'os.write(os.open("mnt/write", os.O_WRONLY), b"y")'; check write 666
            as 2000 6 'os.write(os.open("mnt/new", os.O_WRONLY), b"y")'; check new 666
            as 2000 6 'os.open("mnt/trunc", os.O_WRONLY | os.O_TRUNC)'; check trunc 666
            as 2000 6 'os.truncate("mnt/truncate", 0)'; check truncate 666
            as 2000 6 'os.posix_fallocate(os.open("mnt/fallocate", os.O_WRONLY), 0, 9000)'; check fallocate 666
            as 1000 6 'os.chown("mnt/chown", -1, 6)'; check chown 666
            as 2000 5 'os.write(os.open("mnt/member", os.O_WRONLY), b"y")'; check member 2666
            as 0 6 'os.write(os.open("mnt/root", os.O_WRONLY), b"y")'; check root 2666; unmount
            """
        )
    }

    @Test(.requires(.program("lsattr"))) func attributesOfFilesShowInTheTimes() throws {
        try Union().run(
            """
            touch lower/file; union; touch mnt/file; before=$(stat -c %z mnt/file); sleep 0.05; chattr +A mnt/file
            [ "$(stat -c %z mnt/file)" != "$before" ] || fail "the time of change is the old one"
            same "$(stat -c %z mnt/file)" "$(stat -c %z upper/file)" "the time of change"; unmount
            """
        )
    }

    @Test(.requires(.linux(6, 6, for: "STATX of FUSE"))) func tellsBirth() throws {
        try Union().run(
            """
            mkdir lower/d; echo a > lower/f; ln -s f lower/l; mknod lower/n b 259 70000; chmod 4751 lower/f; chown 7:8 lower/d
            touch -d 1960-05-05 lower/f; sleep 0.01; union
            of='%A %u %g %s %b %h %t %T %x %y %z %w'
            for name in d f l n; do same "$(stat -c "$of" mnt/$name)" "$(stat -c "$of" lower/$name)" $name; done
            echo b > mnt/new; mkdir mnt/made
            for name in new made; do same "$(stat -c "$of" mnt/$name)" "$(stat -c "$of" upper/$name)" $name; done
            # Kept by the kernel, beside what changes.
            chmod 600 mnt/new; same "$(stat -c "$of" mnt/new)" "$(stat -c "$of" upper/new)" changed
            """
        )
    }

    /// A handle that is stale once the kernel has forgotten the inode is worse than none.
    @Test func givesNoHandles() throws {
        try Union().run(
            """
            touch lower/file; union
            python3 - <<'END'
            import ctypes, os
            handle = ctypes.create_string_buffer(8 + 128); ctypes.c_uint.from_buffer(handle).value = 128
            mount = ctypes.c_int()
            result = ctypes.CDLL(None, use_errno=True).name_to_handle_at(-100, b"mnt/file", handle, ctypes.byref(mount), 0)
            assert result == -1 and ctypes.get_errno() == 95, (result, ctypes.get_errno())
            END
            unmount
            """
        )
    }

    @Test func devicesAreDevicesInAUFSForm() throws {
        try Union().run(
            """
            mkdir below; echo x > below/c; echo x > below/w; mknod lower/c c 0 0; touch lower/.wh.w
            "$PROGRAM" -o lowerdir=lower:below,layerform=aufs mnt
            same "$(ls mnt)" c "names"; same "$(stat -c %F mnt/c)" "character special file" "the kind"; umount mnt
            "$PROGRAM" -o lowerdir=lower:below mnt; same "$(ls mnt)" "" "names where overlay form is read"; umount mnt
            """
        )
    }

    @Test func noStrangerTakesSetIDBits() throws {
        try Union().run(
            """
            touch lower/file; chown 0:5 lower/file; chmod 6755 lower/file; chmod 755 .; union
            change() { setpriv --reuid $1 --regid 1000 --clear-groups /usr/bin/python3 -c 'import os; os.chown("mnt/file", -1, -1)'; }
            refused change 1000; grep -q 'not permitted' err || fail "$(cat err)"; same "$(stat -c %a mnt/file)" 6755 mode
            [ ! -e upper/file ] || fail "it came up"
            change 0; same "$(stat -c %a mnt/file)" 755 "mode by root"; unmount
            """
        )
    }

    /// As posix_acl_update_mode has it.
    @Test(.requires(.program("setfacl"))) func aListFromOutsideTheGroupDropsSetGID() throws {
        try Union().run(
            """
            chmod 755 .; mkdir lower/dir; touch lower/file lower/member lower/root
            chown 1000:5 lower/*; chmod 6755 lower/*; union
            list() { setpriv --reuid 1000 --regid 1000 --groups $1 setfacl -m u:7:r $2; }
            list 6 mnt/file; same "$(stat -c %a mnt/file)" 4755 "a file's mode"
            list 6 mnt/dir; same "$(stat -c %a mnt/dir)" 4755 "a directory's mode"
            list 5 mnt/member; same "$(stat -c %a mnt/member)" 6755 "the mode where the owner is in the group"
            setfacl -m u:7:r mnt/root; same "$(stat -c %a mnt/root)" 6755 "the mode by root"
            chmod g+s mnt/dir; setpriv --reuid 1000 --regid 1000 --groups 5 setfacl -m d:u:7:r mnt/dir
            same "$(stat -c %a mnt/dir)" 6755 "the mode with a default list"
            same "$(getfacl -cn mnt/file | grep user:7)" user:7:r-- "the list"; unmount
            same "$(stat -c %a upper/file)" 4755 "on disk"
            """
        )
    }

    @Test func showsManyLayersAndNames() throws {
        try Union().run(
            """
            mkdir layers; for i in $(seq 500); do mkdir -p layers/$i/d; echo $i > layers/$i/d/same; echo $i > layers/$i/d/f$i; done
            touch layers/250/d/.wh.f251 layers/300/d/.wh..wh..opq
            "$PROGRAM" -o "lowerdir=$(seq -s : -f layers/%g 500 -1 1),upperdir=upper,workdir=work" mnt
            same "$(cat mnt/d/same)" 500 "the top"; same "$(ls mnt/d | wc -l)" 202 names
            rm mnt/d/same mnt/d/f400; same "$(ls mnt/d | wc -l)" 200 "names after unlink"
            mkdir mnt/many; (cd mnt/many; seq 5000 | xargs touch); same "$(ls -U mnt/many | sort | uniq | wc -l)" 5000 made
            rm -r mnt/many; [ ! -e mnt/many ] || fail "many is still there"
            name=$(printf 'n%.0s' $(seq 255)); echo x > mnt/$name; rm mnt/$name; umount mnt
            flock -w 240 work/lock true; echo x > lower/$name; rm -r upper work; mkdir upper work; union
            rm mnt/$name; [ ! -e mnt/$name ] || fail "a long name is back"; unmount; union
            [ ! -e mnt/$name ] || fail "a long name is back after remount"; echo y > mnt/$name; same "$(cat mnt/$name)" y again
            refused touch mnt/n$name; grep -q 'too long' err || fail "$(cat err)"
            """
        )
    }
}
