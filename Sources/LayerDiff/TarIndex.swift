// SPDX-License-Identifier: Apache-2.0

package import LinuxSys
import Storage

/// Where the members of an uncompressed tar file lie: for archives of images, which are read by position.
package struct TarIndex: Sendable {
    package struct Member: Sendable {
        package enum Kind: Hashable, Sendable {
            case regular
            case directory
            /// The target as it stands, relative to the member's directory.
            case symlink(target: [UInt8])
            case hardLink(target: TreePath)
            case other
        }

        package var path: TreePath
        package var kind: Kind
        /// Of the content in the file; empty except for regular files.
        package var offset: Int64
        package var size: Int64
    }

    /// In the order of the archive; a path that comes twice is there twice, and the last one counts.
    package let members: [Member]

    /// Reads the headers from `offset` on and nothing else.
    ///
    /// Names are cleaned as those of a layer.
    package init(
        _ file: SharedFD,
        offset: Int64 = 0,
        label: String,
        limits: LayerLimits = LayerLimits()
    ) throws {
        let size = try doing("read \(label)") { try Files.status(of: file.raw).size }
        let reader = TarMembers(
            FileInput(file, offset: offset, length: max(size - offset, 0)),
            label: label,
            limits: limits
        )
        var members: [Member] = []
        while let member = try reader.next() {
            do throws(TarNames.Fault) {
                let path = try TarNames.path(member.name, limits: limits)
                let kind = try Self.kind(of: member, limits)
                if member.regions != nil { throw TarNames.Fault("a sparse file in an archive of images") }
                let size = kind == .regular ? member.size : 0
                members.append(Member(path: path, kind: kind, offset: offset + reader.offset, size: size))
            } catch {
                throw reader.refused(error.reason)
            }
        }
        self.members = members
    }

    private static func kind(
        of member: TarMember,
        _ limits: LayerLimits
    ) throws(TarNames.Fault) -> Member.Kind {
        switch member.type {
        case 0, UInt8(ascii: "0"), UInt8(ascii: "7"):
            member.name.last == UInt8(ascii: "/") ? .directory : .regular
        case UInt8(ascii: "1"): .hardLink(target: try TarNames.path(member.linkName, limits: limits))
        case UInt8(ascii: "2"): .symlink(target: member.linkName)
        case UInt8(ascii: "5"): .directory
        default: .other
        }
    }
}
