// SPDX-License-Identifier: Apache-2.0

package import JSON

/// A listing of things that are JSON objects, printed as `--format` and `--quiet` ask.
package struct Listing: Sendable {
    /// The fields that templates may name, each with its header.
    private let headers: [(field: String, header: String)]
    /// The fields of the default table, in order.
    private let shown: [String]
    /// The field that `--quiet` prints.
    private let identity: String

    package init(headers: [(field: String, header: String)], shown: [String], identity: String) {
        self.headers = headers
        self.shown = shown
        self.identity = identity
    }

    /// The text to print.
    ///
    /// - Parameters:
    ///   - format: `nil` or `table`, `table TEMPLATE`, `json` (a line for each row) or a template for each row.
    ///   - shown: the columns of the default table, where they are not the usual ones.
    package func text(
        _ rows: [JSON],
        format: String?,
        quiet: Bool = false,
        shown: [String]? = nil
    ) throws(TemplateError) -> String {
        let format = format ?? "table"
        if format == "table" || format.isEmpty {
            if quiet { return try lines(rows, Template("{{.\(identity)}}")) }
            return try table(rows, (shown ?? self.shown).map { "{{.\($0)}}" }.joined(separator: "\t"))
        }
        if format == "json" { return rows.map { $0.text + "\n" }.joined() }
        if format.hasPrefix("table ") { return try table(rows, String(format.dropFirst("table ".count))) }
        return try lines(rows, Template(format))
    }

    /// The same for rows whose fields are made only when they are shown.
    ///
    /// The default table, which may have thousands of rows, is laid out without templates.
    ///
    /// - Parameter field: what gives the value of the field with this name; asked for once, however many rows there are.
    package func text<Row>(
        _ rows: [Row],
        format: String?,
        quiet: Bool = false,
        shown: [String]? = nil,
        field: (_ name: String) -> (_ row: Row) throws -> JSON
    ) throws -> String {
        guard (format ?? "").isEmpty || format == "table" else {
            let fields = headers.map { (name: $0.field, value: field($0.field)) }
            let objects = try rows.map { row in
                var object = JSONObject()
                for (name, value) in fields { object[name] = try value(row) }
                return JSON.object(object)
            }
            return try text(objects, format: format, quiet: quiet, shown: shown)
        }
        func shownText(_ value: JSON) -> String { value.string ?? value.text }
        if quiet {
            let value = field(identity)
            return try rows.map { shownText(try value($0)) + "\n" }.joined()
        }
        let columns = shown ?? self.shown
        let fields = columns.map(field)
        var table = Table(columns: columns.count)
        for name in columns { table.add(headers.first { $0.field == name }?.header ?? name) }
        for row in rows {
            for value in fields { table.add(shownText(try value(row))) }
        }
        return table.text
    }

    private func table(_ rows: [JSON], _ text: String) throws(TemplateError) -> String {
        let template = try Template(text)
        var names = JSONObject()
        for (field, header) in headers { names[field] = .string(header) }
        let header = try template.renderHeader(.object(names))
        return Columns.align(header + "\n" + (try lines(rows, template)))
    }

    private func lines(_ rows: [JSON], _ template: Template) throws(TemplateError) -> String {
        var text = ""
        for row in rows { text += try template.render(row) + "\n" }
        return text
    }
}
