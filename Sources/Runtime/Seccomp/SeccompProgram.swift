// SPDX-License-Identifier: Apache-2.0

import CLinux
import CSeccomp
import Glibc
import JSON
import LinuxSys
package import SystemPackage

/// A compiled filter: instructions (`sock_filter`) as the kernel takes them.
package struct SeccompProgram: Sendable, Equatable {
    package let instructions: [UInt8]
    /// A set of `SECCOMP_FILTER_FLAG_*`.
    package let flags: UInt32

    /// Compiles `profile`, or takes what an earlier run compiled and kept in `cache` (a directory, made if missing).
    ///
    /// A file of the cache is named by a digest of what is compiled and of this compiler's version; only the owner may
    /// write the directory, so what lies there is ours.
    package static func make(
        _ profile: SeccompProfile,
        cache: FilePath?
    ) throws(RuntimeError) -> SeccompProgram {
        let flags = try flags(of: profile)
        guard let cache else { return SeccompProgram(instructions: try compile(profile), flags: flags) }
        let file = cache.appending(name(of: profile))
        if let kept = try? Files.contents(file, limit: 1 << 20), !kept.isEmpty, kept.count % 8 == 0 {
            return SeccompProgram(instructions: kept, flags: flags)
        }
        let instructions = try compile(profile)
        // A cache that cannot be written costs time, nothing else.
        try? Files.makeDirectories(cache)
        try? Files.replace(file, with: instructions, durable: false)
        return SeccompProgram(instructions: instructions, flags: flags)
    }

    /// Changes when the same profile would be compiled to something else.
    private static let version = 2

    private static func name(of profile: SeccompProfile) -> String {
        if let capabilities = profile.standard, profile.architectures.isEmpty {
            return "seccomp-default-\(version)-\(String(capabilities.rawValue, radix: 16))"
        }
        var hash = FNV()
        hash.add("\(version)")
        hash.add(profile.defaultAction.value)
        for text in profile.architectures { hash.add(text) }
        for rule in profile.rules {
            hash.add(rule.action.value)
            for name in rule.names { hash.add(name) }
            for compare in rule.compares {
                hash.add(compare.index)
                hash.add(UInt32(bitPattern: compare.operation.rawValue))
                hash.add("\(compare.value) \(compare.second)")
            }
        }
        return "seccomp-\(hash.text)"
    }

    private static func flags(of profile: SeccompProfile) throws(RuntimeError) -> UInt32 {
        var flags: UInt32 = 0
        for name in profile.flags {
            switch name {
            case "SECCOMP_FILTER_FLAG_LOG": flags |= 2
            case "SECCOMP_FILTER_FLAG_SPEC_ALLOW": flags |= 4
            // One thread is all there is when the filter is loaded.
            case "SECCOMP_FILTER_FLAG_TSYNC": break
            default: throw RuntimeError(.unsupported, "seccomp flag \(name) is not known")
            }
        }
        return flags
    }
}

/// Two FNV-1a hashes side by side, 128 bits: names files of a directory that only their owner can write.
private struct FNV {
    private var low: UInt64 = 0xCBF2_9CE4_8422_2325
    private var high: UInt64 = 0x6C62_272E_07BB_0142

    mutating func add(_ text: String) {
        for byte in text.utf8 { add(byte) }
        add(0 as UInt8)
    }

    mutating func add(_ number: UInt32) {
        for shift in stride(from: 0, to: 32, by: 8) {
            add(UInt8(truncatingIfNeeded: number >> UInt32(shift)))
        }
    }

    private mutating func add(_ byte: UInt8) {
        low = (low ^ UInt64(byte)) &* 0x100_0000_01B3
        high = (high ^ UInt64(byte)) &* 0x100_0000_01B3 &+ low.byteSwapped
    }

    var text: String { String(low, radix: 16) + "-" + String(high, radix: 16) }
}
