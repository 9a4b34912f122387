// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// `strata bench` on real drivers: it measures, says what it cannot, and leaves nothing.
@Suite(.requires(.root, .overlay), .serialized)
struct BenchCommandTests {
    private func names(in directory: FilePath) throws -> [String] {
        let open = try Files.openDirectory(directory)
        return try Files.sortedList(open.raw).map(\.name.printable)
    }

    @Test("Every driver has every figure that was asked for, and the directory is empty afterwards")
    func measures() throws {
        let directory = try TemporaryDirectory()
        let strata = try Strata()
        let outcome = try strata.ok(
            "bench",
            "--quick",
            "--drivers",
            "overlay2,vfs",
            "--only",
            "container,copy-up",
            "--format",
            "json",
            "--directory",
            directory.path.string
        )
        let report = try JSON.parse(outcome.text)
        #expect(report["drivers"]?.array?.compactMap { $0["name"]?.string } == ["overlay2", "vfs"])
        #expect(report["failures"]?.array?.isEmpty == true, "\(report)")
        let figures = try #require(report["figures"]?.array)
        let expected =
            ["prepare", "mount", "remove", "run", "run-many", "diff", "commit", "rm"]
            + ["cache-memory", "server-memory", "copy-up"]
        #expect(figures.compactMap { $0["name"]?.string } == expected)
        for figure in figures {
            let results = try #require(figure["results"]?.array)
            #expect(results.count == 2, "\(figure)")
            for result in results where figure["unit"]?.string == "nanoseconds" {
                #expect(try #require(result["median"]?.int64) > 0, "\(figure)")
            }
        }
        #expect(try names(in: directory.path).isEmpty)
    }

    @Test(
        "A driver that needs another file system gets one in a loop file, which goes again",
        .requires(.loopDevices, .filesystem("btrfs"), .program("mkfs.btrfs"))
    )
    func loopFile() throws {
        let directory = try TemporaryDirectory()
        let outcome = try Strata().ok(
            "bench",
            "--quick",
            "--drivers",
            "btrfs",
            "--only",
            "prepare",
            "--directory",
            directory.path.string
        )
        #expect(outcome.text.contains("btrfs on btrfs in a loop file"), "\(outcome)")
        let mounts = String(decoding: try Files.contents("/proc/self/mounts"), as: UTF8.self)
        #expect(!mounts.contains(directory.path.string))
        #expect(try names(in: directory.path).isEmpty)
    }

    @Test(
        "A loop file takes the sectors of the disk on which it lies",
        .requires(
            .loopDevices,
            .filesystem("ext4"),
            .filesystem("xfs"),
            .program("mkfs.ext4"),
            .program("mkfs.xfs")
        )
    )
    func largeSectors() throws {
        let strata = try Strata()
        let outcome = try Program.shell(
            """
            cd \(strata.directory.path)
            truncate -s 3G disk
            disk=$(losetup --find --show --sector-size 4096 disk)
            trap 'umount -q mount || :; losetup --detach $disk' EXIT
            mkfs.ext4 -q $disk
            mkdir mount
            mount $disk mount
            \(Strata.program) \(strata.flags.joined(separator: " ")) bench --quick --drivers vfs@xfs --only prepare --directory mount
            """
        )
        #expect(outcome.text.contains("vfs@xfs on xfs in a loop file"), "\(outcome)")
    }

    @Test(
        "A driver is measured on the file system that is named with it, and what a second container holds is found",
        .requires(.loopDevices, .filesystem("xfs"), .program("mkfs.xfs"))
    )
    func otherFileSystem() throws {
        let directory = try TemporaryDirectory()
        let outcome = try Strata().ok(
            "bench",
            "--quick",
            "--drivers",
            "vfs@xfs,overlay2",
            "--only",
            "cache-memory",
            "--format",
            "json",
            "--directory",
            directory.path.string
        )
        let report = try JSON.parse(outcome.text)
        #expect(report["drivers"]?[0]?["place"]?.string == "xfs in a loop file", "\(outcome)")
        let values = try #require(report["figures"]?[0]?["results"]?.array).compactMap { $0["median"]?.int64 }
        // The kernel may move some pages between the look at the one and at the other.
        #expect(
            values.count == 2 && values[0] == 8 << 20 && values[1] < 1 << 20,
            "overlay2 shares the page cache of the image's file of 8 MiB, vfs does not: \(values)"
        )
        #expect(try names(in: directory.path).isEmpty)
    }

    @Test("How costs grow is measured at each size, and nothing stays")
    func scaling() throws {
        let directory = try TemporaryDirectory()
        let outcome = try Strata().ok(
            "bench",
            "--scaling",
            "--quick",
            "--drivers",
            "overlay2",
            "--only",
            "containers",
            "--format",
            "json",
            "--directory",
            directory.path.string
        )
        let report = try JSON.parse(outcome.text)
        // On a busy machine the largest size is left out, and that is said.
        let failures = try #require(report["failures"]?.array).compactMap { $0["reason"]?.string }
        #expect(failures.allSatisfy { $0.contains("50 containers: it would take about") }, "\(outcome)")
        let sizes = failures.isEmpty ? [1, 10, 50] : [1, 10]
        let curves = try #require(report["curves"]?.array)
        let figures = curves.compactMap { $0["figure"]?.string }
        #expect(figures == ["run", "diff", "commit", "rm", "create-container", "ps", "images", "layer-ls"])
        for curve in curves {
            #expect(curve["points"]?.array?.compactMap { $0["size"]?.int } == sizes, "\(curve)")
        }
        #expect(try names(in: directory.path).isEmpty)
    }

    @Test("An image of the user's store is measured and left alone")
    func ownImage() throws {
        let directory = try TemporaryDirectory()
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let images = try strata.ok("images", "-q").text
        let outcome = try strata.ok(
            "bench",
            "--quick",
            "--drivers",
            "overlay2",
            "--only",
            "run",
            "--directory",
            directory.path.string,
            "busybox"
        )
        #expect(outcome.text.contains("run --rm true"))
        #expect(try strata.ok("images", "-q").text == images)
        #expect(try names(in: directory.path).isEmpty)
    }

    @Test(
        "What does not exist is said at once",
        arguments: [
            (["--drivers", "nothing"], "no such driver was built"),
            (["--drivers", "vfs@nothing"], "no such file system"),
            (["--scaling", "--only", "load"], "nothing of that name is varied"),
            (["--scaling", "someimage"], "no use for an image"),
            (["--only", "nothing"], "no such figure"),
            (["nosuchimage"], "nosuchimage"), (["--compare", "/nonexistent"], "read /nonexistent"),
            (["--directory", "/proc/none"], "/proc/none"),
        ]
    )
    func wrong(arguments: [String], saying text: String) throws {
        let strata = try Strata()
        let outcome = try Program.run([Strata.program] + strata.flags + ["bench", "--quick"] + arguments)
        #expect(outcome.code == 1, "\(outcome)")
        #expect(outcome.errorText.contains(text), "\(outcome)")
        #expect(outcome.errorText.split(separator: "\n").count == 1, "\(outcome)")
    }

    @Test("Ctrl-C, twice too, keeps what was measured and leaves nothing")
    func interrupted() throws {
        let directory = try TemporaryDirectory()
        let strata = try Strata()
        let running = try strata.start(
            "bench",
            "--drivers",
            "overlay2",
            "--directory",
            directory.path.string
        )
        // Once it has a place to work in, it listens; then there should be something to keep.
        #expect(try eventually { try !names(in: directory.path).isEmpty })
        usleep(3_000_000)
        running.signal(SIGINT)
        usleep(100_000)
        running.signal(SIGINT)
        let outcome = try running.wait()
        #expect(outcome.code == 130, "\(outcome)")
        #expect(outcome.text.contains("Interrupted"), "\(outcome)")
        #expect(try names(in: directory.path).isEmpty)
    }

    @Test(
        "What a killed run left goes with the next one, subvolumes that are read-only too",
        .requires(.loopDevices, .filesystem("btrfs"), .program("mkfs.btrfs"))
    )
    func killed() throws {
        let place = try LoopFileSystem("btrfs")
        let strata = try Strata()
        try strata.importBusybox()
        let directory = place.path.string
        let layers = "\(directory)/.strata-bench-*/btrfs/root/drivers/btrfs/layers"
        let running = try strata.start("bench", "--drivers", "btrfs", "--directory", directory, "busybox")
        #expect(try eventually { try !Program.shell("ls \(layers) 2>/dev/null || true").text.isEmpty })
        running.signal(SIGKILL)
        _ = try running.wait()
        // What it had started ends by itself.
        let users = "grep -la '\(directory)/[.]strata-bench' /proc/[0-9]*/cmdline 2>/dev/null || true"
        #expect(try eventually { try Program.shell(users).text.isEmpty })
        #expect(try !names(in: place.path).isEmpty)
        let small = ["--quick", "--drivers", "vfs", "--only", "prepare"]
        let next = try Program.run(
            [Strata.program] + strata.flags + ["bench"] + small + ["--directory", directory, "busybox"]
        )
        #expect(next.code == 0, "\(next)")
        #expect(try names(in: place.path).isEmpty)
        withExtendedLifetime(place) {}
    }
}
