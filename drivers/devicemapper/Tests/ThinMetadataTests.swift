// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage
import TestGates
import Testing

@testable import DeviceMapperDriver

/// Metadata that the tools of the kernel's authors made, read by ours.
@Suite(.requires(.program("thin_restore"), .program("thin_check")))
struct ThinMetadataTests {
    private let directory: TemporaryDirectory

    init() throws { directory = try TemporaryDirectory() }

    /// A pool of devices, each a list of (block, place in the pool).
    private func metadata(_ devices: [(id: Int, blocks: [(Int, Int)])]) throws -> DiskReader {
        var xml =
            #"<superblock uuid="" time="1" transaction="7" data_block_size="128" nr_data_blocks="1000000">"#
        for device in devices {
            xml += #"<device dev_id="\#(device.id)" mapped_blocks="\#(device.blocks.count)" transaction="0" "#
            xml += #"creation_time="0" snap_time="1">"#
            for (block, place) in device.blocks {
                xml += #"<single_mapping origin_block="\#(block)" data_block="\#(place)" time="0"/>"#
            }
            xml += "</device>"
        }
        xml += "</superblock>"
        let (source, target) = (directory.appending("xml"), directory.appending("metadata"))
        try Files.replace(source, with: Array(xml.utf8), durable: false)
        let file = try Files.open(target, O_RDWR | O_CREAT | O_TRUNC, mode: 0o600)
        try system("ftruncate") { ftruncate(file.raw, 16 << 20) }
        let program = try ExternalProgram("thin_restore", package: "thin-provisioning-tools")
        let (code, output) = try program.run(["-q", "-i", source.string, "-o", target.string])
        try #require(code == 0, "\(output)")
        return DiskReader(SharedFD(file))
    }

    @Test func devicesAreListed() throws {
        let reader = try ThinMetadata(metadata([(0, []), (5, [(0, 1)]), (0xFF_FFFF, [(3, 4)])]))
        #expect(reader.transaction == 7)
        #expect(reader.blockSectors == 128)
        #expect(try reader.devices() == [0, 5, 0xFF_FFFF])
    }

    @Test func differencesAreFound() throws {
        let reader = try ThinMetadata(
            metadata([(1, [(0, 10), (1, 11), (5, 12)]), (2, [(0, 10), (1, 20), (9, 21)]), (3, [])])
        )
        let difference = try reader.difference(of: 1, and: 2)
        #expect(difference.blocks == [1, 5, 9])
        #expect(difference.added == 2)
        #expect(try reader.difference(of: 1, and: 1).blocks.isEmpty)
        #expect(try reader.difference(of: 3, and: 1).blocks == [0, 1, 5])
        #expect(throws: DiskDamage.self) { try reader.difference(of: 1, and: 4) }
    }

    /// Trees of several levels, and of different heights.
    @Test func largeTreesAreCompared() throws {
        let many = (0..<60_000).map { ($0 * 3, $0 + 100) }
        var other = many
        for index in stride(from: 0, to: other.count, by: 1000) { other[index].1 = 70_000 + index }
        let reader = try ThinMetadata(metadata([(1, many), (2, other), (3, [(3, 101)])]))
        #expect(
            try reader.difference(of: 1, and: 2).blocks
                == stride(from: 0, to: 60_000, by: 1000).map { UInt64($0 * 3) }
        )
        #expect(try reader.difference(of: 3, and: 1).blocks.count == 59_999)
    }

    @Test func damageIsNoticed() throws {
        _ = try metadata([(1, (0..<1000).map { ($0, $0) })])
        let path = directory.appending("metadata")
        let bytes = try Files.contents(path)
        for seed in 0..<60 {
            var damaged = bytes
            // In the blocks that are used, which come first.
            damaged[(seed * 1009 + 13) % (64 * 4096)] ^= 0x40
            try Files.replace(path, with: damaged, durable: false)
            let reader = DiskReader(SharedFD(try Files.open(path, O_RDONLY)))
            do {
                let metadata = try ThinMetadata(reader)
                _ = try metadata.devices()
                #expect(try metadata.difference(of: 1, and: 1).blocks.isEmpty)
            } catch is DiskDamage {}
        }
        try Files.replace(path, with: [UInt8](repeating: 0, count: 1 << 20), durable: false)
        let empty = DiskReader(SharedFD(try Files.open(path, O_RDONLY)))
        #expect(throws: DiskDamage.self) { try ThinMetadata(empty) }
    }
}
