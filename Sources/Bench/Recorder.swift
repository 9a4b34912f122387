// SPDX-License-Identifier: Apache-2.0

/// Takes the samples of one pass.
final class Recorder {
    private(set) var samples: [(figure: String, sample: Sample)] = []

    func record(_ figure: String, _ sample: Sample) { samples.append((figure, sample)) }

    func time(_ figure: String, _ meter: Meter, _ body: () throws -> Void) throws {
        record(figure, try meter.sample(body))
    }
}

/// A piece of work that yields samples of several figures.
struct Pass: Sendable {
    /// What progress shows.
    let title: String
    /// The share of the time that all passes together may take.
    let weight: Double
    let figures: [String]
    let run: @Sendable (Bed, Workload, Recorder) throws -> Void
}

/// How much is done in each pass.
package struct Workload: Sendable {
    /// Small files made, looked at and removed.
    var files: Int
    /// Files of the image changed and deleted.
    var lowerFiles: Int
    /// Bytes of the large file.
    var largeBytes: Int
    /// 4 KiB operations at random places.
    var operations: Int
    /// Of those that find nothing in the page cache.
    var cold: Int
    /// Of those that wait for the disk, one by one.
    var synced: Int
    /// Containers started at once.
    var containers: Int
    /// Changes of the container that is compared and committed.
    var changes: Int

    static let whole = Workload(
        files: 2000,
        lowerFiles: 200,
        largeBytes: 64 << 20,
        operations: 8192,
        cold: 1024,
        synced: 64,
        containers: 50,
        changes: 1200
    )
    static let quick = Workload(
        files: 500,
        lowerFiles: 100,
        largeBytes: 24 << 20,
        operations: 2048,
        cold: 256,
        synced: 16,
        containers: 20,
        changes: 400
    )
}
