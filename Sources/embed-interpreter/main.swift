// SPDX-License-Identifier: Apache-2.0

import Glibc

/// Build tool: `embed-interpreter OUTPUT.swift INCLUDES FILE.c...` compiles a freestanding static program and writes
/// its bytes as Swift source.
func fail(_ message: String) -> Never {
    let line = Array("embed-interpreter: \(message)\n".utf8)
    _ = write(STDERR_FILENO, line, line.count)
    exit(1)
}

let flags = [
    "-std=c11", "-Wall", "-Wextra", "-Werror", "-ffreestanding", "-fno-builtin", "-nostdlib", "-static",
    "-fno-stack-protector", "-fno-pic", "-fno-asynchronous-unwind-tables", "-Os",
    "-Wl,--build-id=none", "-Wl,-z,noexecstack", "-s",
]

/// The first C compiler on PATH.
func compiler() -> String {
    let path = getenv("PATH").map { String(cString: $0) } ?? "/usr/local/bin:/usr/bin:/bin"
    for name in ["clang", "gcc", "cc"] {
        for directory in path.split(separator: ":") where access("\(directory)/\(name)", X_OK) == 0 {
            return "\(directory)/\(name)"
        }
    }
    fail("no C compiler (clang, gcc or cc) on PATH")
}

func run(_ arguments: [String]) {
    var pointers: [UnsafeMutablePointer<CChar>?] = arguments.map { strdup($0) }
    pointers.append(nil)
    var pid = pid_t()
    let error = posix_spawn(&pid, arguments[0], nil, nil, pointers, environ)
    if error != 0 { fail("\(arguments[0]): \(String(cString: strerror(error)))") }
    var status: CInt = 0
    while waitpid(pid, &status, 0) == -1 && errno == EINTR {}
    if status != 0 { fail("\(arguments.joined(separator: " ")): wait status \(status)") }
}

func contents(of path: String) -> [UInt8] {
    guard let file = fopen(path, "rb") else { fail("\(path): \(String(cString: strerror(errno)))") }
    defer { fclose(file) }
    var bytes: [UInt8] = []
    var buffer = [UInt8](repeating: 0, count: 65536)
    while true {
        let count = fread(&buffer, 1, buffer.count, file)
        if count == 0 { return bytes }
        bytes.append(contentsOf: buffer[..<count])
    }
}

/// Little-endian words: an array literal of them is data, not code, in a release build.
func source(for bytes: [UInt8]) -> String {
    var text = "// Made by embed-interpreter; do not edit.\n\nenum InterpreterImage {\n"
    text += "    static let size = \(bytes.count)\n    static let words: [UInt64] = [\n"
    for start in stride(from: 0, to: bytes.count, by: 8) {
        var word: UInt64 = 0
        for (index, byte) in bytes[start..<min(start + 8, bytes.count)].enumerated() {
            word |= UInt64(byte) << UInt64(8 * index)
        }
        text += "0x\(String(word, radix: 16)),"
        text += start % 64 == 56 ? "\n" : ""
    }
    return text + "\n    ]\n}\n"
}

let arguments = CommandLine.arguments
guard arguments.count > 3 else { fail("usage: embed-interpreter OUTPUT.swift INCLUDES FILE.c...") }
let program = arguments[1] + ".elf"
run([compiler()] + flags + ["-I", arguments[2], "-o", program] + arguments[3...])
let text = source(for: contents(of: program))
guard let file = fopen(arguments[1], "wb") else {
    fail("\(arguments[1]): \(String(cString: strerror(errno)))")
}
fputs(text, file)
if fclose(file) != 0 { fail("\(arguments[1]): \(String(cString: strerror(errno)))") }
