// SPDX-License-Identifier: Apache-2.0

import JSON

/// The members of one object of a specification, read with their types checked.
struct SpecFields {
    let object: JSONObject
    let path: String

    init(_ json: JSON, _ path: String) throws(RuntimeError) {
        guard let object = json.object else {
            throw RuntimeError(.invalid, "\(path) is not an object but \(json.typeName)")
        }
        self.object = object
        self.path = path
    }

    subscript(_ key: String) -> JSON? {
        guard let value = object[key], !value.isNull else { return nil }
        return value
    }

    func wrong(_ key: String, _ wanted: String) -> RuntimeError {
        RuntimeError(.invalid, "\(path).\(key) is not \(wanted)")
    }

    func missing(_ key: String) -> RuntimeError { RuntimeError(.invalid, "\(path) has no \(key)") }

    func string(_ key: String) throws(RuntimeError) -> String? {
        guard let value = self[key] else { return nil }
        guard let text = value.string else { throw wrong(key, "a string") }
        return text
    }

    func bool(_ key: String) throws(RuntimeError) -> Bool? {
        guard let value = self[key] else { return nil }
        guard let flag = value.bool else { throw wrong(key, "true or false") }
        return flag
    }

    func integer(_ key: String) throws(RuntimeError) -> Int64? {
        guard let value = self[key] else { return nil }
        guard let number = value.int64 else { throw wrong(key, "an integer") }
        return number
    }

    func natural(_ key: String) throws(RuntimeError) -> UInt64? {
        guard let value = self[key] else { return nil }
        guard let number = value.uint64 else { throw wrong(key, "a number from 0") }
        return number
    }

    func id(_ key: String) throws(RuntimeError) -> UInt32? {
        guard let value = self[key] else { return nil }
        guard let number = value.uint32 else { throw wrong(key, "a number of 32 bits") }
        return number
    }

    func array(_ key: String) throws(RuntimeError) -> [JSON] {
        guard let value = self[key] else { return [] }
        guard let elements = value.array else { throw wrong(key, "an array") }
        return elements
    }

    func strings(_ key: String) throws(RuntimeError) -> [String] {
        guard let value = self[key] else { return [] }
        guard let texts = value.strings else { throw wrong(key, "an array of strings") }
        return texts
    }

    func texts(_ key: String) throws(RuntimeError) -> [String: String] {
        guard let value = self[key] else { return [:] }
        guard let members = value.object else { throw wrong(key, "an object") }
        var result: [String: String] = [:]
        for member in members {
            guard let text = member.value.string else { throw wrong("\(key).\(member.key)", "a string") }
            result[member.key] = text
        }
        return result
    }

    func fields(_ key: String) throws(RuntimeError) -> SpecFields? {
        guard let value = self[key] else { return nil }
        return try SpecFields(value, "\(path).\(key)")
    }
}
