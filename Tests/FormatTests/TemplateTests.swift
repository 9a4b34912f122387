// SPDX-License-Identifier: Apache-2.0

import Format
import JSON
import Testing

@Suite("Templates")
struct TemplateTests {
    private static let value: JSON = [
        "ID": "abc", "Names": "web", "Size": 12, "Running": true, "None": nil, "Empty": [],
        "State": ["Status": "running", "Pid": 42], "Mounts": [["Source": "/a"], ["Source": "/b"]],
        "Config": ["Labels": ["x": "1", "b.c": "2"], "Cmd": ["sh", "-c"]],
    ]

    @Test(
        "give what Go gives",
        arguments: [
            ("{{.ID}}", "abc"), ("a {{ .ID }} b", "a abc b"), ("{{.State.Status}}", "running"),
            ("plain", "plain"),
            ("{{json .Config.Labels}}", #"{"x":"1","b.c":"2"}"#), ("{{json .}}", value.text),
            ("{{.None}}", "<no value>"),
            ("{{index .Config.Labels \"b.c\"}}", "2"), ("[{{index .Config.Labels \"no\"}}]", "[]"),
            ("{{index .Config.Cmd 1}}", "-c"), ("{{(index .Mounts 1).Source}}", "/b"),
            ("{{index .Mounts 0 \"Source\"}}", "/a"),
            ("{{len .Mounts}} {{len .ID}}", "2 3"), ("{{join .Config.Cmd \",\"}}", "sh,-c"),
            ("{{upper .ID}}", "ABC"),
            ("{{.ID | upper | lower}}", "abc"), ("{{.Config.Cmd | json}}", "[\"sh\",\"-c\"]"),
            ("{{range .Mounts}}{{.Source}};{{end}}", "/a;/b;"),
            ("{{range .Empty}}x{{else}}none{{end}}", "none"),
            ("{{range $k, $v := .Config.Labels}}{{$k}}={{$v}} {{end}}", "b.c=2 x=1 "),
            ("{{range $i, $m := .Mounts}}{{$i}}{{$m.Source}}{{$.ID}} {{end}}", "0/aabc 1/babc "),
            ("{{range $m := .Mounts}}{{$m.Source}}{{end}}", "/a/b"), ("{{range 3}}{{.}}{{end}}", "012"),
            ("{{range .Mounts}}{{.Source}}{{break}}{{end}}", "/a"),
            ("{{range $i, $m := .Mounts}}{{if eq $i 0}}{{continue}}{{end}}{{.Source}}{{end}}", "/b"),
            ("{{if .Running}}up{{else}}down{{end}}", "up"),
            ("{{if .None}}a{{else if .ID}}b{{else}}c{{end}}", "b"),
            ("{{if .Empty}}a{{end}}", ""), ("{{if not .Empty}}a{{end}}", "a"),
            ("{{with .State}}{{.Pid}}{{end}}{{with .None}}x{{else}}y{{end}}", "42y"),
            ("{{$x := .ID}}{{$x}}{{$x = \"z\"}}{{$x}}", "abcz"), ("{{if true}}{{$y := 1}}{{$y}}{{end}}", "1"),
            (
                "{{eq .ID \"abc\"}} {{ne .Size 12}} {{lt .Size 13}} {{ge .Size 13}} {{eq .Size 1 12}}",
                "true false true false true"
            ),
            ("{{and .Running .ID}} {{or .None .ID}} {{and .None .Nothing}}", "abc abc <no value>"),
            ("{{print \"a\" 1 2 \"b\"}}{{println .ID 1}}", "a1 2babc 1\n"),
            (
                "{{printf \"%-5s|%3d|%q|%05d|%.1f|%%\" .ID .Size .ID .Size 2.55}}",
                "abc  | 12|\"abc\"|00012|2.5|%"
            ),
            ("{{.Config.Cmd}} {{.State}}", "[sh -c] map[Pid:42 Status:running]"),
            ("{{title \"ab cd\"}}", "Ab Cd"),
            ("{{truncate .ID 2}}{{pad .ID 1 2}}|{{split \"a,b\" \",\"}}", "ab abc  |[a b]"),
            ("{{slice .ID 1 2}}", "b"),
            (#"{{.ID}}\t{{.Names}}\n"#, "abc\tweb\n"), (#"{{"a\tb"}}{{`\t`}}"#, "a\tb\\t"),
            ("{{/* note */}}x", "x"),
            ("a  {{- .ID -}}  b", "aabcb"), ("{{\"}}\"}}", "}}"), ("{{print (len .ID) -1}}", "3 -1"),
            ("", ""),
        ] as [(String, String)]
    )
    func rendering(template: String, expected: String) throws {
        #expect(try Template(template).render(Self.value) == expected)
    }

    @Test(
        "that are malformed are refused",
        arguments: [
            ("{{.ID", ":1: unclosed action"), ("a\n{{.ID", ":2: unclosed action"),
            ("{{if .ID}}x", ":1: unexpected EOF"),
            ("{{end}}", ":1: unexpected {{end}}"), ("{{foo .ID}}", ":1: function \"foo\" not defined"),
            ("{{}}", ":1: missing value for command"), ("{{.ID | }}", ":1: missing value for command"),
            ("{{\"x}}", ":1: unterminated quoted string"), ("{{$x}}", ":1: undefined variable \"$x\""),
            ("{{(.ID}}", ":1: unclosed left paren"), ("{{if}}{{end}}", ":1: missing value for if"),
            ("{{break}}", ":1: {{break}} outside {{range}}"), ("{{/* x", ":1: unclosed comment"),
            ("{{if true}}{{$y := 1}}{{end}}{{$y}}", ":1: undefined variable \"$y\""),
            ("{{range .Mounts}}{{else}}{{else}}{{end}}", ":1: expected end; found {{else}}"),
            ("{{.ID)}}", ":1: unexpected \")\" in command"), ("{{1.}}", ":1: bad number syntax: \"1.\""),
            ("{{.ID | 3}}", ":1: non executable command in pipeline stage 2"),
            ("{{#}}", ":1: unexpected \"#\" in command"),
        ] as [(String, String)]
    )
    func malformed(template: String, message: String) {
        #expect(throws: TemplateError(message: message)) { try Template(template) }
    }

    @Test(
        "that ask for what is not there fail, naming it",
        arguments: [
            ("{{.Foo}}", ":1:2: executing \"\" at <.Foo>: map has no entry for key \"Foo\""),
            ("x\n {{.State.Foo}}", ":2:3: executing \"\" at <.State.Foo>: map has no entry for key \"Foo\""),
            ("{{.ID.Foo}}", ":1:2: executing \"\" at <.ID.Foo>: can't evaluate field Foo in type string"),
            ("{{.None.Foo}}", ":1:2: executing \"\" at <.None.Foo>: nil pointer evaluating interface {}.Foo"),
            ("{{range .ID}}{{end}}", ":1:8: executing \"\" at <.ID>: range can't iterate over abc"),
            ("{{len 3}}", ":1:2: executing \"\" at <len>: error calling len: len of type number"),
            (
                "{{index .Mounts 9}}",
                ":1:2: executing \"\" at <index>: error calling index: index out of range: 9"
            ),
            ("{{upper 3}}", ":1:2: executing \"\" at <upper>: error calling upper: expected string; found 3"),
            ("{{.ID .Size}}", ":1:2: executing \"\" at <.ID>: can't give argument to non-function .ID"),
            (
                "{{eq .ID 3}}",
                ":1:2: executing \"\" at <eq>: error calling eq: incompatible types for comparison"
            ),
            (
                "{{join .ID}}",
                ":1:2: executing \"\" at <join>: error calling join: wrong number of args: want 2 got 1"
            ),
            ("{{or}}", ":1:2: executing \"\" at <or>: wrong number of args for or: want at least 1 got 0"),
        ] as [(String, String)]
    )
    func failing(template: String, message: String) throws {
        let template = try Template(template)
        let error = try #require(throws: TemplateError.self) { try template.render(Self.value) }
        #expect(error.message == message)
        #expect("\(error)" == "template parsing error: template: \(message)")
    }

    @Test("nested without end do not exhaust the stack")
    func nesting() {
        let parentheses = "{{" + String(repeating: "(", count: 10_000) + "}}"
        let ifs = String(repeating: "{{if 1}}", count: 10_000)
        let elses = "{{if 1}}" + String(repeating: "{{else if 1}}", count: 10_000) + "{{end}}"
        for text in [parentheses, ifs, elses] {
            #expect(throws: TemplateError(message: ":1: nested too deeply")) { try Template(text) }
        }
    }
}
