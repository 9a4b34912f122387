// SPDX-License-Identifier: Apache-2.0

/// Text in double quotes, as Go's `strconv.Quote` writes it and Docker's listings show it: on one line, whatever is in it.
package func quoted(_ text: String) -> String {
    if text.utf8.allSatisfy({ (0x20..<0x7F).contains($0) && $0 != 0x22 && $0 != 0x5C }) {
        return "\"\(text)\""
    }
    var result = "\""
    for scalar in text.unicodeScalars {
        switch scalar {
        case "\"", "\\": result += "\\\(scalar)"
        case "\u{07}": result += "\\a"
        case "\u{08}": result += "\\b"
        case "\u{0C}": result += "\\f"
        case "\n": result += "\\n"
        case "\r": result += "\\r"
        case "\t": result += "\\t"
        case "\u{0B}": result += "\\v"
        case _ where isPrintable(scalar): result.unicodeScalars.append(scalar)
        default: result += escape(scalar)
        }
    }
    return result + "\""
}

private func escape(_ scalar: Unicode.Scalar) -> String {
    let digits = String(scalar.value, radix: 16)
    let (letter, width) =
        switch scalar.value {
        case ..<0x80: ("x", 2)
        case ..<0x10000: ("u", 4)
        default: ("U", 8)
        }
    return "\\\(letter)\(String(repeating: "0", count: width - digits.utf8.count))\(digits)"
}

/// As `unicode.IsPrint`: of white space only the space itself.
private func isPrintable(_ scalar: Unicode.Scalar) -> Bool {
    switch scalar.properties.generalCategory {
    case .control, .format, .surrogate, .privateUse, .unassigned, .lineSeparator, .paragraphSeparator: false
    case .spaceSeparator: scalar == " "
    default: true
    }
}
