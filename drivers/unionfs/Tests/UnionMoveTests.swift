// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// Directories of layers below that are moved with all that is in them, some of it made in the union.
@Suite(
    .requires(
        .root,
        .path("/dev/fuse"),
        .deviceNodes,
        .program("flock"),
        .program("unshare"),
        .program("setfacl")
    )
)
struct UnionMoveTests {
    /// The file system below gives the number of a directory that was made anew to the next one.
    @Test func inodeNumbersStayUnique() throws {
        try Union().run(
            """
            mkdir -p lower/d/below; echo x > lower/d/file; union
            mkdir mnt/d/g mnt/d/below/h; old=$(stat -c %i mnt/d/below); ls -i mnt/d mnt/d/below > listed; mv mnt/d mnt/e
            same "$(stat -c %i mnt/e/below)" "$old" "a directory of the layer below"
            for i in $(seq 20); do mkdir mnt/e/g/n$i mnt/e/below/h/n$i; echo x > mnt/e/g/f$i; done
            unique() {
                same "$(find mnt -printf '%i\\n' | sort | uniq -d)" '' "numbers of two objects, $1"
                same "$(cd mnt; find e -mindepth 1 -printf '%i %f\\n' | sort)" \\
                    "$(cd mnt; find e -type d -exec ls -1iA {} + | awk '$1 ~ /^[0-9]+$/ {print $1, $2}' | sort)" "listed, $1"
            }
            unique mounted; cp -a mnt/e mnt/copy; rm -r mnt/copy; unmount; union; unique "mounted again"; unmount
            """
        )
    }

    /// A copy that was removed gives its number to the next one, and nothing else of it.
    @Test func numbersOfRemovedCopiesAreFree() throws {
        try Union().run(
            """
            mkdir -p lower/A/x/z lower/A/y/z lower/B/x/z lower/B/y; union
            unique() { same "$(find mnt -printf '%i\\n' | sort | uniq -d)" '' "numbers of two objects, $1"; }
            mkdir mnt/B/x/z/n0; mv mnt/A/y mnt/A/m5; mkdir mnt/B/n6; mv mnt/A mnt/B/n6/m8; mv mnt/B/x/z mnt/B/y/m10
            unique mounted
            for i in $(seq 12); do
                mkdir -p mnt/B/y/m10/n0/k$i; mv mnt/B mnt/C; mv mnt/C/n6/m8 mnt/A; mv mnt/A mnt/C/n6/m8; mv mnt/C mnt/B
                unique "after round $i"
            done
            unmount; union; unique "mounted again"; unmount
            """
        )
    }

    @Test func whatADirectoryGivesIsNotForWhatItHas() throws {
        try Union().run(
            """
            mkdir -p lower/d/s lower/g/s; echo x > lower/d/s/f; echo y > lower/d/f; mkfifo lower/d/p; chmod 600 lower/d/f
            setfacl -d -m u:1000:rwx lower/d; touch lower/g/f; chgrp 1001 lower/g; chmod 2775 lower/g
            chgrp 0 lower/g/s lower/g/f; chmod g-s lower/g/s
            shown() { (cd mnt; getfacl -Rn $1; find $1 -printf '%P %m %U:%G\\n' | sort) | sed "s/# file: $1/# file: /"; }
            union; shown d > d; shown g > g
            mv mnt/d mnt/e; mv mnt/g mnt/h; shown e > e; shown h > h
            diff d e || fail "the lists of a moved directory"; diff g h || fail "the groups of a moved directory"
            unmount
            """
        )
    }
}
