// SPDX-License-Identifier: Apache-2.0

import SystemPackage
import TestGates
import Testing

/// What a load shows of its layers while it runs.
@Suite(.requires(.root, .overlay, .program("busybox"), .program("script")), .serialized)
struct ProgressTests {
    private let strata: Strata
    private let archive: String

    init() throws {
        strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        archive = strata.directory.appending("archive.tar").string
        try strata.ok("save", "-o", archive, "busybox")
    }

    /// Runs a command on a terminal of its own.
    private func onTerminal(_ arguments: String...) throws -> Outcome {
        let command = ([Strata.program] + strata.flags + arguments).joined(separator: " ")
        return try Program.run(["script", "-qec", command, "/dev/null"])
    }

    private func removeImage() throws { try strata.ok("rmi", "-f", "busybox") }

    @Test func bytesOfEachLayerOnATerminal() throws {
        try removeImage()
        let loaded = try onTerminal("load", "-i", archive)
        #expect(loaded.code == 0)
        // The first line is always drawn, the last always wiped.
        #expect(loaded.text.contains("layers ready"))
        #expect(loaded.text.contains("\u{1B}[KLoaded image"))
    }

    @Test func anErrorStandsOnALineOfItsOwn() throws {
        let outcome = try onTerminal("load", "-i", "/etc/passwd")
        #expect(outcome.code != 0)
        #expect(outcome.text.contains("\u{1B}[Kstrata: "))
    }

    /// The first Ctrl-C ends it, though nothing comes or goes.
    @Test(arguments: [
        "load -i PIPE", "import PIPE", "import - x <PIPE", "cp - work:/ <PIPE", "save busybox >PIPE",
        "export work >PIPE",
    ])
    func interruptedWhileItWaits(_ command: String) throws {
        if command.contains("work") { try strata.ok("create", "--name", "work", "busybox") }
        let pipe = strata.directory.appending("pipe").string
        let program = ([Strata.program] + strata.flags).joined(separator: " ")
        let outcome = try Program.run([
            "bash", "-c",
            """
            mkfifo \(pipe) && exec 9<>\(pipe)
            timeout --foreground -s KILL 20 \(program) \(command.replacing("PIPE", with: pipe)) &
            sleep 1; kill -INT $!; wait $!
            """,
        ])
        #expect(outcome.code == 130, "\(outcome)")
        #expect(outcome.errorText.contains("interrupted"), "\(outcome)")
    }

    @Test func oneLineALayerElsewhereAndNoneWhenQuiet() throws {
        try removeImage()
        let loaded = try strata.ok("load", "-i", archive)
        #expect(loaded.errorText.hasPrefix("layer ") && loaded.errorText.hasSuffix(": unpacked\n"))
        #expect(loaded.text == "Loaded image: busybox:latest\n")
        try removeImage()
        #expect(try onTerminal("load", "-q", "-i", archive).text == "Loaded image: busybox:latest\r\n")
    }
}
