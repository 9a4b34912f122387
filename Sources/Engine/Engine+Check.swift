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
        for index in findings.indices {
            if let remedy = try remedy(findings[index]) { findings[index].detail += "; \(remedy)" }
        }
        return StoreFindings(layers: findings, images: blobs)
    }

    /// What helps where a repair does not.
    private func remedy(_ finding: CheckFinding) throws -> String? {
        guard finding.problem.isDamage, !finding.isRepaired, let id = finding.layer,
            let layer = try? layers.layer(id)
        else { return nil }
        switch layer.kind {
        case .container:
            let owner = try containers.all { ($0.layer, $0.name) }.first { $0.0 == id }
            return owner.map { "it cannot be made again: strata rm \($0.1)" }
        case .plain: return "it cannot be made again: strata layer rm \(id)"
        case .`init`: return nil
        case .image:
            guard finding.isBeyondRepair, let chainID = layer.chainID else { return nil }
            return try remedy(forImagesWith: chainID)
        }
    }

    /// Loading an image does not replace its layers, so it has to go first, and before it whatever stands on it.
    private func remedy(forImagesWith chainID: Digest) throws -> String {
        var (users, names): ([String], [String]) = ([], [])
        for image in try images.images()
        where try images.layers(of: image.id).contains(where: { $0.chainID == chainID }) {
            users += try containers.using(image: "\(image.id)").map(\.name)
            let references = try images.references(of: image.id).map(\.familiar)
            names += references.isEmpty ? [image.shortID] : references
        }
        if names.isEmpty { return "strata system prune" }
        let first = users.isEmpty ? "" : "strata rm -f \(users.joined(separator: " ")); "
        return first + "strata rmi \(names.joined(separator: " ")); then load it again"
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
