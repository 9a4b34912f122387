// SPDX-License-Identifier: Apache-2.0

package import Storage

/// Operating system and processor that an image is made for.
package struct Platform: Hashable, Sendable, CustomStringConvertible {
    package var os: String
    package var architecture: String
    package var variant: String?

    package init(os: String, architecture: String, variant: String? = nil) {
        self.os = os
        self.architecture = architecture
        self.variant = variant
    }

    /// `os/architecture[/variant]`, `os` or `architecture` alone taken from this machine, as Docker reads
    /// them.
    package init(parsing text: String) throws(StorageError) {
        let parts = text.lowercased().split(separator: "/", omittingEmptySubsequences: false).map(String.init)
        let isWord = { (part: String) in
            !part.isEmpty
                && part.utf8.allSatisfy {
                    $0 == UInt8(ascii: "_") || $0 == UInt8(ascii: "-") || isASCIIWord($0)
                }
        }
        guard (1...3).contains(parts.count), parts.allSatisfy(isWord) else {
            throw StorageError(.invalid, "invalid platform \(text)", remedy: "write it like linux/amd64")
        }
        if parts.count == 1 {
            if parts[0] == "linux" {
                self = Platform(os: "linux", architecture: Self.host.architecture)
            } else {
                self = Platform(os: Self.host.os, architecture: Self.normalised(parts[0]))
            }
            return
        }
        self = Platform(
            os: parts[0],
            architecture: Self.normalised(parts[1]),
            variant: parts.count == 3 ? parts[2] : nil
        )
    }

    /// This machine.
    package static var host: Platform {
        #if arch(x86_64)
        Platform(os: "linux", architecture: "amd64")
        #elseif arch(arm64)
        Platform(os: "linux", architecture: "arm64", variant: "v8")
        #else
        #error("no platform name for this processor yet")
        #endif
    }

    /// Whether this machine runs it.
    ///
    /// `v8` is what arm64 means without a variant.
    package var runsHere: Bool { rank(for: .host) != nil }

    /// How well `self` serves `wanted`: 0 is exact, `nil` not at all.
    package func rank(for wanted: Platform) -> Int? {
        guard os == wanted.os, Self.normalised(architecture) == Self.normalised(wanted.architecture) else {
            return nil
        }
        let ours = variant.flatMap { $0.isEmpty ? nil : $0 }
        if ours == wanted.variant { return 0 }
        if ours == nil || (ours == "v8" && wanted.variant == nil) { return 1 }
        return wanted.variant == nil ? 2 : nil
    }

    package var description: String {
        "\(os)/\(architecture)" + (variant.map { "/\($0)" } ?? "")
    }

    private static func normalised(_ architecture: String) -> String {
        switch architecture {
        case "x86_64", "x86-64": "amd64"
        case "aarch64": "arm64"
        default: architecture
        }
    }
}

private func isASCIIWord(_ byte: UInt8) -> Bool {
    (UInt8(ascii: "a")...UInt8(ascii: "z")).contains(byte | 0x20)
        || (UInt8(ascii: "0")...UInt8(ascii: "9")).contains(byte)
}
