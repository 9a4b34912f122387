// SPDX-License-Identifier: Apache-2.0

import LayerDiff
import LinuxSys
import Storage
import TestGates
import Testing

/// A layer written over its parent's copy and one written alone under an overlay mount give the same tree.
@Suite(.requires(.root, .overlay))
struct TreeApplierEquivalenceTests {
    private static let base: [TreeItem] = [
        .directory("d", mode: 0o1777), .file("d/x", "x"), .file("d/y", "y"), .directory("d/s", mode: 0o700),
        .file("d/s/deep", "deep"), .file("f", "f", owner: (7, 8)), .symlink("l", to: "d"), .directory("e"),
        .file("e/z"),
    ]

    /// Layers that say the same thing in different orders, or something odd.
    private static let layers: [(name: String, items: [TreeItem])] = [
        ("nothing", []),
        ("implied directory", [.file("d/new", "new")]),
        ("implied directory that no one has", [.file("q/r/s", "s")]),
        ("opaque first", [.directory("d"), .entry("d", .opaque), .file("d/new")]),
        ("opaque last", [.directory("d"), .file("d/new"), .entry("d", .opaque)]),
        ("opaque over a later child", [.file("d/s/kept"), .entry("d", .opaque), .file("d/s/more")]),
        ("opaque of the root", [.entry("", .opaque), .file("only")]),
        ("opaque of nothing", [.entry("none", .opaque)]),
        ("whiteout", [.entry("d/x", .whiteout), .entry("e", .whiteout)]),
        ("whiteout of a missing path", [.entry("none/none", .whiteout)]),
        ("whiteout then file", [.entry("f", .whiteout), .file("f", "again")]),
        ("file then whiteout", [.file("f", "again"), .entry("f", .whiteout)]),
        ("whiteout then directory", [.entry("d", .whiteout), .directory("d"), .file("d/new")]),
        ("directory then whiteout", [.directory("d"), .file("d/new"), .entry("d", .whiteout)]),
        ("implied directory then whiteout", [.file("d/s/new"), .entry("d", .whiteout)]),
        ("whiteout then implied directory", [.entry("d", .whiteout), .file("d/s/new")]),
        ("whiteout through a lower symlink", [.entry("l/x", .whiteout)]),
        ("file for directory", [.file("d", "file")]),
        ("file for directory and back", [.file("d", "file"), .directory("d"), .file("d/new")]),
        ("directory for file", [.directory("f"), .file("f/new")]),
        ("write through a lower symlink", [.file("l/x", "new")]),
        ("write through an own symlink", [.symlink("k", to: "d"), .file("k/x", "new")]),
        ("write through a symlink to outside", [.symlink("k", to: "/tmp"), .file("k/strata-escape", "no")]),
        ("write below a file", [.file("f/below", "new")]),
        ("link to own", [.file("n", "n"), .link("m", to: "n")]),
        ("link before its target", [.link("m", to: "n"), .file("n", "n")]),
        ("link to lower", [.link("m", to: "d/s/deep")]),
        ("link to a lower symlink", [.link("m", to: "l")]),
        ("links to links", [.link("m", to: "o"), .link("o", to: "f")]),
        ("link to nothing", [.link("m", to: "none")]),
        ("link to a directory", [.directory("n"), .link("m", to: "n")]),
        ("link to a lower directory", [.link("m", to: "d")]),
        ("link to what is hidden", [.entry("f", .whiteout), .link("m", to: "f")]),
        ("link to what will be hidden", [.link("m", to: "d/s/deep"), .directory("d"), .entry("d", .opaque)]),
        ("link then another entry", [.link("m", to: "f"), .file("m", "other")]),
        ("link in place of a directory, then through it", [.link("d", to: "f"), .file("d/new")]),
        ("link to itself", [.file("n"), .link("n", to: "n")]),
        ("link to below itself", [.file("n/o"), .link("n", to: "n/o")]),
        ("link through a symlink", [.link("m", to: "l/x")]),
        (
            "metadata of a directory",
            [.entry("d", .directory, mode: 0o2750, owner: (3, 4), [ExtendedAttribute("user.a", "1")])]
        ),
        (
            "twice",
            [
                .entry("d", .directory, [ExtendedAttribute("user.a", "1")]), .directory("d", time: -5),
                .file("d/x", "2"),
            ]
        ),
        ("root", [.directory("", mode: 0o711)]),
        ("device 0/0", [.entry("f", .characterDevice(DeviceNumber(major: 0, minor: 0)))]),
    ]

    @Test(arguments: layers.indices)
    func sameTree(_ index: Int) throws {
        let layer = Self.layers[index]
        let both = try BothForms()
        #expect(try both.add(Self.base) == (nil, nil))
        let refused = try both.add(layer.items)
        #expect(refused.whole?.code == refused.layer?.code, "\(layer.name): \(refused)")
        #expect(try both.differences().map(\.description) == [], "\(layer.name)")
    }

    @Test(arguments: 0..<40)
    func sameTreeOfRandomLayers(_ seed: Int) throws {
        var generator = SeededGenerator(seed: UInt64(seed))
        let both = try BothForms()
        for number in 0..<4 {
            let items = TreeItem.randomLayer(withLinks: number == 3, using: &generator)
            let refused = try both.add(items)
            let text = "seed \(seed), layer \(number): \(items.map { "\($0.entry.path) \($0.entry.kind)" })"
            #expect(refused.whole?.code == refused.layer?.code, "\(text) \(refused)")
            let found = try both.differences().map(\.description)
            #expect(found == [], "\(text)")
            if refused.whole != nil { return }
        }
    }
}

extension Change {
    var description: String { "\(kind) \(path)" }
}

private func == (left: (whole: StorageError?, layer: StorageError?), right: (String?, String?)) -> Bool {
    left.whole?.message == right.0 && left.layer?.message == right.1
}
