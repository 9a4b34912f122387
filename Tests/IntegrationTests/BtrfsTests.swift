// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// The btrfs driver through the command line: a volume in a file, limits, and the space of what was removed.
@Suite(
    .requires(.root, .filesystem("btrfs"), .loopDevices, .program("mkfs.btrfs"), .program("busybox")),
    .serialized
)
struct BtrfsTests {
    @Test func volumeInAFile() throws {
        let strata = try Strata(driver: "btrfs")
        let volume = strata.root.appending("drivers/btrfs/volume")
        if try Files.fileSystemType(strata.directory.fd) != "btrfs" {
            let refusal = try strata("layer", "create")
            #expect(refusal.code == 1)
            #expect(refusal.errorText.contains("btrfs.loop"), "\(refusal)")
        }
        try strata.ok("--storage-opt", "btrfs.loop=512m", "driver", "info", "btrfs")
        #expect(try Files.status(volume)?.size == 512 << 20)
        // From now on it is found without the option.
        try strata.importBusybox()
        try strata.ok("run", "--name", "work", "busybox", "sh", "-c", "echo one >/f; rm /etc/group")
        #expect(try strata.ok("diff", "work").lines == ["C /etc", "D /etc/group", "A /f"])
        try strata.ok("commit", "work", "made")
        #expect(try strata.ok("run", "--rm", "made", "cat", "/f").line == "one")
        try strata.ok("run", "-d", "--name", "long", "busybox", "sleep", "100")
        #expect(try strata.ok("exec", "long", "cat", "/etc/passwd").lines.count == 2)
        #expect(try strata.ok("run", "--rm", "--userns", "busybox", "id", "-u").line == "0")
        try strata.ok("rm", "-f", "long")
        // It grows, and never shrinks.
        try strata.ok("--storage-opt", "btrfs.loop=1g", "run", "--rm", "busybox", "true")
        #expect(try Files.status(volume)?.size == 1 << 30)
        #expect(try strata.ok("run", "--rm", "busybox", "df", "-m", "/").text.contains("1024"))
        let shrinking = try strata("--storage-opt", "btrfs.loop=512m", "run", "--rm", "busybox", "true")
        #expect(shrinking.code == 125 && shrinking.errorText.contains("cannot shrink"), "\(shrinking)")
        // What is removed is free on the file system below too.
        func size() throws -> Int64 { try Int64(Files.status(volume)?.blocks ?? 0) * 512 }
        let write = "dd if=/dev/urandom of=/f bs=1M count=64; sync"
        try strata.ok("run", "--name", "large", "busybox", "sh", "-c", write)
        let full = try size()
        try strata.ok("rm", "large")
        try strata.ok("system", "prune", "-f", "--wait")
        #expect(try size() <= full - (60 << 20), "\(full)")
        try strata.ok("system", "check")
        // Nothing stays mounted or attached.
        let table = try Files.contents("/proc/self/mountinfo")
        #expect(!String(decoding: table, as: UTF8.self).contains(strata.root.string))
        // Somebody who looks through all loop devices may have it open at this moment.
        #expect(try eventually { try Program.run(["losetup", "-j", volume.string]).text.isEmpty })
    }

    /// What lies in it can be saved from a file system that became read-only; a damaged one says what to do.
    @Test func volumeThatCannotBeWritten() throws {
        let place = try LoopFileSystem("ext4")
        let strata = try Strata(driver: "btrfs", below: place.path)
        let run = try TemporaryDirectory()
        func call(_ words: String...) throws -> Outcome {
            try Program.run([Strata.program] + strata.flags + ["--run-root", run.path.string] + words)
        }
        let volume = strata.root.appending("drivers/btrfs/volume")
        func remount(_ access: String) throws {
            #expect(try eventually { try Program.run(["losetup", "-j", volume.string]).text.isEmpty })
            try Program.shell("mount -o remount,\(access) \(place.path)")
        }
        #expect(try call("--storage-opt", "btrfs.loop=512m", "driver", "info", "btrfs").code == 0)
        try strata.importBusybox()
        #expect(try call("run", "--name", "work", "busybox", "touch", "/f").code == 0)
        try remount("ro")
        let diff = try call("diff", "work")
        #expect(diff.text == "A /f\n", "\(diff)")
        let export = try call("export", "work")
        #expect(export.code == 0 && export.text.contains("busybox"), "\(export.errorText)")
        let refused = try call("rm", "work")
        #expect(refused.code == 1 && refused.errorText.contains("remount,rw"), "\(refused)")
        try remount("rw")
        #expect(try call("rm", "work").code == 0)
        #expect(try eventually { try Program.run(["losetup", "-j", volume.string]).text.isEmpty })
        // The superblock.
        try Program.shell("dd if=/dev/zero of=\(volume) bs=4k seek=16 count=1 conv=notrunc,fsync 2>/dev/null")
        let damaged = try call("run", "--rm", "busybox", "true")
        #expect(damaged.code == 125 && damaged.errorText.contains("btrfs check"), "\(damaged)")
        withExtendedLifetime(place) {}
    }

    @Test func sizeOfAContainer() throws {
        let place = try LoopFileSystem("btrfs")
        let strata = try Strata(driver: "btrfs", below: place.path)
        try strata.importBusybox()
        let outcome = try strata(
            "run",
            "--storage-opt",
            "size=8m",
            "--name",
            "small",
            "busybox",
            "sh",
            "-c",
            "dd if=/dev/zero of=/f bs=1M count=32; sync; dd if=/dev/zero of=/g bs=1M count=32"
        )
        #expect(outcome.code != 0 && outcome.errorText.contains("quota exceeded"), "\(outcome)")
        try strata.ok("run", "--rm", "busybox", "dd", "if=/dev/zero", "of=/f", "bs=1M", "count=32")
        let odd = try strata("run", "--rm", "--storage-opt", "size=much", "busybox", "true")
        #expect(odd.code == 125 && odd.errorText.contains("size=10g"), "\(odd)")
        try strata.ok("rm", "small")
        try strata.ok("system", "prune", "-f", "--wait")
        #expect(try strata.ok("driver", "info", "btrfs").lines.contains("Subvolumes to be freed: 0"))
        withExtendedLifetime(place) {}
    }

    @Test func waitsForTheSpace() throws {
        let place = try LoopFileSystem("btrfs")
        let strata = try Strata(driver: "btrfs", below: place.path)
        try strata.importBusybox()
        try strata.ok(
            "run",
            "--name",
            "large",
            "busybox",
            "sh",
            "-c",
            "dd if=/dev/urandom of=/f bs=1M count=64; mkdir /d; for i in $(seq 2000); do echo $i >/d/$i; done; sync"
        )
        func free() throws -> Int {
            try Int(Program.shell("df --output=avail -m \(place.path) | tail -1").line.trimmed) ?? 0
        }
        let full = try free()
        try strata.ok("rm", "large")
        try strata.ok("system", "prune", "-f", "--wait")
        #expect(try free() >= full + 60)
        withExtendedLifetime(place) {}
    }

    /// A copy has directories where subvolumes were.
    @Test func aCopyOfAStoreIsPutRight() throws {
        let place = try LoopFileSystem("btrfs")
        let strata = try Strata(driver: "btrfs", below: place.path)
        try strata.importBusybox()
        try Program.shell("cp -a \(strata.root) \(strata.root).copy")
        func copied(_ words: String...) throws -> Outcome {
            let flags = ["--root", "\(strata.root).copy", "--run-root", "\(strata.runRoot).copy"]
            return try Program.run([Strata.program, "--storage-driver", "btrfs"] + flags + words)
        }
        let refused = try copied("run", "--rm", "busybox", "true")
        #expect(refused.code == 125 && refused.errorText.contains("system check --repair"), "\(refused)")
        #expect(try copied("system", "check").code == 1)
        #expect(try copied("system", "check", "--repair").code == 0)
        #expect(try copied("system", "check").code == 0)
        #expect(try copied("run", "--rm", "busybox", "true").code == 0)
        withExtendedLifetime(place) {}
    }

    /// What needs a subvolume that somebody deleted says so, and changes nothing; the store can be put right.
    @Test(.requires(.program("btrfs")))
    func subvolumesDeletedBehindOurBack() throws {
        let place = try LoopFileSystem("btrfs")
        let strata = try Strata(driver: "btrfs", below: place.path)
        try strata.importBusybox()
        try strata.ok("run", "--name", "work", "busybox", "true")
        func delete(_ kind: String) throws {
            for line in try strata.ok("layer", "ls", "--format", "{{.Kind}} {{.ID}}").lines
            where line.hasPrefix("\(kind) ") {
                let layer = line.dropFirst(kind.utf8.count + 1)
                try Program.shell("btrfs -q subvolume delete \(strata.root)/drivers/btrfs/layers/\(layer)")
            }
        }
        func fails(_ code: Int32, _ words: String...) throws {
            let outcome = try Program.run([Strata.program] + strata.flags + words)
            #expect(outcome.code == code, "\(outcome)")
            #expect(outcome.errorText.split(separator: "\n").count == 1, "\(outcome)")
            #expect(outcome.errorText.contains("strata system check --repair"), "\(outcome)")
        }
        try delete("container")
        try fails(1, "start", "-a", "work")
        try fails(1, "diff", "work")
        try fails(1, "commit", "work", "made")
        #expect(try strata.ok("ps", "-aq").lines.count == 1)
        let unmended = try strata("system", "check", "--repair")
        #expect(unmended.code == 1 && unmended.text.contains("strata rm work"), "\(unmended)")
        try strata.ok("rm", "work")
        try strata.ok("run", "--name", "work", "busybox", "sh", "-c", "echo one >/f")
        try delete("image")
        try fails(1, "commit", "work", "made")
        #expect(try strata("system", "check").code == 1)
        try strata.ok("system", "check", "--repair")
        try strata.ok("system", "check")
        try strata.ok("commit", "work", "made")
        try delete("init")
        try fails(125, "run", "--rm", "busybox", "true")
        try strata.ok("system", "check", "--repair")
        try strata.ok("run", "--rm", "busybox", "true")
        #expect(try strata.ok("run", "--rm", "made", "cat", "/f").line == "one")
        withExtendedLifetime(place) {}
    }

    /// What a container does with subvolumes of its own shows as directories, and goes with it.
    @Test(.requires(.program("btrfs")))
    func containerThatMakesSubvolumes() throws {
        let place = try LoopFileSystem("btrfs")
        let strata = try Strata(driver: "btrfs", below: place.path)
        try strata.importBusybox()
        try strata.ok("create", "--name", "work", "busybox", "true")
        let layer = try strata.ok("inspect", "-f", "{{.Driver}}", "work").line
        #expect(layer == "btrfs")
        try Program.shell(
            """
            cd \(strata.root)/drivers/btrfs/layers
            for layer in *; do
                [ "$(btrfs property get -ts $layer ro)" = ro=false ] || continue
                for i in $(seq 100); do btrfs -q subvolume create $layer/sub$i; echo $i >$layer/sub$i/f; done
                btrfs -q subvolume snapshot $layer $layer/sub1/snapshot
                btrfs -q subvolume snapshot -r $layer/sub2 $layer/sub3/frozen
            done
            """
        )
        let diff = try strata.ok("diff", "work").lines
        #expect(diff.contains("A /sub100/f") && diff.contains("A /sub3/frozen/f"))
        try strata.ok("commit", "work", "made")
        #expect(try strata.ok("run", "--rm", "made", "cat", "/sub3/frozen/f").line == "2")
        try strata.ok("rm", "work")
        try strata.ok("rmi", "made")
        try strata.ok("system", "prune", "-f", "--wait")
        try strata.ok("system", "check")
        let left = try Program.shell("btrfs subvolume list \(place.path) | grep -c sub || true").line
        #expect(left == "0")
        withExtendedLifetime(place) {}
    }
}

extension String {
    fileprivate var trimmed: String { filter { $0 != " " } }
}
