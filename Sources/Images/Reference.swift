// SPDX-License-Identifier: Apache-2.0

package import LayerDiff
import Storage

/// The name of an image, normalised as Docker does: `busybox` is `docker.io/library/busybox`.
///
/// A name alone means `:latest` only where `tagged` is asked for, because a digest may stand in its place.
package struct Reference: Hashable, Comparable, Sendable, CustomStringConvertible {
    /// Registry host, with port if there is one: `docker.io`, `localhost:5000`, `[::1]:5000`.
    package let domain: String
    /// Repository below the registry: `library/busybox`.
    package let path: String
    package let tag: String?
    package let digest: Digest?

    package init(domain: String, path: String, tag: String?, digest: Digest?) {
        self.domain = domain
        self.path = path
        self.tag = tag
        self.digest = digest
    }

    /// Repository with its registry: `docker.io/library/busybox`.
    package var repository: String { "\(domain)/\(path)" }

    /// The whole, canonical form; what the rows hold.
    package var description: String { repository + suffix }

    /// The short form that users type and see: without `docker.io/` and `library/`.
    package var familiar: String { familiarRepository + suffix }

    package var familiarRepository: String {
        guard domain == Self.defaultDomain else { return repository }
        let official = Self.officialPrefix
        guard path.hasPrefix(official), !path.dropFirst(official.count).contains("/") else { return path }
        return String(path.dropFirst(official.count))
    }

    /// The same with `:latest` where neither tag nor digest is said.
    package var tagged: Reference {
        tag != nil || digest != nil ? self : with(tag: "latest")
    }

    package var isNameOnly: Bool { tag == nil && digest == nil }

    package func with(tag: String) -> Reference {
        Reference(domain: domain, path: path, tag: tag, digest: nil)
    }

    package func with(digest: Digest) -> Reference {
        Reference(domain: domain, path: path, tag: nil, digest: digest)
    }

    private var suffix: String {
        (tag.map { ":\($0)" } ?? "") + (digest.map { "@\($0)" } ?? "")
    }

    package static func < (left: Reference, right: Reference) -> Bool {
        left.description < right.description
    }

    static let defaultDomain = "docker.io"
    static let legacyDomain = "index.docker.io"
    static let officialPrefix = "library/"
    static let longestRepository = 255
    static let longestTag = 128
}
