// SPDX-License-Identifier: Apache-2.0

import Command
import Glibc
import Testing

@Suite("Docker's flag grammar")
struct FlagGrammarTests {
    @Test("long flags with and without '='")
    func long() throws {
        let parsed = try Sample.parse("run --rm --memory=512m --hostname web --env A=1 --env=B=2 img")
        #expect(
            parsed.flag("rm") && parsed.bytes("memory") == 512 << 20 && parsed.string("hostname") == "web"
        )
        #expect(parsed.list("env") == ["A=1", "B=2"])
        #expect(parsed.arguments == ["img"])
        #expect(!parsed.isSet("tty") && parsed.isSet("rm"))
    }

    @Test("shorthands: bundles, joined values, '=' after the letter")
    func shorthands() throws {
        let parsed = try Sample.parse("run -itd -m512m -e A -eB=b -e=C -l k=v img")
        #expect(parsed.flag("interactive") && parsed.flag("tty") && parsed.flag("detach"))
        #expect(parsed.bytes("memory") == 512 << 20)
        #expect(parsed.list("env") == ["A", "B=b", "C"])
        #expect(try Sample.parse("run -itm 1g img").bytes("memory") == 1 << 30)
        #expect(try Sample.parse("run -dm1g img").bytes("memory") == 1 << 30)
    }

    @Test("booleans take a value only after '='")
    func booleans() throws {
        #expect(try !Sample.parse("run --rm=false img").flag("rm"))
        #expect(try !Sample.parse("run -t=0 img").flag("tty"))
        #expect(try Sample.parse("run --sig-proxy img").flag("sig-proxy"))
        #expect(try Sample.parse("run img").flag("sig-proxy"))
        #expect(try !Sample.parse("run --sig-proxy=false img").flag("sig-proxy"))
        #expect(try Sample.parse("run --rm false").arguments == ["false"])
    }

    @Test("flags of run end at the image, elsewhere they mix with arguments")
    func interspersed() throws {
        let run = try Sample.parse("run --rm img sh -c --rm -- x")
        #expect(run.arguments == ["img", "sh", "-c", "--rm", "--", "x"])
        let mount = try Sample.parse("layer mount abc --read-only dir")
        #expect(mount.flag("read-only") && mount.arguments == ["abc", "dir"])
    }

    @Test("'--' ends the flags, '-' is an argument")
    func dashes() throws {
        #expect(try Sample.parse("run -- img --rm").arguments == ["img", "--rm"])
        #expect(try Sample.parse("layer mount -- --read-only -").arguments == ["--read-only", "-"])
        #expect(try Sample.parse("run - x").arguments == ["-", "x"])
    }

    @Test("a value may look like a flag, the last one counts")
    func values() throws {
        let parsed = try Sample.parse("run --hostname --rm --pids-limit -1 --hostname b img")
        #expect(parsed.string("hostname") == "b" && parsed.int("pids-limit") == -1 && !parsed.flag("rm"))
        #expect(try Sample.parse("run img").string("pull") == "missing")
        #expect(try Sample.parse("run --cpus 1.5 --timeout 1h30m img").nanos("cpus") == 1_500_000_000)
        #expect(try Sample.parse("run --timeout 1h30m img").duration("timeout") == .seconds(5400))
    }

    @Test("words that are not UTF-8 come through as they are")
    func bytes() throws {
        let odd = Word([0x2f, 0xff, 0xfe])
        let parsed = try Sample.parse([
            "run", Word(Array("--hostname=".utf8) + odd.bytes), "-e", odd, "img", odd,
        ])
        #expect(
            parsed.word("hostname") == odd && parsed.wordList("env") == [odd] && parsed.words == ["img", odd]
        )
    }

    @Test("key=value lists keep order and split at the first '='")
    func maps() throws {
        let pairs = try Sample.parse("run -l a=1 -l b=x=y -l c= img").pairs("label")
        #expect(pairs.map(\.key) == ["a", "b", "c"] && pairs.map(\.value) == ["1", "x=y", ""])
    }

    @Test("global flags come before the verb; the environment speaks when they are not given")
    func globals() throws {
        let parsed = try Sample.parse("--root /a -D --storage-opt x=1 --storage-opt=y=2 run --rm img")
        #expect(parsed.globals.string("root") == "/a" && parsed.globals.flag("debug"))
        #expect(parsed.globals.pairs("storage-opt").map(\.value) == ["1", "2"])
        // One that is there: whoever sets another takes the list from under threads that read it.
        let path = try #require(getenv("PATH"))
        #expect(try Sample.parse("ps").globals.string("root") == String(cString: path))
        #expect(try Sample.parse("--root /b ps").globals.string("root") == "/b")
    }

    @Test("aliases and nested verbs")
    func verbs() throws {
        #expect(try Sample.parse("container run img").arguments == ["img"])
        #expect(try Sample.parse("container ls -a").flag("all"))
    }
}

@Suite("Docker's usage errors")
struct UsageErrorTests {
    @Test(
        "first line and status",
        arguments: [
            ("run --nope img", "unknown flag: --nope", 125), ("--nope run", "unknown flag: --nope", 125),
            ("run -xq img", "unknown shorthand flag: 'x' in -xq", 125),
            ("run --hostname", "flag needs an argument: --hostname", 125),
            ("run -m", "flag needs an argument: 'm' in -m", 125),
            ("run -itm", "flag needs an argument: 'm' in -itm", 125),
            ("run --=x img", "bad flag syntax: --=x", 125), ("run ---x img", "bad flag syntax: ---x", 125),
            (
                "run -m 12q img", "invalid argument \"12q\" for \"-m, --memory\" flag: invalid suffix: 'q'",
                125
            ),
            (
                "run --rm=maybe img",
                "invalid argument \"maybe\" for \"--rm\" flag: not true or false: 'maybe'", 125
            ),
            (
                "run --cpus=a img", "invalid argument \"a\" for \"--cpus\" flag: not a decimal number: 'a'",
                125
            ),
            (
                "run --pull=x img",
                "invalid argument \"x\" for \"--pull\" flag: must be one of always, missing", 125
            ),
            ("run -l x img", "invalid argument \"x\" for \"-l, --label\" flag: must be KEY=VALUE", 125),
            ("run", "prog: 'prog run' requires at least 1 argument", 1),
            ("container run", "prog: 'prog container run' requires at least 1 argument", 1),
            ("tag a", "prog: 'prog tag' requires 2 arguments", 1),
            ("ps x", "prog: 'prog ps' accepts no arguments", 1),
            ("layer mount a b c", "prog: 'prog layer mount' requires at least 1 and at most 2 arguments", 1),
            ("zzzzzz", "prog: unknown command: prog zzzzzz", 1),
            ("layer zzzzzz", "prog: unknown command: prog layer zzzzzz", 1),
            ("layer --nope", "unknown flag: --nope", 125),
        ] as [(String, String, Int32)]
    )
    func messages(line: String, message: String, status: Int32) throws {
        let error = try #require(throws: UsageError.self) {
            _ = try Sample.program.interpret(line.split(separator: " ").map { Word(String($0)) })
        }
        #expect(error.message == message && error.status == status)
    }

    @Test("the whole text")
    func wholeText() throws {
        let error = try #require(throws: UsageError.self) { try Sample.parse("run") }
        #expect(
            error.description == """
                prog: 'prog run' requires at least 1 argument

                Usage:  prog run [OPTIONS] IMAGE [COMMAND] [ARG...]

                Run 'prog run --help' for more information
                """
        )
    }

    @Test(
        "mistyped verbs get a suggestion, nonsense and hidden verbs do not",
        arguments: [
            ("rnu", ["run"]), ("layer muont", ["layer mount"]), ("laye", ["layer"]), ("tga x", ["tag"]),
            ("mam", []),
            ("quux", []),
        ] as [(String, [String])]
    )
    func suggestions(line: String, expected: [String]) throws {
        let error = try #require(throws: UsageError.self) { try Sample.parse(line) }
        #expect(error.message.contains("Did you mean") == !expected.isEmpty)
        for suggestion in expected { #expect(error.message.contains("\n  prog \(suggestion)")) }
    }
}

@Suite("Quantities")
struct QuantityTests {
    @Test(
        "sizes",
        arguments: [
            ("0", 0), ("512", 512), ("512b", 512), ("512m", 512 << 20), ("1G", 1 << 30), ("1.5g", 3 << 29),
            ("0.25g", 1 << 28), ("2KiB", 2048), ("3mb", 3 << 20), ("1 k", 1024), ("-1", -1), ("1p", 1 << 50),
            (".5k", 512),
            ("9223372036854775807", .max),
        ] as [(String, Int64)]
    )
    func sizes(text: String, expected: Int64) throws { #expect(try Quantity.bytes(text) == expected) }

    @Test(
        "what is no size",
        arguments: [
            "", "m", "-5m", "1.2.3m", "12q", "1mi", "1kk", "9223372036854775808", "9223372036854775807k",
            "0x10", "1e3", ".",
            "+1", "١", "1 \u{0}",
        ]
    )
    func badSizes(text: String) { #expect(throws: QuantityError.self) { try Quantity.bytes(text) } }

    @Test(
        "decimals",
        arguments: [
            ("1.5", 1_500_000_000), ("0.000000001", 1), ("2", 2_000_000_000), ("-0.5", -500_000_000),
            ("0", 0),
        ] as [(String, Int64)]
    )
    func decimals(text: String, expected: Int64) throws { #expect(try Quantity.nanos(text) == expected) }

    @Test(
        "what is no decimal",
        arguments: ["", "a", "0.0000000001", "99999999999999999999", "9999999999999", "--1"]
    )
    func badDecimals(text: String) { #expect(throws: QuantityError.self) { try Quantity.nanos(text) } }

    @Test(
        "durations",
        arguments: [
            ("0", .zero), ("10s", .seconds(10)), ("1h30m", .seconds(5400)), ("1.5s", .milliseconds(1500)),
            ("300ms", .milliseconds(300)), ("2us", .microseconds(2)), ("-1m", .seconds(-60)),
        ] as [(String, Duration)]
    )
    func durations(text: String, expected: Duration) throws {
        #expect(try Quantity.duration(text) == expected)
    }

    @Test("what is no duration", arguments: ["", "10", "s", "1x", "1h-2m", "9999999999h", "1..5s", "-"])
    func badDurations(text: String) { #expect(throws: QuantityError.self) { try Quantity.duration(text) } }
}

@Suite("Help")
struct HelpTests {
    private func help(_ line: String) throws -> String {
        guard
            case .help(let topic) = try Sample.program.interpret(
                line.split(separator: " ").map { Word(String($0)) }
            )
        else { throw Sample.NotAVerb() }
        return Sample.program.help(topic, width: 70)
    }

    @Test("of a verb, in Docker's layout")
    func verb() throws {
        let text = try help("run --help")
        #expect(
            text.hasPrefix(
                """
                Usage:  prog run [OPTIONS] IMAGE [COMMAND] [ARG...]

                Create and run a new container

                Runs it.

                Aliases:
                  prog container run, prog run

                Options:
                      --cpus decimal       Number of CPUs
                  -d, --detach             Run in background
                """
            )
        )
        #expect(
            text.contains(
                "\n      --pids-limit int     Tune container pids limit (set -1 for\n                           unlimited)\n"
            )
        )
        #expect(text.contains("\n      --pull string        When to pull (default \"missing\")\n"))
        #expect(text.contains("      --sig-proxy          Proxy received signals to the process\n"))
        #expect(
            text.hasSuffix(
                "\nExamples:\n  # Run a command and remove the container\n  prog run --rm alpine true\n"
            )
        )
    }

    @Test("of the program and of a group")
    func program() throws {
        let text = try help("")
        #expect(text.contains("Common Commands:\n  run         Create and run a new container\n"))
        #expect(
            text.contains(
                "Management Commands:\n  container   Manage containers\n  layer       Manage layers\n\n"
            )
        )
        #expect(!text.contains("man") || !text.contains("Write the manual"))
        #expect(!text.contains("Has no verbs"))
        #expect(try help("--help") == text && help("-h") == text)
        let group = try help("layer")
        #expect(
            group.contains(
                "Usage:  prog layer COMMAND\n\nManage layers\n\nCommands:\n  mount       Mount a layer\n"
            )
        )
        #expect(try help("layer --help") == group)
    }

    @Test("-h is a flag of run, help elsewhere; an earlier error goes first")
    func shorthand() throws {
        #expect(try Sample.parse("run -h web img").string("hostname") == "web")
        #expect(try help("ps -h") == help("ps --help"))
        #expect(throws: UsageError.self) { try help("ps --nope --help") }
        #expect(try help("ps --help --nope").hasPrefix("Usage:  prog ps"))
    }

    @Test("--version")
    func version() throws {
        for flag in ["--version", "-v"] {
            guard case .version = try Sample.program.interpret([Word(flag)]) else {
                Issue.record("\(flag) is not the version")
                continue
            }
        }
    }
}
