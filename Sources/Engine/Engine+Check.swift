// SPDX-License-Identifier: Apache-2.0

package import Images
import LayerDiff
package import LayerStore
import Storage

/// What `system check` found.
package struct StoreFindings: Sendable {
    package var layers: [CheckFinding]
    package var images: [ImageProblem]

    /// How many are still there; what a killed command left is swept by the next one, and what cannot be compared is not
    /// known to be wrong.
    package var problemCount: Int {
        layers.count { !$0.isRepaired && $0.problem != .unnamedData && $0.problem != .unverifiable }
            + images.count { !$0.isRepaired }
    }
}

extension Engine {
    /// Rows against disk, every blob against its digest, and every layer against its content.
    package func check(isRepairing: Bool) throws -> StoreFindings {
        // First, so that no layer is mended from a damaged blob.
        let blobs = try images.check(repair: isRepairing) { Interruption.isRequested }
        var findings = try layers.check(
            isRepairing: isRepairing,
            cancelled: { Interruption.isRequested },
            initEntries: InitLayer.entries(over:),
            source: storedLayer
        )
        for index in findings.indices where findings[index].isDamage {
            if let remedy = try remedy(findings[index], isLast: isRepairing) {
                findings[index].detail += "; \(remedy)"
            }
        }
        return StoreFindings(layers: findings, images: blobs)
    }

    /// What helps where a repair does not, or did not.
    private func remedy(_ finding: CheckFinding, isLast: Bool) throws -> String? {
        guard let id = finding.layer, let layer = try? layers.layer(id) else { return nil }
        switch layer.kind {
        case .container:
            let owner = try containers.all { ($0.layer, $0.name) }.first { $0.0 == id }
            return owner.map { "it cannot be made again: strata rm \($0.1)" }
        case .plain: return "it cannot be made again: strata layer rm \(id)"
        case .`init`: return nil
        case .image:
            guard isLast, let chainID = layer.chainID else { return nil }
            let users = try images.images().filter { image in
                try images.layers(of: image.id).contains { $0.chainID == chainID }
            }
            let names = users.map(\.shortID).joined(separator: " ")
            return users.isEmpty
                ? "strata system prune" : "strata rmi \(names), and load or build what it was again"
        }
    }

    /// The layer's blob, if there is one.
    private func storedLayer(_ diffID: Digest) throws -> LayerStream? {
        guard let record = try images.blobs.records(ofLayer: diffID).first else { return nil }
        var options = LayerStreamOptions(label: "layer \(diffID)")
        options.expectedBlobDigest = record.digest
        options.expectedDiffID = diffID
        let file = try images.blobs.open(record)
        return try LayerStream(source: FileRegion(file, offset: 0, length: record.size), options: options)
    }
}
