// SPDX-License-Identifier: Apache-2.0

/// What a header of type `S` says of the file's holes.
struct OldSparseMap {
    let regions: [(offset: Int64?, length: Int64?)]
    let continues: Bool
    let size: Int64?

    init(_ header: TarHeader) {
        regions = header.sparseRegions(isContinuation: false)
        continues = header.sparseContinues(isContinuation: false)
        size = header.sparseSize
    }
}

extension TarMembers {
    /// Type `S`: the map lies in the header and in blocks behind it that do not count as data.
    func readOldSparse(_ member: inout TarMember, _ map: OldSparseMap) throws {
        guard let size = map.size, size >= 0 else { throw refused("malformed size of a sparse file") }
        var regions = try map.regions.map(region)
        var continues = map.continues
        while continues {
            let block = TarHeader(try data(TarHeader.size))
            let more = block.sparseRegions(isContinuation: true)
            // A block without regions that says there are more would go on for ever.
            if more.isEmpty { throw refused("empty block in a sparse map") }
            regions += try more.map(region)
            if regions.count > limits.sparseRegions {
                throw refused("more than \(limits.sparseRegions) sparse regions")
            }
            continues = block.sparseContinues(isContinuation: true)
            passMapBlock()
        }
        try settle(&member, regions, size: size)
    }

    /// PAX: the map lies in the records (0.0, 0.1) or before the data (1.0).
    func readPaxSparse(_ member: inout TarMember, _ sparse: PaxRecords.Sparse) throws {
        switch (sparse.major ?? 0, sparse.minor ?? 0) {
        case (0, 0), (0, 1):
            guard sparse.count == nil || sparse.count == Int64(sparse.map.count / 2),
                sparse.map.count % 2 == 0
            else {
                throw refused("sparse map of a wrong length")
            }
            try settle(&member, try pairs(sparse.map), size: sparse.size ?? member.size)
        case (1, 0):
            guard let size = sparse.size else { throw refused("sparse file without a size") }
            try settle(&member, try pairs(try readMapData()), size: size)
        case (let major, let minor):
            throw refused("unknown sparse format \(major).\(minor)")
        }
    }

    /// Decimal numbers, one a line, the count of regions first, padded to a whole block.
    private func readMapData() throws -> [Int64] {
        var numbers: [Int64] = []
        var expected = 1
        var line: [UInt8] = []
        while numbers.count < expected {
            guard dataLeft >= Int64(TarHeader.size) else { throw refused("truncated sparse map") }
            let block = try data(TarHeader.size)
            for byte in block where numbers.count < expected {
                if byte != UInt8(ascii: "\n") {
                    line.append(byte)
                    if line.count > 20 { throw refused("malformed sparse map") }
                    continue
                }
                guard let number = line.withUnsafeBytes(PaxRecords.decimal) else {
                    throw refused("malformed sparse map")
                }
                line.removeAll(keepingCapacity: true)
                if numbers.isEmpty {
                    guard number <= Int64(limits.sparseRegions) else {
                        throw refused("more than \(limits.sparseRegions) sparse regions")
                    }
                    expected += 2 * Int(number)
                }
                numbers.append(number)
            }
            passData(TarHeader.size)
        }
        return Array(numbers.dropFirst())
    }

    private func pairs(_ numbers: [Int64]) throws -> [SparseRegion] {
        try stride(from: 0, to: numbers.count, by: 2).map { try region((numbers[$0], numbers[$0 + 1])) }
    }

    private func region(_ pair: (offset: Int64?, length: Int64?)) throws -> SparseRegion {
        guard let offset = pair.offset, let length = pair.length, offset >= 0, length >= 0,
            !offset.addingReportingOverflow(length).overflow
        else { throw refused("malformed sparse map") }
        return SparseRegion(offset: offset, length: length)
    }

    /// The regions must be in order, lie in the file, and be what the data holds.
    private func settle(_ member: inout TarMember, _ regions: [SparseRegion], size: Int64) throws {
        var end: Int64 = 0
        var total: Int64 = 0
        for region in regions {
            guard region.offset >= end, region.end <= size else {
                throw refused("sparse map outside the file")
            }
            end = region.end
            total += region.length  // no overflow: the regions do not overlap and end within an Int64
        }
        guard total == dataLeft else {
            throw refused("sparse map of \(total) bytes over data of \(dataLeft)")
        }
        member.size = size
        member.regions = regions.filter { $0.length > 0 }
    }
}
