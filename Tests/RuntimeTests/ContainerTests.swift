// SPDX-License-Identifier: Apache-2.0

import CLinux
import Glibc
import Launch
import LinuxSys
import Runtime
import SystemPackage
import TestGates
import Testing

@Suite(.requires(.root, .program("busybox")))
struct ContainerTests {
    let root: BusyboxRoot

    init() throws { root = try BusyboxRoot() }

    @Test func runsAProgram() throws {
        #expect(try root.run("echo hello; exit 3") == .init(code: 3, output: "hello\n"))
    }
}
