// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage
import TestGates
import Testing

/// What the engine cannot work with: a plain error, and the store as before.
@Suite(.requires(.root, .overlay, .program("busybox")), .serialized)
struct BadInputTests {
    @Test(.requires(.loopDevices, .program("mkfs.ext4")))
    func fullAndReadOnlyDisk() throws { try smallDisk("ext4") }

    /// The same with the btrfs driver, whose file system can fill in two ways.
    @Test(
        .requires(.loopDevices, .filesystem("btrfs"), .program("mkfs.btrfs")),
        arguments: ["btrfs", "btrfs-mixed"]
    )
    func fullAndReadOnlyBtrfs(_ type: String) throws { try smallDisk(type) }

    private func smallDisk(_ type: String) throws {
        let directory = try TemporaryDirectory()
        let script = FilePath(#filePath).removingLastComponent().removingLastComponent()
            .appending("Support/small-disk").string
        let outcome = try Program.run([
            "unshare", "-m", "--propagation", "private", script, Strata.program, "/bin/busybox",
            directory.path.string, type,
        ])
        #expect(outcome.code == 0, "\(outcome)")
    }

    /// Everything in the store but what the database keeps for itself, and what its users see.
    private func state(_ strata: Strata) throws -> String {
        try Program.shell(
            """
            cd \(strata.root)
            find . -mindepth 1 -path ./locks -prune -o -name 'strata.db*' -o -path ./version -o -printf '%p %s %m %n %T@\\n' | sort
            """
        ).text
    }

    private func expectFailure(
        _ outcome: Outcome,
        code: Int32,
        saying text: String,
        sourceLocation: SourceLocation = #_sourceLocation
    ) {
        #expect(outcome.code == code, "\(outcome)", sourceLocation: sourceLocation)
        #expect(outcome.errorText.contains(text), "\(outcome)", sourceLocation: sourceLocation)
        #expect(
            outcome.errorText.split(separator: "\n").count == 1,
            "\(outcome)",
            sourceLocation: sourceLocation
        )
    }

    @Test func newerStore() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let before = try state(strata)
        let version = strata.root.appending("version")
        let old = try Files.contents(version)
        try Files.replace(version, with: Array("999\n".utf8), durable: false)
        expectFailure(try strata("images"), code: 1, saying: "use a newer strata")
        expectFailure(try strata("run", "--rm", "busybox", "true"), code: 125, saying: "use a newer strata")
        expectFailure(try strata("rmi", "busybox"), code: 1, saying: "use a newer strata")
        expectFailure(try strata("system", "prune", "-a", "-f"), code: 1, saying: "use a newer strata")
        try Files.replace(version, with: old, durable: false)
        #expect(try state(strata) == before)
        try strata.ok("run", "--rm", "busybox", "true")
    }

    /// An ordinary user on a store of root's, and where none may be made.
    @Test(.requires(.program("setpriv"))) func noPermission() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let before = try state(strata)
        let user = ["setpriv", "--reuid", "65534", "--regid", "65534", "--clear-groups"]
        for (words, code) in [
            (["images"], 1), (["run", "--rm", "busybox", "true"], 125), (["rmi", "busybox"], 1),
        ] {
            let outcome = try Program.run(user + [Strata.program] + strata.flags + words)
            expectFailure(outcome, code: Int32(code), saying: "Permission denied")
        }
        let place = strata.directory.appending("other").string
        let outcome = try Program.run(
            user + [Strata.program, "--root", place, "import", "\(place).tar", "x"]
        )
        expectFailure(outcome, code: 1, saying: "Permission denied")
        #expect(try Files.status(FilePath(place)) == nil)
        #expect(try state(strata) == before)
    }

    @Test func noSuchDriver() throws {
        let strata = try Strata()
        try strata.importBusybox()
        let before = try state(strata)
        // And those of the catalog that lack something here, such as their file system.
        let others = try strata.ok("driver", "ls", "--format", "{{if not .Works}}{{.Name}}{{end}}").lines
        for driver in ["nothing"] + others {
            let outcome = try strata("--storage-driver", driver, "run", "--rm", "busybox", "true")
            expectFailure(outcome, code: 125, saying: "storage driver \(driver)")
            expectFailure(try strata("--storage-driver", driver, "layer", "create"), code: 1, saying: driver)
        }
        // Times change where a probe tried something in a scratch directory.
        #expect(try names(state(strata)) == names(before))
    }

    /// What is wrong is said with the container's name and the way out, and nothing is made up in its place.
    @Test(.requires(.program("python3")), arguments: ["{", "{}"])
    func damagedContainerConfiguration(_ text: String) throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        try strata.ok("run", "--name", "work", "busybox", "sh", "-c", "echo one >/f")
        try strata.ok("run", "--name", "other", "busybox", "true")
        let script = """
            import sqlite3, sys
            db = sqlite3.connect(sys.argv[1])
            db.execute("UPDATE containers SET config = ? WHERE name = 'work'", (sys.argv[2],))
            db.commit()
            """
        let outcome = try Program.run(["python3", "-c", script, "\(strata.root)/strata.db", text])
        #expect(outcome.code == 0, "\(outcome)")
        for verb in ["start", "inspect", "commit"] {
            expectFailure(
                try strata(verb, "work"),
                code: 1,
                saying: "read container work: its stored configuration"
            )
        }
        expectFailure(try strata("ps", "-a", "--format", "{{.Labels}}"), code: 1, saying: "strata rm -f work")
        #expect(try strata.ok("ps", "-aq").lines.count == 2)
        #expect(try strata.ok("export", "work").output.count > 1 << 20)
        try strata.ok("start", "-a", "other")
        try strata.ok("rm", "-f", "work", "other")
    }

    /// A link stays one, and nothing of a longer file to which it leads stays behind the new content.
    @Test func outputThroughLinks() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let (plain, link) = (strata.directory.appending("plain.tar"), strata.directory.appending("link.tar"))
        try strata.ok("save", "-o", plain.string, "busybox")
        let saved = try Files.contents(plain)
        try Files.replace(strata.directory.appending("old"), with: saved + saved, durable: false)
        #expect(symlink("old", link.string) == 0)
        try strata.ok("save", "-o", link.string, "busybox")
        #expect(try Files.status(link)?.kind == .symlink)
        #expect(try Files.contents(strata.directory.appending("old")) == saved)
        let missing = try Program.run([Strata.program] + strata.flags + ["save", "-o", link.string, "other"])
        expectFailure(missing, code: 1, saying: "No such image")
        #expect(try Files.contents(strata.directory.appending("old")) == saved)
        #expect(unlink(link.string) == 0)
        for target in ["new", "link.tar"] {
            #expect(symlink(target, link.string) == 0)
            for command in [["save", "-o", link.string, "busybox"], ["bench", "-o", link.string]] {
                let outcome = try Program.run([Strata.program] + strata.flags + command)
                expectFailure(outcome, code: 1, saying: target == "new" ? "No such file" : "symbolic links")
            }
            #expect(unlink(link.string) == 0)
        }
        #expect(try Files.status(strata.directory.appending("new")) == nil)
        let save = "\(Strata.program) \(strata.flags.joined(separator: " ")) save -o"
        try Program.shell("\(save) /dev/stdout busybox | cmp - \(plain)")
        // Who has it open goes on writing to it; and a disk may be full midway.
        try Program.shell(
            """
            cd \(strata.directory.path)
            ln -s /dev/stdout out && ln -s /proc/self/cwd/old through
            for output in /dev/stdout out; do
                cat plain.tar plain.tar > old && \(save) $output busybox 1<>old && cat plain.tar plain.tar | cmp - old
            done
            \(save) through busybox < old && cmp plain.tar old
            mkdir small && mount -t tmpfs -o size=1m tmpfs small && trap 'umount small' EXIT
            truncate -s 8M small/old && ln -s small/old full
            ! \(save) full busybox && test "$(stat -c %s small/old)" -le 1048576
            """
        )
    }

    /// A blob that is not what its name says is found, and comes again with the next load; what stands on it goes on.
    @Test func damagedBlob() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let archive = strata.directory.appending("saved.tar").string
        try strata.ok("save", "-o", archive, "busybox")
        try strata.ok("run", "--name", "work", "busybox", "true")
        try strata.ok("system", "check")
        let blobs = strata.root.appending("oci/blobs/sha256")
        let directory = try Files.openDirectory(blobs)
        let sizes = try Files.list(directory.raw).map {
            try (
                blobs.appending($0.name.printable),
                Files.status(blobs.appending($0.name.printable))?.size ?? 0
            )
        }
        let (layer, _) = try #require(sizes.max { $0.1 < $1.1 })
        let good = try Files.contents(layer)
        var bad = good
        bad[bad.count / 2] ^= 1
        try Files.replace(layer, with: bad, durable: false)
        let found = try strata("system", "check")
        let name = try #require(layer.lastComponent).string
        #expect(found.code == 1 && found.text.contains("blob sha256:\(name)"), "\(found)")
        #expect(found.errorText == "strata: 1 problems found; try --repair\n")
        let copy = strata.directory.appending("copy.tar")
        expectFailure(try strata("save", "-o", copy.string, "busybox"), code: 1, saying: "another digest")
        #expect(try Files.status(copy) == nil)
        // The layer made of it gives other bytes: tar wrote this one.
        for flags in [["--repair"], []] {
            let mended = try Program.run([Strata.program] + strata.flags + ["system", "check"] + flags)
            #expect(mended.code == 1 && mended.text.contains("image busybox:latest"), "\(mended)")
        }
        try strata.ok("start", "-a", "work")
        expectFailure(
            try strata("save", "-o", copy.string, "busybox"),
            code: 1,
            saying: "load the image"
        )
        try strata.ok("load", "-i", archive)
        try strata.ok("system", "check")
        #expect(try Files.contents(layer) == good)
    }

    @Test(arguments: ["overlay2", "vfs", "unionfs"]) func containersFilesGone(_ driver: String) throws {
        let strata = try Strata(driver: driver)
        try strata.importBusybox()
        try strata.ok("run", "--name", "work", "busybox", "true")
        let layers = try strata.ok("layer", "ls", "--format", "{{.Kind}} {{.ID}}").lines
        let own = try #require(layers.first { $0.hasPrefix("container ") }).dropFirst("container ".utf8.count)
        try Files.removeTree(strata.root.appending("drivers/\(driver)/layers/\(own)"))
        let found = try strata("system", "check", "--repair")
        #expect(found.code == 1 && found.text.contains("strata rm work"), "\(found)")
        try strata.ok("rm", "work")
        try strata.ok("system", "check")
    }

    /// An archive cut at any point, or with any byte changed, is refused or is the same image.
    @Test func damagedArchives() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let archive = strata.directory.appending("image.tar")
        try strata.ok("save", "-o", archive.string, "busybox")
        let id = try strata.ok("images", "-q", "--no-trunc").line
        try strata.ok("rmi", "busybox")
        try strata.ok("system", "prune", "-a", "-f")
        let whole = try Files.contents(archive, limit: 64 << 20)
        let before = try state(strata)
        let seed = UInt64.random(in: 0...UInt64.max)
        var generator = Generator(state: seed)
        let damaged = strata.directory.appending("damaged.tar").string
        for attempt in 0..<(getenv("STRATA_TEST_FULL") == nil ? 12 : 200) {
            var bytes = whole
            if attempt.isMultiple(of: 2) {
                bytes.removeLast(Int.random(in: 2048..<whole.count, using: &generator))
            } else {
                bytes[Int.random(in: 0..<whole.count, using: &generator)] ^= 0x15
            }
            try Files.replace(FilePath(damaged), with: bytes, durable: false)
            let outcome = try strata("load", "-q", "-i", damaged)
            if outcome.code == 0 {
                // The change met padding or a field that has no meaning.
                #expect(try strata.ok("images", "-q", "--no-trunc").lines == [id], "seed \(seed), \(attempt)")
                try strata.ok("rmi", id)
                try strata.ok("system", "prune", "-a", "-f")
            } else {
                #expect(
                    outcome.code == 1 && outcome.errorText.split(separator: "\n").count == 1,
                    "\(outcome)"
                )
                #expect(try strata.ok("images", "-aq").text == "")
            }
            // Times change where something came and went; names and sizes do not.
            let left = try names(state(strata))
            #expect(left == names(before), "seed \(seed), attempt \(attempt): \(outcome)")
        }
        try strata.ok("load", "-q", "-i", archive.string)
        try strata.ok("run", "--rm", "busybox", "true")
    }

    private func names(_ state: String) -> [Substring] {
        state.split(separator: "\n").compactMap { $0.split(separator: " ").first }
            .filter { !$0.hasPrefix("./cache") && !$0.contains("/trash/") }
    }

    private struct Generator: RandomNumberGenerator {
        var state: UInt64
        mutating func next() -> UInt64 {
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return state ^ (state >> 29)
        }
    }
}
