// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Overlay
import Storage
import SystemPackage
import TestGates
import Testing

@Suite(.requires(.root, .overlay))
struct OverlayMountTests {
    private let scratch: TemporaryDirectory

    init() throws {
        scratch = try TemporaryDirectory()
        for name in ["layers", "layers/upper", "work", "work/upper", "empty"] {
            try Files.makeDirectory(name, below: scratch.fd, mode: 0o755)
        }
    }

    private static let methods: [OverlayMount.Method] =
        OverlayMount.method == .descriptors ? [.descriptors, .names] : [.names]

    /// `count` layers with one file each, and a file `common` that says which one is seen.
    private func layers(_ count: Int) throws -> [String] {
        let layers = try Files.openDirectory("layers", below: scratch.fd)
        return try (0..<count).map { index in
            let digits = String(index)
            let name = "layer" + String(repeating: "a", count: 3 - digits.count) + digits
            try Files.makeDirectory(name, below: layers.raw, mode: 0o755)
            let layer = try Files.openDirectory(name, below: layers.raw)
            for (file, text) in [("file\(index)", "\(index)"), ("common", "\(index)")] {
                let file = try Files.open(file, below: layer.raw, O_WRONLY | O_CREAT | O_EXCL, mode: 0o644)
                try Files.writeAll(Array(text.utf8), to: file.raw)
            }
            return name
        }
    }

    /// Whether it stands in the mount table, in which others may come and go.
    private func isInMountTable(_ root: CInt) throws -> Bool {
        let device = try Files.status(of: root).device
        let table = try Files.contents("/proc/self/mountinfo", limit: 16 << 20)
        return String(decoding: table, as: UTF8.self).contains(" \(device.major):\(device.minor) ")
    }

    @Test(arguments: methods, [1, 2, 128, 400])
    func mountsWritable(_ method: OverlayMount.Method, _ depth: Int) throws {
        let names = try layers(depth)
        let mount = OverlayMount(
            directory: scratch.appending("layers"),
            parents: names,
            upper: ("upper", "../work/upper"),
            empty: "../empty"
        )
        let root = try mount.make(method)
        #expect(try !isInMountTable(root.raw))
        #expect(try Files.contents("common", below: root.raw) == Array("\(depth - 1)".utf8))
        #expect(try Files.list(root.raw).count == depth + 1)
        #expect(try Files.contents("file0", below: root.raw) == Array("0".utf8))
        let file = try Files.open("new", below: root.raw, O_WRONLY | O_CREAT, mode: 0o644)
        try Files.writeAll([1, 2, 3], to: file.raw)
        let upper = try Files.openDirectory("layers/upper", below: scratch.fd)
        #expect(try Files.contents("new", below: upper.raw) == [1, 2, 3])
    }

    @Test(arguments: methods, [1, 2, 400])
    func mountsReadOnly(_ method: OverlayMount.Method, _ depth: Int) throws {
        let names = try layers(depth)
        let directory = scratch.appending("layers")
        let root = try OverlayMount(directory: directory, parents: names, empty: "../empty").make(method)
        #expect(try Files.list(root.raw).count == depth + 1)
        #expect { _ = try Files.open("new", below: root.raw, O_WRONLY | O_CREAT) } throws: { error in
            (error as? SystemError)?.errno == .readOnlyFileSystem
        }
    }

    /// The marks of a lone layer must count as well: nothing may show through as a device 0/0.
    @Test(arguments: methods)
    func loneLayerIsHonoured(_ method: OverlayMount.Method) throws {
        let name = try layers(1)[0]
        let form = OverlayForm(kernelEscapes: { true })
        let layer = try Files.openDirectory("layers/" + name, below: scratch.fd)
        try form.makeWhiteout("gone", below: layer.raw)
        let directory = scratch.appending("layers")
        let root = try OverlayMount(directory: directory, parents: [name], empty: "../empty").make(method)
        #expect(try Files.status("gone", below: root.raw) == nil)
        #expect(try Files.status("common", below: root.raw) != nil)
    }

    @Test func refusesWhatDoesNotFit() throws {
        let names = (0..<600).map { "abcde" + String($0 + 200) }
        let mount = OverlayMount(directory: scratch.appending("layers"), parents: names, empty: "../empty")
        for method in OverlayMount.Method.allCases {
            #expect { _ = try mount.make(method) } throws: { ($0 as? StorageError)?.code == .unsupported }
        }
    }

    @Test(arguments: methods)
    func failureIsToldByItsErrno(_ method: OverlayMount.Method) throws {
        let mount = OverlayMount(
            directory: scratch.appending("layers"),
            parents: ["missing"],
            empty: "../empty"
        )
        #expect { _ = try mount.make(method) } throws: {
            ($0 as? SystemError)?.errno == .noSuchFileOrDirectory
        }
    }

    @Test(arguments: methods)
    func probeFindsWhatTheKernelDoes(_ method: OverlayMount.Method) throws {
        try Files.makeDirectory("probe", below: scratch.fd)
        let probe = try OverlayProbe(in: scratch.appending("probe"), method: method)
        #expect(probe.method == method)
        var kernel = utsname()
        uname(&kernel)
        let release = withUnsafeBytes(of: kernel.release) {
            String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self)
        }
        let numbers = release.split(separator: ".").prefix(2).compactMap { Int($0) }
        #expect(probe.escapes == (numbers.count == 2 && (numbers[0], numbers[1]) >= (6, 7)))
    }
}
