// SPDX-License-Identifier: Apache-2.0

/// A page of HTML that needs nothing else.
enum Page {
    static func document(_ title: String, _ body: String) -> String {
        """
        <!DOCTYPE html>
        <html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width">
        <title>\(title)</title><style>\(style)</style></head><body>
        <h1>\(title)</h1>
        \(body)
        </body></html>

        """
    }

    /// How many classes `c0`, `c1` … of colours there are.
    static let colors = 6

    private static let style = """
        body{font:15px/1.5 system-ui,sans-serif;margin:2rem auto;max-width:60rem;padding:0 1rem;color:#1b1f24;background:#fff}
        h1{font-size:1.6rem;margin-bottom:.2rem}h2{font-size:1.2rem;margin:2.5rem 0 .5rem;border-bottom:1px solid #d0d7de}
        h3{font-size:1rem;margin:1.4rem 0 0}p{margin:.2rem 0 .5rem}.note{color:#57606a}
        svg{display:block;width:100%;height:auto;margin:.3rem 0}text{font:13px system-ui,sans-serif;fill:#1b1f24}
        .value{fill:#57606a}.best{font-weight:600;fill:#1b1f24}.bar{fill:#9db7d5}.top{fill:#1f6feb}.range{stroke:#24292f;stroke-width:1.2}
        details{margin:.2rem 0 0}summary{cursor:pointer;color:#57606a}table{border-collapse:collapse;font-size:13px;margin:.4rem 0}
        td,th{padding:.15rem .8rem .15rem 0;text-align:right;border-bottom:1px solid #eaeef2}td:first-child,th:first-child{text-align:left}
        .grid{stroke:#eaeef2;stroke-width:1}.curve{stroke-width:2;fill:none!important}
        .c0{stroke:#1f6feb;fill:#1f6feb}.c1{stroke:#d1590b;fill:#d1590b}.c2{stroke:#1a7f37;fill:#1a7f37}
        .c3{stroke:#a371f7;fill:#a371f7}.c4{stroke:#cf222e;fill:#cf222e}.c5{stroke:#8a6d00;fill:#8a6d00}
        @media(prefers-color-scheme:dark){body{background:#0d1117;color:#e6edf3}h2{border-color:#30363d}text,.best{fill:#e6edf3}
        .grid{stroke:#21262d}.value{fill:#9198a1}.note,summary{color:#9198a1}.range{stroke:#e6edf3}.bar{fill:#38557a}.top{fill:#4493f8}td,th{border-color:#21262d}}
        """

    static func notMeasured(_ failures: [Report.Failure], _ isInterrupted: Bool) -> String {
        var lines = failures.map { "<li><b>\(escape($0.driver))</b>: \(escape($0.reason))</li>" }
        if isInterrupted { lines.append("<li>It was interrupted; the rest was not measured.</li>") }
        return lines.isEmpty ? "" : "<h2>Not measured</h2><ul>\(lines.joined())</ul>\n"
    }

    /// Text as HTML, in content and in attributes.
    static func escape(_ text: String) -> String {
        var result = ""
        for character in text.unicodeScalars {
            switch character {
            case "&": result += "&amp;"
            case "<": result += "&lt;"
            case ">": result += "&gt;"
            case "\"": result += "&quot;"
            default: result.unicodeScalars.append(character)
            }
        }
        return result
    }
}
