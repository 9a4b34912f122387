// SPDX-License-Identifier: Apache-2.0

import Command
import Glibc
import Testing

/// Runs scripts in the shells themselves; a shell that is not installed is not tested.
@Suite("Completions")
struct CompletionTests {
    private static let lines: [(String, [String])] = [
        ("ru", ["run"]), ("", ["container", "layer", "ps", "run", "tag"]), ("layer ", ["mount"]),
        ("--de", ["--debug"]), ("run --pu", ["--pull"]), ("run --pull ", ["always", "missing"]),
        ("-D --root /x run -m 1g --pu", ["--pull"]), ("container run --pu", ["--pull"]),
        ("ps --a", ["--all"]),
        ("container l", ["ls"]), ("layer mount --r", ["--read-only"]),
        ("run -it --rm --hostn", ["--hostname"]),
    ]

    static func isInstalled(_ shell: String) -> Bool {
        ["/bin/", "/usr/bin/", "/usr/local/bin/"].contains { access($0 + shell, X_OK) == 0 }
    }

    @Test("in bash", .enabled(if: isInstalled("bash")), arguments: lines + [("--root=/x layer ", ["mount"])])
    func bash(line: String, expected: [String]) throws {
        let words = (["prog"] + line.split(separator: " ", omittingEmptySubsequences: false)).joined(
            separator: " "
        )
        let script = """
            \(Sample.program.completions(for: .bash))
            line='\(words)'
            line=${line//=/ = }
            IFS=' ' read -r -a COMP_WORDS <<< "$line"
            [ "${line% }" = "$line" ] || COMP_WORDS+=("")
            COMP_CWORD=$((${#COMP_WORDS[@]} - 1))
            _prog
            printf '%s\\n' "${COMPREPLY[@]}" | sort
            """
        #expect(try Self.output(of: "bash", script) == expected)
    }

    @Test("in zsh", .enabled(if: isInstalled("zsh")), arguments: lines)
    func zsh(line: String, expected: [String]) throws {
        let last = line.split(separator: " ", omittingEmptySubsequences: false).last ?? ""
        let script = """
            compdef() { :; }
            \(Sample.program.completions(for: .zsh))
            _describe() { print -l -- "${(@P)4%%:*}" | grep -e '^\(last)' | sort; }
            words=(prog "${(@s: :)$(printf '%s' '\(line)')}")
            [ -n '\(last)' ] || words[-1]=''
            CURRENT=${#words}
            _prog
            """
        #expect(try Self.output(of: "zsh -f", script) == expected)
    }

    @Test("in fish", .enabled(if: isInstalled("fish")), arguments: lines)
    func fish(line: String, expected: [String]) throws {
        let script = """
            \(Sample.program.completions(for: .fish))
            complete -C 'prog \(line)' | cut -f1 | grep -v '^--help' | sort
            """
        #expect(try Self.output(of: "fish --no-config", script) == expected)
    }

    /// What a shell prints that reads `script`.
    private static func output(of shell: String, _ script: String) throws -> [String] {
        var path = Array("/tmp/strata-completion-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        try #require(descriptor >= 0)
        let name = String(decoding: path.dropLast().map { UInt8(bitPattern: $0) }, as: UTF8.self)
        defer { unlink(name) }
        let bytes = Array(script.utf8)
        try #require(write(descriptor, bytes, bytes.count) == bytes.count)
        close(descriptor)
        let pipe = try #require(popen("\(shell) \(name) 2>/dev/null", "r"))
        defer { pclose(pipe) }
        var output: [UInt8] = []
        var buffer = [UInt8](repeating: 0, count: 4096)
        while case let count = fread(&buffer, 1, buffer.count, pipe), count > 0 { output += buffer[..<count] }
        return String(decoding: output, as: UTF8.self).split(separator: "\n").map(String.init)
    }
}

@Suite("Manual")
struct ManualTests {
    @Test("has a page for the program, each group and each listed verb")
    func pages() {
        let names = Sample.program.manualPages(version: "1.2").map(\.name)
        #expect(names == ["prog", "prog-layer", "prog-layer-mount", "prog-ps", "prog-run", "prog-tag"])
    }

    @Test("text is escaped for roff")
    func escapes() throws {
        let page = try #require(Sample.program.manualPages(version: "1.2").first { $0.name == "prog-run" })
            .text
        #expect(
            page.hasPrefix(
                ".TH \"PROG\\-RUN\" 1 \"\" \"prog 1.2\" \"User Commands\"\n.SH NAME\nprog\\-run \\- Create"
            )
        )
        #expect(page.contains("\n.TP\n\\fB\\-m\\fR, \\fB\\-\\-memory\\fR \\fIbytes\\fR\nMemory limit\n"))
        #expect(page.contains("\nprog run \\-\\-rm alpine true\n"))
        #expect(!page.split(separator: "\n").contains { $0.hasPrefix("'") })
    }
}
