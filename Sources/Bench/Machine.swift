// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import SystemPackage

/// The machine on which figures were measured; they mean nothing without it.
package struct Machine: Hashable, Sendable {
    package var kernel: String
    package var processor: String
    package var processors: Int
    /// Bytes.
    package var memory: Int64
    /// Where the stores lay.
    package var directory: String
    package var fileSystem: String
    /// Whether files there can share their blocks, so that a copy costs no space.
    package var sharesBlocks: Bool

    init(directory: FilePath, fileSystem: String, sharesBlocks: Bool) {
        var system = utsname()
        uname(&system)
        kernel = withUnsafeBytes(of: &system.release) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        processor = Self.processorName() ?? "unknown processor"
        processors = Int(sysconf(CInt(_SC_NPROCESSORS_ONLN)))
        memory = Int64(sysconf(CInt(_SC_PHYS_PAGES)) * sysconf(CInt(_SC_PAGESIZE)))
        self.directory = directory.printable
        self.fileSystem = fileSystem
        self.sharesBlocks = sharesBlocks
    }

    package init(
        kernel: String,
        processor: String,
        processors: Int,
        memory: Int64,
        directory: String,
        fileSystem: String,
        sharesBlocks: Bool = false
    ) {
        self.kernel = kernel
        self.processor = processor
        self.processors = processors
        self.memory = memory
        self.directory = directory
        self.fileSystem = fileSystem
        self.sharesBlocks = sharesBlocks
    }

    private static func processorName() -> String? {
        guard let bytes = try? Files.contents("/proc/cpuinfo", limit: 8 << 20) else { return nil }
        for line in String(decoding: bytes, as: UTF8.self).split(separator: "\n") {
            let parts = line.split(separator: ":", maxSplits: 1)
            guard parts.count == 2, parts[0].hasPrefix("model name") else { continue }
            return String(parts[1].drop { $0 == " " })
        }
        return nil
    }
}
