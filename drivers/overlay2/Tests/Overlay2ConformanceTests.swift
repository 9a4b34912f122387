// SPDX-License-Identifier: Apache-2.0

import DriverConformance
import Overlay
import Overlay2Driver
import TestGates
import Testing

@Suite(.requires(.root, .overlay, .deviceNodes))
struct Overlay2ConformanceTests {
    private static func subject(_ method: OverlayMount.Method) throws -> ConformanceSubject {
        let directory = try TemporaryDirectory()
        let escapes = try OverlayProbe(in: directory.path).escapes
        return ConformanceSubject(
            "overlay2 by \(method)",
            departures: escapes ? .overlay : [.overlay, .overlayAttributes]
        ) { home in
            try Overlay2Driver(home: home, options: [Overlay2Driver.mountOption: method.rawValue])
        }
    }

    @Test(
        .requires(
            .other(
                "layers by descriptor",
                unmet: {
                    OverlayMount.method == .descriptors ? nil : "the kernel takes overlay layers by name only"
                }
            )
        ),
        arguments: ConformanceCase.all
    )
    func byDescriptors(_ testCase: ConformanceCase) throws {
        try testCase.run(on: Self.subject(.descriptors))
    }

    @Test(arguments: ConformanceCase.all)
    func byNames(_ testCase: ConformanceCase) throws {
        try testCase.run(on: Self.subject(.names))
    }
}
