// SPDX-License-Identifier: Apache-2.0

import Glibc
import SystemPackage
import TestGates
import Testing

/// Many processes on the same images at once.
@Suite(.requires(.root, .overlay, .program("busybox")), .serialized)
struct CrowdTests {
    /// What may be said to somebody whose image or name another took in between.
    private static let conflicts = [
        "No such image", "No such container", "No such object", "is being used", "is using", "in use",
        "conflict", "reference does not exist",
    ]

    @Test func loadRunCommitRemove() throws {
        let strata = try Strata(driver: "overlay2")
        try strata.importBusybox()
        let images = strata.directory.appending("images.tar").string
        try strata.ok("run", "--name", "source", "busybox", "sh", "-c", "echo one >/f")
        try strata.ok("commit", "source", "made")
        try strata.ok("rm", "source")
        try strata.ok("save", "-o", images, "busybox", "made")
        let seconds = getenv("STRATA_TEST_FULL") == nil ? 10 : 60
        // Each writes what failed to its own file: the verb's exit code and message.
        let script = #"""
            strata() { \#(Strata.program) \#(strata.flags.joined(separator: " ")) "$@"; }
            try() {
                local code=0 text
                text=$(strata "$@" 2>&1 >/dev/null) || code=$?
                [ $code = 0 ] && count=$((count + 1)) || echo "$1 $code: $text"
            }
            count=0 number=0
            while [ $SECONDS -lt \#(seconds) ] || [ $number -lt 3 ]; do
                number=$((number + 1))
                try load -q -i \#(images)
                try run --rm made sh -c '[ $(cat /f) = one ]'
                try run --name work-$0-$number busybox sh -c "echo $0 >/f"
                try ps -as
                try inspect -s work-$0-$number
                try diff work-$0-$number
                try commit work-$0-$number mine-$0
                try run --rm mine-$0 sh -c "[ \$(cat /f) = $0 ]"
                try rm work-$0-$number
                [ $((RANDOM % 3)) = 0 ] && try rmi made
                [ $((RANDOM % 3)) = 0 ] && try rmi -f busybox
                try rmi -f mine-$0
            done
            echo "did $count"
            """#
        let crowd = try (1...8).map { try Program.start(["bash", "-c", script, "\($0)"]) }
        var done = 0
        for member in crowd {
            let outcome = try member.wait()
            #expect(outcome.code == 0, "\(outcome.errorText)")
            for line in outcome.lines {
                if line.hasPrefix("did ") {
                    done += Int(line.dropFirst(4)) ?? 0
                } else {
                    #expect(Self.conflicts.contains { line.contains($0) }, "\(line)")
                }
            }
        }
        #expect(done > 50)
        print("eight processes: \(done) commands that succeeded in \(seconds) s")
        try strata.ok("system", "check")
        try strata.ok("load", "-q", "-i", images)
        try strata.ok("run", "--rm", "made", "sh", "-c", "[ $(cat /f) = one ]")
        try strata.ok("system", "prune", "-a", "-f")
        #expect(try strata.ok("system", "df").text.contains(#/Left over +0 /#))
        try strata.ok("system", "check")
    }
}
