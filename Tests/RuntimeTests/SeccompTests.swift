// SPDX-License-Identifier: Apache-2.0

import Glibc
import JSON
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

struct SeccompTests {
    /// Runs a filter as the kernel would: only the instructions that filters use.
    private func run(
        _ program: [UInt8],
        _ architecture: UInt32,
        _ number: UInt32,
        _ arguments: [UInt64]
    ) -> UInt32 {
        var data = [UInt32](repeating: 0, count: 16)
        data[0] = number
        data[1] = architecture
        for (index, value) in arguments.enumerated() {
            data[4 + 2 * index] = UInt32(truncatingIfNeeded: value)
            data[5 + 2 * index] = UInt32(truncatingIfNeeded: value >> 32)
        }
        var accumulator: UInt32 = 0
        var at = 0
        while at < program.count / 8 {
            let (code, ifTrue, ifFalse, value) = program.withUnsafeBytes {
                (
                    $0.load(fromByteOffset: at * 8, as: UInt16.self), Int($0[at * 8 + 2]),
                    Int($0[at * 8 + 3]),
                    $0.load(fromByteOffset: at * 8 + 4, as: UInt32.self)
                )
            }
            at += 1
            switch code {
            case 0x20: accumulator = data[Int(value / 4)]
            case 0x54: accumulator &= value
            case 0x05: at += Int(value)
            case 0x15: at += accumulator == value ? ifTrue : ifFalse
            case 0x25: at += accumulator > value ? ifTrue : ifFalse
            case 0x35: at += accumulator >= value ? ifTrue : ifFalse
            case 0x06: return value
            default:
                Issue.record("instruction \(code)")
                return 0
            }
        }
        Issue.record("ran off the end")
        return 0
    }

    @Test(.requires(.path("/usr/lib/x86_64-linux-gnu/libseccomp.so.2")))
    func rangesSayWhatTheLibrarySays() throws {
        let administrator = CapabilitySet.containerDefault.union(CapabilitySet(name: "SYS_ADMIN") ?? [])
        for capabilities in [CapabilitySet.containerDefault, [], administrator, .all] {
            let profile = SeccompProfile.containerDefault(capabilities)
            let ranges = try SeccompProgram.make(profile, cache: nil).instructions
            let library = try SeccompProgram.compileWithLibrary(profile)
            #expect(ranges.count < library.count / 2)
            for architecture: UInt32 in [0xC000_003E, 0x4000_0003] {
                for number in UInt32(0)..<600 {
                    for first: UInt64 in [
                        0, 2, 8, 16, 37, 38, 39, 40, 41, 45, 46, 0x1_0000_0026, 0x1000_0000, 0x20008,
                        0xFFFF_FFFF,
                    ] {
                        let ours = run(ranges, architecture, number, [first])
                        let theirs = run(library, architecture, number, [first])
                        if ours != theirs {
                            Issue.record(
                                "\(number)(\(first)) on \(String(architecture, radix: 16)): \(ours), \(theirs)"
                            )
                            return
                        }
                    }
                }
            }
            #expect(run(ranges, 0x1234, 0, []) == 0x8000_0000)
        }
    }

    @Test func defaultProfile() throws {
        let program = try SeccompProgram.make(.containerDefault(.containerDefault), cache: nil).instructions
        let native: UInt32 = 0xC000_003E
        let allow: UInt32 = 0x7FFF_0000
        let refused: UInt32 = 0x0005_0001
        #if arch(x86_64)
        #expect(run(program, native, 0, []) == allow)  // read
        #expect(run(program, native, 165, []) == refused)  // mount
        #expect(run(program, native, 272, []) == refused)  // unshare
        #expect(run(program, native, 161, []) == allow)  // chroot: CAP_SYS_CHROOT is a default one
        #expect(run(program, native, 56, [0x0001_0F00]) == allow)  // clone of a thread
        #expect(run(program, native, 56, [0x1000_0000]) == refused)  // clone with a user namespace
        #expect(run(program, native, 435, []) == 0x0005_0026)  // clone3: ENOSYS
        #expect(run(program, native, 41, [38]) == refused)  // socket AF_ALG
        #expect(run(program, native, 41, [40]) == refused)  // socket AF_VSOCK
        #expect(run(program, native, 41, [0x1_0000_0026]) == refused)  // AF_ALG to the kernel
        #expect(run(program, native, 452, []) == allow)  // fchmodat2, younger than the library
        #expect(run(program, native, 500, []) == 0x0005_0026)  // of the future: ENOSYS
        #endif
    }

    @Test func cacheIsUsedAndTrustedOnlyByName() throws {
        let directory = try TemporaryDirectory()
        let cache = directory.appending("cache")
        let profile = SeccompProfile.containerDefault(.containerDefault)
        let made = try SeccompProgram.make(profile, cache: cache)
        let listing = try Files.openDirectory(cache)
        #expect(try Files.list(listing.raw).count == 1)
        #expect(try SeccompProgram.make(profile, cache: cache) == made)
        _ = try SeccompProgram.make(.containerDefault([]), cache: cache)
        #expect(try Files.list(listing.raw).count == 2)
    }

    @Test func dockersFormIsRead() throws {
        let text = """
            {"defaultAction": "SCMP_ACT_ALLOW", "archMap": [], "syscalls": [
              {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 13,
               "excludes": {"caps": ["CAP_SYS_ADMIN"]}},
              {"name": "chroot", "action": "SCMP_ACT_KILL", "includes": {"caps": ["CAP_SYS_CHROOT"]},
               "args": [{"index": 0, "value": 7, "valueTwo": 0, "op": "SCMP_CMP_EQ"}]}]}
            """
        let profile = try SeccompProfile(JSON.parse(text), capabilities: [])
        #expect(profile.rules == [SeccompRule(["mkdir", "mkdirat"], .errno(13))])
        let program = try SeccompProgram.make(profile, cache: nil).instructions
        #if arch(x86_64)
        #expect(run(program, 0xC000_003E, 83, []) == 0x0005_000D)
        #expect(run(program, 0xC000_003E, 0, []) == 0x7FFF_0000)
        #endif
        let whole = try SeccompProfile(JSON.parse(text))
        #expect(whole.rules.map(\.names) == [["chroot"]])
        #expect(try SeccompProfile(whole.json) == whole)
        for bad in [
            #"{"syscalls": []}"#, #"{"defaultAction": "X"}"#,
            #"{"defaultAction":"SCMP_ACT_ALLOW","syscalls":[{}]}"#,
        ] {
            #expect(throws: RuntimeError.self) { try SeccompProfile(JSON.parse(bad)) }
        }
    }
}
