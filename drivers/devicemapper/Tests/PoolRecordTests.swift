// SPDX-License-Identifier: Apache-2.0

import Storage
import SystemPackage
import Testing

@testable import DeviceMapperDriver

@Suite
struct PoolRecordTests {
    @Test(
        arguments: [
            ("10g", 10 << 30), ("64K", 64 << 10), ("512MiB", 512 << 20), ("3", 3), ("1tb", 1 << 40),
        ] as [(String, Int64)]
    )
    func sizesAreRead(_ text: String, _ bytes: Int64) {
        #expect(OptionValue.bytes(text) == bytes)
    }

    @Test(arguments: ["", "g", "1.5g", "-1", "9999999999t", "1 g", "٣"])
    func badSizesAreNot(_ text: String) {
        #expect(OptionValue.bytes(text) == nil)
    }

    @Test func optionsAreTaken() throws {
        let options = try PoolOptions([
            "dm.basesize": "20g", "dm.blocksize": "128k", "dm.fs": "xfs", "dm.min_free_space": "5%",
            "dm.datadev": "/dev/a", "dm.metadatadev": "/dev/b",
        ])
        #expect(options.baseSize == 20 << 30)
        #expect(options.blockSectors == 256)
        #expect(options.fileSystem == .xfs)
        #expect(options.minimumFree == .percent(5))
        #expect(options.backing == .devices(data: "/dev/a", metadata: "/dev/b"))
    }

    @Test(arguments: [
        ["dm.loop": "x"], ["dm.changes": "x"], ["dm.basesize": "1k"], ["dm.blocksize": "100k"],
        ["dm.fs": "btrfs"],
        ["dm.min_free_space": "95%"], ["dm.datadev": "/dev/a"], ["dm.metadatadev": "/dev/a"],
        ["dm.thinpooldev": "pool"], ["dm.thinpooldev": "/dev/a", "dm.datadev": "/dev/b"],
        ["dm.datadev": "/dev/a b"],
    ])
    func badOptionsAreRefused(_ options: [String: String]) {
        let error = #expect(throws: StorageError.self) { try PoolOptions(options) }
        #expect(error?.code == .invalid)
        #expect(error?.remedy != nil)
    }

    @Test func optionsMustFitThePool() throws {
        let record = Self.record
        try record.check(PoolOptions([:]))
        try record.check(PoolOptions(["dm.basesize": "10g", "dm.blocksize": "64k", "dm.fs": "ext4"]))
        for options in [
            ["dm.basesize": "11g"], ["dm.blocksize": "128k"], ["dm.fs": "xfs"], ["dm.thinpooldev": "/dev/x"],
        ] {
            #expect(throws: StorageError.self) { try record.check(PoolOptions(options)) }
        }
    }

    private static let record = PoolRecord(
        id: "abcdefgh",
        backing: .files,
        blockSectors: 128,
        dataSize: 1 << 34,
        metadataSize: 1 << 24,
        fileSystem: .ext4,
        baseSectors: 10 << 21
    )

    @Test func recordsAreReadAsWritten() {
        var record = Self.record
        #expect(PoolRecord(record.bytes) == record)
        record.backing = .devices(data: "/dev/a", metadata: "/dev/b")
        record.baseUUID = UUIDText.random()
        #expect(PoolRecord(record.bytes) == record)
        record.backing = .pool("/dev/mapper/p")
        #expect(PoolRecord(record.bytes) == record)
        #expect(PoolRecord(Array(record.bytes.dropFirst())) == nil)
        #expect(PoolRecord([]) == nil)
        let layer = LayerRecord(device: 7, sectors: 100, state: .sealed, origin: 3)
        #expect(LayerRecord(layer.bytes) == layer)
        #expect(LayerRecord(record.bytes) == nil)
    }

    // MARK: - Intents

    @Test(arguments: [Intent.Operation.none, .create(layer: "abcdefgh")])
    func intentsAreReadAsWritten(_ operation: Intent.Operation) {
        var intent = Intent(transaction: 12, operation: operation, device: 5, nextDevice: 6)
        #expect(Intent(intent.bytes) == intent)
        (intent.hasWrapped, intent.isDone) = (true, true)
        #expect(intent.bytes.count == Intent.size)
        #expect(Intent(intent.bytes) == intent)
        var damaged = intent.bytes
        for index in [0, 20, 100, 510] {
            damaged[index] ^= 1
            #expect(Intent(damaged) == nil)
            damaged[index] ^= 1
        }
        #expect(Intent([UInt8](repeating: 0, count: Intent.size)) == nil)
    }

    @Test func intentsOfTheFirstFormAreRefused() {
        var body = Array(Intent(transaction: 7).bytes.dropLast(4))
        #expect(body[14] == UInt8(ascii: "2"))
        body[14] = UInt8(ascii: "1")
        withUnsafeBytes(of: CRC32C.of(body).littleEndian) { body += $0 }
        #expect(Intent(body) == nil)
    }

    @Test func anIntentKnowsHowFarItCame() {
        var intent = Intent(transaction: 5, operation: .create(layer: "abcdefgh"), device: 1, nextDevice: 2)
        #expect([4, 5, 6, 7].map(intent.standing) == [.setBack, .open, .closed, .ahead])
        // Once it is done, the transaction it began in is a moment of the past.
        intent.isDone = true
        #expect([4, 5, 6, 7].map(intent.standing) == [.setBack, .setBack, .closed, .ahead])
        let error = #expect(throws: StorageError.self) { try intent.check(5, "pool") }
        #expect(error?.code == .corrupt && error?.message.contains("layer abcdefgh") == true)
        #expect([4, 5, 6].map(Intent(transaction: 5).standing) == [.setBack, .closed, .ahead])
    }

    @Test func deviceNumbersWrapAndLeaveOutTheBase() {
        #expect(DeviceIDs.next(after: 1) == 2)
        #expect(DeviceIDs.next(after: DeviceIDs.last) == 1)
        let last = Intent(transaction: 1, nextDevice: DeviceIDs.last)
        let wrapped = last.followed(by: .create(layer: "abcdefgh"), device: DeviceIDs.last, transaction: 1)
        #expect(!last.hasWrapped && wrapped.hasWrapped && wrapped.nextDevice == 1)
        #expect(wrapped.followed(by: .none, device: 7, transaction: 2).hasWrapped)
    }

    @Test func freeNumbersAreFoundUntilNoneIsLeft() {
        #expect(DeviceIDs.free(from: 3, taken: []) == 3)
        #expect(DeviceIDs.free(from: 3, taken: [0, 3, 4], last: 5) == 5)
        #expect(DeviceIDs.free(from: 4, taken: [0, 1, 4, 5], last: 5) == 2)
        #expect(DeviceIDs.free(from: 2, taken: [0, 1, 2, 3, 4, 5], last: 5) == nil)
    }

    @Test func checksumsAreCastagnolis() {
        #expect(CRC32C.of(Array("123456789".utf8)) == 0xE306_9283)
    }

    // MARK: - Status and sizes

    @Test func statusIsRead() throws {
        let status = try #require(
            PoolStatus("10 438/4096 84/262144 - rw discard_passdown error_if_no_space - 1024 ")
        )
        #expect(status.transaction == 10)
        #expect(status.usedMetadata == 438 && status.totalMetadata == 4096)
        #expect(status.usedData == 84 && status.totalData == 262_144)
        #expect(status.mode == .readWrite && !status.needsCheck)
        let bad = try #require(
            PoolStatus("3 1/2 2/2 77 out_of_data_space no_discard_passdown error_if_no_space needs_check 1")
        )
        #expect(bad.mode == .outOfData && bad.needsCheck && !bad.waitsWhenFull)
        let waiting = "0 10/1024 0/1024 - rw discard_passdown queue_if_no_space - 1024"
        #expect(PoolStatus(waiting)?.waitsWhenFull == true)
        #expect(PoolStatus("Fail")?.mode == nil)
        for line in ["", "1 2", "1 3/2 0/1 - rw", "x 1/2 0/1 - rw", "1 1/2 0/1 - odd"] {
            #expect(PoolStatus(line) == nil)
        }
    }

    @Test func sizesFit() throws {
        let sizes = PoolSizes(PoolOptions())
        #expect(sizes.data >= Int64(sizes.baseSectors) * 512)
        #expect(sizes.data % (Int64(sizes.blockSectors) * 512) == 0)
        #expect(PoolSizes.grown(100, used: 90, need: 50, floor: .percent(10)) == 200)
        #expect(PoolSizes.grown(100, used: 90, need: 0, floor: .percent(90)) == 1600)
        #expect(PoolNeed(bytes: 1 << 20, blockSize: 1 << 16).data >= 1 << 20)
        let large = PoolSizes(try PoolOptions(["dm.basesize": "64t"]))
        #expect(PoolSizes(PoolOptions(), disk: 40 << 30).data == 40 << 30)
        #expect(PoolSizes(PoolOptions(), disk: 40 << 40).data == 1 << 40)
        #expect(large.data > 64 << 40 && large.metadata == PoolSizes.largestMetadata)
    }
}
