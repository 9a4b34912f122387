// SPDX-License-Identifier: Apache-2.0

import Format
import JSON

/// What `inspect` verbs print: an array of objects, or a template for each.
enum Inspection {
    static func print(_ names: [String], format: String?, _ look: (String) throws -> JSON) throws -> Int32 {
        var found: [JSON] = []
        let status = forEach(names) { found.append(try look($0)) }
        guard let format, format != "json" else {
            Console.output.write(JSON.array(found).bytes(pretty: format == nil) + [UInt8(ascii: "\n")])
            return status
        }
        for object in found { Console.output.write(try text(object, format: format)) }
        return status
    }

    static func text(_ object: JSON, format: String) throws -> String {
        if format == "json" { return object.text + "\n" }
        return try Template(format).render(object) + "\n"
    }
}
