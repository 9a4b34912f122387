// SPDX-License-Identifier: Apache-2.0

import Command
import Engine
import StoreRoot
import SystemPackage

/// What a verb does with the store.
enum Access {
    case read
    case write
}

extension Parsed {
    /// The engine that the flags before the verb describe.
    func engine(_ access: Access, durable: Bool = true) throws -> Engine {
        var options = Engine.Options()
        options.root = globals.word("root").map { FilePath($0.bytes) }
        options.runRoot = globals.word("run-root").map { FilePath($0.bytes) }
        options.driver = globals.string("storage-driver")
        for option in globals.pairs("storage-opt") { options.driverOptions[option.key] = option.value }
        options.isDurable = durable
        options.warn = { Console.errors.write("WARNING: \($0)\n") }
        let engine = try Engine(options, access: access == .read ? .read : .write)
        // Its database and descriptors are the kernel's to close, which is quicker at it.
        _ = Unmanaged.passRetained(engine)
        return engine
    }
}

extension FilePath {
    /// A path as it was given, byte for byte.
    init(_ bytes: [UInt8]) {
        let terminated = bytes.map { CChar(bitPattern: $0) } + [0]
        self = terminated.withUnsafeBufferPointer { buffer in
            buffer.baseAddress.map { FilePath(platformString: $0) } ?? ""
        }
    }
}

/// Does one thing for each of several names; a failure is told and the others go on, as Docker does.
///
/// - Returns: 1 if any failed.
func forEach(_ names: [String], _ body: (String) throws -> Void) -> Int32 {
    var status: Int32 = 0
    for name in names {
        do {
            try body(name)
        } catch {
            Console.errors.write("Error: \(error)\n")
            status = 1
        }
    }
    return status
}
