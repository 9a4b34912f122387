// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// Owners that differ on the layers and in the union.
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
struct UnionOwnersTests {
    private static let prelude = """
        owner() { stat -c %u:%g "$1"; }
        as() { setpriv --reuid $1 --regid $2 --clear-groups "${@:3}"; }
        touch lower/root lower/user lower/far; chown 5:6 lower/user; chown 5000:6000 lower/far; chmod 777 . lower upper
        map=uidmapping=0:1000:1:1:20000:100,gidmapping=0:2000:1:1:30000:100

        """

    @Test func mapsOwners() throws {
        try Union().run(
            Self.prelude + """
                union $map
                same "$(owner mnt/root) $(owner mnt/user) $(owner mnt/far)" '1000:2000 20004:30005 65534:65534' shown
                as 20001 30002 sh -c 'echo x > mnt/file; mkdir mnt/dir; ln -s x mnt/link; mkfifo mnt/fifo'
                for f in file dir link fifo; do
                    same "$(owner mnt/$f) $(owner upper/$f)" '20001:30002 2:3' "what somebody made: $f"
                done
                touch mnt/nobody; same "$(owner mnt/nobody) $(owner upper/nobody)" '65534:65534 65534:65534' "of no owner"
                chown -h 1000:30010 mnt/link; same "$(owner upper/link)" 0:11 "a new owner"
                refused chown 7 mnt/root; grep -q 'Invalid' err || fail "$(cat err)"; [ ! -e upper/root ] || fail "it came up"
                chmod 600 mnt/far; same "$(owner upper/far)" 5000:6000 "an owner after copy-up"
                refused as 20001 30002 cat mnt/far; as 20004 0 sh -c 'echo own > mnt/user'
                mkdir mnt/set; chown 20001:30003 mnt/set; chmod 2777 mnt/set; as 20001 30002 touch mnt/set/file
                same "$(owner upper/set/file)" 2:4 "in a directory that gives its group"
                unmount; same "$(stat -c %u:%g lower/*)" "$(printf '5000:6000\\n0:0\\n5:6')" "the layer below"
                """
        )
    }

    @Test func mapsAccessControlLists() throws {
        try Union().run(
            Self.prelude + """
                mkdir lower/dir; setfacl -m u:9:r,g:8:rw,d:u:7:x lower/dir; union $map
                list() { getfacl -n "$1" 2>&3 | tr '\\n' ' '; }; exec 3>&2
                found=$(list mnt/dir)
                case $found in *user:20008:r*group:30007:rw*default:user:20006:--x*) ;; *) fail "$found" ;; esac
                setfacl -m u:20003:rw mnt/root; case $(list upper/root) in *user:4:rw*) ;; *) fail "$(list upper/root)" ;; esac
                as 20003 30050 sh -c 'echo x >> mnt/root'; refused as 20009 30050 sh -c 'echo x >> mnt/root'
                refused setfacl -m u:44:rw mnt/user; [ ! -e upper/user ] || fail "it came up"
                unmount
                """
        )
    }

    @Test func showsOneOwner() throws {
        try Union().run(
            Self.prelude + """
                union squash_to_root; same "$(owner mnt/user) $(owner mnt/far)" '0:0 0:0' root; unmount
                union squash_to_root,squash_to_gid=7
                same "$(owner mnt/user)" 0:7 "both"; echo x >> mnt/user; unmount; same "$(owner upper/user)" 5:6 "on disk"
                """
        )
    }
}
