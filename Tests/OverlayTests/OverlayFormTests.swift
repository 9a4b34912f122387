// SPDX-License-Identifier: Apache-2.0

import LinuxSys
import Overlay
import Storage
import TestGates
import Testing

@Suite struct OverlayFormTests {
    private let form = OverlayForm(kernelEscapes: { true })

    private func attribute(_ name: String, _ value: String = "v") -> ExtendedAttribute {
        ExtendedAttribute(name: Array(name.utf8), value: Array(value.utf8))
    }

    @Test(arguments: [
        ("user.overlay.opaque", "user.overlay.overlay.opaque"),
        ("user.overlay.overlay.opaque", "user.overlay.overlay.overlay.opaque"),
        ("user.overlay.overlay.", "user.overlay.overlay.overlay."),
        ("user.overlay", "user.overlay"),
        ("user.other", "user.other"),
        ("trusted.overlay.opaque", "trusted.overlay.opaque"),
        ("security.capability", "security.capability"),
    ])
    func escapesAndUnescapes(_ seen: String, _ onDisk: String) throws {
        #expect(try form.stored([attribute(seen)]) == [attribute(onDisk)])
        #expect(form.visible([attribute(onDisk)]) == [attribute(seen)])
        #expect(form.shows(Array(onDisk.utf8)[...]))
    }

    @Test func ownMarksAreNotVisible() {
        let marks = ["opaque", "origin", "impure", "uuid", "nlink", "redirect", "metacopy", "whiteout"]
        #expect(form.visible(marks.map { attribute("user.overlay.\($0)") }).isEmpty)
        for mark in marks { #expect(!form.shows(Array("user.overlay.\(mark)".utf8)[...])) }
    }

    @Test func keepsOrderAfterRenaming() throws {
        let seen = [attribute("user.overlay.z"), attribute("user.overlaz")]
        #expect(
            try form.stored(seen)
                == seen.map {
                    $0.name.last == 122 && $0 != seen[1] ? attribute("user.overlay.overlay.z") : $0
                }
        )
        let mixed = [
            attribute("user.overlay.overlay.a"), attribute("user.overlay.overlay.z"), attribute("user.x"),
        ]
        let visible = form.visible(mixed)
        #expect(visible == visible.sorted())
    }

    @Test func refusesWhatTheKernelWouldHide() throws {
        let old = OverlayForm(kernelEscapes: { false })
        #expect(try old.stored([attribute("user.x")]) == [attribute("user.x")])
        #expect(throws: FormRefusal.self) { try old.stored([attribute("user.overlay.x")]) }
        #expect(throws: FormRefusal.self) { try form.stored([attribute("user.overlay.")]) }
    }

    @Suite(.requires(.root, .deviceNodes))
    struct Marks {
        private let form = OverlayForm(kernelEscapes: { true })

        @Test func marksAreRecognised() throws {
            let directory = try TemporaryDirectory()
            try form.makeWhiteout("gone", below: directory.fd)
            #expect(try Files.status("gone", below: directory.fd)?.isWhiteoutDevice == true)
            #expect(try form.isOpaque(directory.fd) == false)
            try form.makeOpaque(directory.fd)
            #expect(try form.isOpaque(directory.fd))
            #expect(try form.attributes(of: directory.fd).isEmpty)
            #expect(try ExtendedAttributes.read(of: directory.fd).count == 2)
        }
    }
}
