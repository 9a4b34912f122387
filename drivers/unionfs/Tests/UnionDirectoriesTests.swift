// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// What a mount may be made of.
@Suite(.requires(.root, .path("/dev/fuse"), .deviceNodes, .program("flock"), .program("unshare")))
struct UnionDirectoriesTests {
    /// Its name is one that nobody can make in a union.
    @Test func refusesAnUpperInAUnion() throws {
        try Union().run(
            """
            mkdir lower/up lower/work on; union
            refused "$PROGRAM" -o lowerdir=lower,upperdir=mnt/up,workdir=mnt/work on; grep -q 'in a union' err || fail "$(cat err)"
            same "$(wc -l < err)" 1 lines; same "$(ls -A mnt/up)" '' "what is there"; unmount
            """
        )
    }

    @Test func mountsWhereASymlinkLeads() throws {
        try Union().run(
            """
            ln -s mnt link; touch lower/file; "$PROGRAM" -o lowerdir=lower link; same "$(ls link mnt)" "$(printf 'link:\nfile\n\nmnt:\nfile')" names
            umount link; ! mountpoint -q mnt || fail "it is still there"
            mkdir bound; mount --bind work bound; refused "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=bound mnt
            grep -q 'on another mount' err || fail "$(cat err)"
            """
        )
    }

    @Test func takesAnUpperOnce() throws {
        try Union().run(
            """
            mkdir other on; union
            refused "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=other on
            grep -q 'upperdir upper is in use' err || fail "$(cat err)"
            unmount; "$PROGRAM" -o lowerdir=lower,upperdir=upper,workdir=other on; echo x > on/file; umount on
            """
        )
    }

    /// What is mounted in a layer is not part of it.
    @Test func takesAnUpperMountedInALayer() throws {
        try Union().run(
            """
            mkdir lower/in; echo text > lower/file; mount -t tmpfs none lower/in; mkdir lower/in/upper lower/in/work
            "$PROGRAM" -o lowerdir=lower,upperdir=lower/in/upper,workdir=lower/in/work mnt
            echo new > mnt/new; same "$(ls mnt | tr '\\n' ' ')" 'file in new ' names; same "$(ls -A mnt/in)" '' "a mount point"
            umount mnt; flock -w 240 lower/in/work/lock true; umount lower/in
            """
        )
    }
}
