// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Fixed work that no driver has a part in: how fast the machine itself was while it measured.
///
/// The same machine may be half as fast an hour later, as a guest beside busy neighbours or by its temperature; without
/// these, that would look like better or worse drivers.
package enum Yardstick: String, CaseIterable, Sendable {
    case computing
    case files
    case programs

    /// What is done, after “for”.
    package var title: String {
        switch self {
        case .computing: "computing"
        case .files: "making and removing \(Yardsticks.files) files"
        case .programs: "starting \(Yardsticks.programs) programs"
        }
    }
}

/// Applies the yardsticks, in a directory of its own on the file system that is measured.
struct Yardsticks {
    fileprivate static let files = 100
    fileprivate static let programs = 3
    private static let steps = 1 << 22
    private let directory: FilePath
    private let program: FilePath

    init(in scratch: FilePath) throws {
        directory = scratch.appending("yardstick")
        program = directory.appending("true")
        try doing("write \(program)") { [directory, program] in
            try Files.makeDirectory(directory)
            try Files.replace(program, with: TrueProgram.file, mode: 0o755, durable: false)
        }
    }

    /// Takes a sample of each; what cannot be done here, like starting a program where none may be, is left out.
    func measure(into samples: inout [Yardstick: [Sample]]) {
        for yardstick in Yardstick.allCases {
            let start = Meter.now()
            do { try apply(yardstick) } catch { continue }
            samples[yardstick, default: []].append(Sample(value: Meter.now() - start))
        }
    }

    private func apply(_ yardstick: Yardstick) throws {
        switch yardstick {
        case .computing:
            var state = UInt64(Meter.now())
            for _ in 0..<Self.steps {
                state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            }
            // Without a use, however rare, nothing would be computed.
            if state == 0 { sched_yield() }
        case .files:
            let root = try Files.openDirectory(directory)
            do {
                try FileWork(root.raw, files: Self.files).create()
            } catch {
                // A full disk is not full for ever.
                try? Files.removeTree(FileWork.directory, below: root.raw)
                throw error
            }
            try Files.removeTree(FileWork.directory, below: root.raw)
        case .programs:
            for _ in 0..<Self.programs { _ = try Program([program.string])() }
        }
    }
}
