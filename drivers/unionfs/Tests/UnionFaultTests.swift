// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestGates
import Testing

/// What is left when the server is killed or the disk is full: the old state or the new one, never half.
@Suite(.requires(.root, .path("/dev/fuse"), .program("strace"), .program("flock"), .loopDevices))
struct UnionFaultTests {
    /// Kills the server at each of its system calls on files, one after the other, in each of some operations.
    @Test(arguments: [
        ("chmod 600 mnt/file", "cat mnt/file mnt/hard"),
        ("echo more >> mnt/hard", "cat mnt/file; head -n 1 mnt/hard"),
        ("rm mnt/d/below", "ls mnt/d"), ("rmdir mnt/empty", "ls -d mnt/empty"),
        ("mv mnt/d mnt/moved", "cat mnt/d/below mnt/moved/below; ls mnt/d mnt/moved"),
        (
            "python3 -c 'import os; os.rename(\"mnt/d\", \"mnt/empty\")'",
            "cat mnt/d/below mnt/empty/below; ls mnt/d mnt/empty"
        ),
        ("mv mnt/file mnt/other", "cat mnt/file mnt/other"), ("chown 1 mnt/symlink", "readlink mnt/symlink"),
    ])
    func survivesKills(_ operation: String, _ look: String) throws {
        let step = getenv("STRATA_TEST_FULL") != nil ? 1 : 3
        try Union().run(
            """
            calls=openat,linkat,renameat2,unlinkat,mkdirat,mknodat,symlinkat,fchownat,fchmodat,utimensat,write,pwrite64,copy_file_range,setxattr,fsetxattr,ftruncate,ioctl
            mkdir lower/d lower/e lower/empty; echo text > lower/file; ln lower/file lower/hard; echo below > lower/d/below
            echo e > lower/e/e; ln -s file lower/symlink; cp -a lower pristine
            start() { "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=work mnt; }
            look() { (\(look)) 2>&1 | grep -v 'stat of' || true; }
            start; look > old; ls -l mnt > /dev/null
            \(operation); look > new; unmount
            diff -q old new > /dev/null && same=1 || same=0
            n=1 done=0
            while [ $done = 0 ]; do
                rm -rf upper work; mkdir upper work
                "$PROGRAM" -f -o norestart,threads=1,wait=sleep,lowerdir=lower,upperdir=upper,workdir=work mnt 2>/dev/null & server=$!
                await mountpoint -q mnt
                ls -lR mnt > /dev/null; look > /dev/null
                trace $server -o /dev/null -e trace=$calls -e inject=$calls:signal=KILL:when=$n
                (\(operation)) > /dev/null 2>&1 || true
                if kill -0 $server 2>/dev/null && ls mnt > /dev/null 2>&1; then done=1; fi
                umount -l mnt 2>/dev/null || true
                kill -9 $server 2>/dev/null || true; wait $server 2>/dev/null || true; untrace
                start; look > now; unmount
                cmp -s now old || cmp -s now new || fail "killed at call $n: $(cat now; find upper)"
                [ -z "$(find work/stage -mindepth 1)" ] || fail "left in the work directory"
                diff -r lower pristine || fail "the layer below changed"
                n=$((n + \(step)))
                [ $n -lt 400 ] || fail "no end"
            done
            [ $n -gt 2 ] || fail "nothing was killed"
            """
        )
    }

    @Test func leavesNothingOnAFullDisk() throws {
        try Union().run(
            """
            truncate -s 8M disk; mkfs.ext4 -q -O ^has_journal disk; mkdir small; await mount_file disk small
            mkdir small/upper small/work; head -c 20000000 /dev/urandom > lower/file; sum=$(md5sum < lower/file)
            "$PROGRAM" -o lowerdir=lower,upperdir=small/upper,workdir=small/work mnt
            refused chmod 600 mnt/file; grep -q 'No space' err || fail "$(cat err)"
            same "$(md5sum < mnt/file)" "$sum" "the file"; same "$(find small/upper small/work/stage -mindepth 1)" '' left
            echo x > mnt/new; rm mnt/file; [ ! -e mnt/file ] || fail "file is still there"
            same "$(df --output=size mnt | tail -n 1)" "$(df --output=size small | tail -n 1)" statfs
            umount mnt; flock -w 240 small/work/lock true
            # The server lets go of its directories after the lock.
            tries=0
            until umount small 2> err; do
                tries=$((tries + 1)); [ $tries -lt 600 ] || fail "$(cat err)"; sleep 0.1
            done
            """
        )
    }

    /// A disk that fails under the layers: the program sees it, nothing changes, and the server goes on.
    @Test(arguments: [
        "copy_file_range,ioctl,pread64,pwrite64,write", "linkat,renameat2", "openat", "newfstatat",
        "fchownat,fchmodat,utimensat",
    ])
    func passesErrorsOn(_ calls: String) throws {
        try Union().run(
            """
            head -c 300000 /dev/urandom > lower/file; cp lower/file pristine
            "$PROGRAM" -f -o norestart,lowerdir=lower,upperdir=upper,workdir=work mnt & server=$!
            await mountpoint -q mnt
            trace $server -o /dev/null -e trace=\(calls) -e inject=\(calls):error=EIO
            refused sh -c 'echo more >> mnt/file'
            untrace
            grep -q 'Input/output error' err || grep -q 'I/O error' err || fail "$(cat err)"
            same "$(find upper work/stage -mindepth 1)" '' left
            cmp mnt/file pristine; cmp lower/file pristine
            echo more >> mnt/file; same "$(tail -c 5 mnt/file)" more "what was appended"; cmp lower/file pristine
            umount mnt; wait $server || fail "the server ended with $?"
            """
        )
    }

    /// Somebody changes a layer, which nobody should: programs see an error or the change, and all else goes on.
    @Test func goesOnWhenALayerChanges() throws {
        try Union().run(
            """
            mkdir lower/d lower/e; echo text | tee lower/file lower/d/file lower/e/file lower/kept > /dev/null
            union; ls -lR mnt > /dev/null
            rm -r lower/file lower/d; rm -r lower/e; echo file > lower/e
            for name in file d/file e/file; do
                refused cat mnt/$name; refused sh -c "echo more >> mnt/$name"
                refused chmod 600 mnt/$name; mv mnt/$name mnt/moved 2>/dev/null || true
            done
            ls -R mnt > /dev/null 2>&1 || true; rm -r mnt/d mnt/e 2>/dev/null || true
            same "$(cat mnt/kept)" text "what did not change"
            echo more >> mnt/kept; mkdir mnt/made; mv mnt/kept mnt/made/kept
            unmount
            union; same "$(cat mnt/made/kept | tr '\\n' ' ')" "text more " "what was written"; unmount
            """
        )
    }
}
