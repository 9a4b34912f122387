// SPDX-License-Identifier: Apache-2.0

import Format
import JSON
import Testing

@Suite("Listings")
struct ListingTests {
    private let listing = Listing(
        headers: [("ID", "CONTAINER ID"), ("Names", "NAMES"), ("Size", "SIZE")],
        shown: ["ID", "Names"],
        identity: "ID"
    )
    private let rows: [JSON] = [
        ["ID": "0123456789ab", "Names": "web", "Size": "1MB"],
        ["ID": "c", "Names": "datenbank", "Size": "2B"],
    ]

    @Test("tables are aligned as Docker aligns them")
    func table() throws {
        let expected = """
            CONTAINER ID   NAMES
            0123456789ab   web
            c              datenbank

            """
        #expect(try listing.text(rows, format: nil) == expected)
        #expect(try listing.text(rows, format: "table") == expected)
        #expect(try listing.text([], format: nil) == "CONTAINER ID   NAMES\n")
        #expect(
            try listing.text(rows, format: nil, shown: ["Size", "ID"]) == """
                SIZE      CONTAINER ID
                1MB       0123456789ab
                2B        c

                """
        )
    }

    @Test(
        "a table of fields that are made on demand is the one that objects give",
        arguments: ["plain", "größer als zehn Zeichen", "", "with\ttab", "two\nlines"]
    )
    func fields(cell: String) throws {
        let rows = ["a", cell, "a name of more than ten"]
        let objects = rows.map { JSON.object(["ID": .string($0), "Names": .string($0 + $0)]) }
        let text = try listing.text(rows, format: nil) { name in
            { .string(name == "ID" ? $0 : $0 + $0) }
        }
        #expect(try listing.text(objects, format: nil) == text)
    }

    @Test("own tables have the headers of their fields")
    func ownTable() throws {
        #expect(
            try listing.text(rows, format: #"table {{upper .Names}}\t{{json .Size}}"#) == """
                NAMES       SIZE
                WEB         "1MB"
                DATENBANK   "2B"

                """
        )
    }

    @Test("json, templates and ids")
    func others() throws {
        #expect(try listing.text(rows, format: "json") == rows.map { $0.text + "\n" }.joined())
        #expect(try listing.text(rows, format: "{{.Names}}") == "web\ndatenbank\n")
        #expect(try listing.text(rows, format: nil, quiet: true) == "0123456789ab\nc\n")
        #expect(try listing.text(rows, format: "{{.Names}}", quiet: true) == "web\ndatenbank\n")
        #expect(throws: TemplateError.self) { try listing.text(rows, format: "table {{.Nope}}") }
    }

    @Test("columns are runs of neighbouring lines, as in Go's tabwriter")
    func columns() {
        let text = "a\tb\tc\naaaaaaaaaaaa\tb\nplain\nx\ty\tz"
        #expect(
            Columns.align(text, minimum: 0, padding: 1) == """
                a            b c
                aaaaaaaaaaaa b
                plain
                x y z
                """
        )
        #expect(Columns.align("ä\tx\nab\ty", minimum: 0, padding: 1) == "ä  x\nab y")
    }
}

@Test(
    "Text is quoted as Go does it",
    arguments: [
        ("/bin/true", #""/bin/true""#), ("a\nb\tc\r\u{7}\u{8}\u{B}\u{C}", #""a\nb\tc\r\a\b\v\f""#),
        (#"say "x" \ y"#, #""say \"x\" \\ y""#), ("\u{1B}[31m\u{7F}", #""\x1b[31m\x7f""#),
        ("ä…漢", #""ä…漢""#), ("\u{A0}\u{202E}\u{E0001}", #""\u00a0\u202e\U000e0001""#),
    ]
)
func quotedText(_ text: String, _ expected: String) {
    #expect(quoted(text) == expected)
}

@Suite("Sizes and times for people")
struct HumanTests {
    @Test(
        "decimal sizes",
        arguments: [
            (0, 3, "0B"), (999, 3, "999B"), (1000, 3, "1kB"), (12_345_678, 3, "12.3MB"),
            (12_345_678, 4, "12.35MB"),
            (999_999, 3, "1MB"), (4_860_000, 3, "4.86MB"), (1_500_000_000, 4, "1.5GB"), (100_000, 3, "100kB"),
            (.max, 4, "9.223EB"), (-2000, 3, "-2kB"), (1, 3, "1B"),
        ] as [(Int64, Int, String)]
    )
    func sizes(bytes: Int64, digits: Int, expected: String) {
        #expect(Human.size(bytes, digits: digits) == expected)
    }

    @Test(
        "binary sizes",
        arguments: [
            (512 << 20, "512MiB"), (1536, "1.5KiB"), (1 << 30, "1GiB"), (1000, "1000B"),
            ((1 << 20) - 1, "1MiB"),
        ] as [(Int64, String)]
    )
    func binarySizes(bytes: Int64, expected: String) { #expect(Human.binarySize(bytes) == expected) }

    @Test(
        "durations",
        arguments: [
            (0, "Less than a second"), (1, "1 second"), (59, "59 seconds"), (60, "About a minute"),
            (119, "About a minute"),
            (120, "2 minutes"), (3599, "59 minutes"), (3600, "About an hour"), (5400, "2 hours"),
            (47 * 3600, "47 hours"),
            (48 * 3600, "2 days"), (13 * 86400, "13 days"), (14 * 86400, "2 weeks"), (60 * 86400, "2 months"),
            (730 * 86400, "2 years"), (-5, "Less than a second"),
        ] as [(Int64, String)]
    )
    func durations(seconds: Int64, expected: String) {
        #expect(Human.duration(seconds: seconds) == expected)
        #expect(Human.ago(seconds: seconds) == expected + " ago")
    }
}
