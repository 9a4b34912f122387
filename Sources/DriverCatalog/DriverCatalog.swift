// SPDX-License-Identifier: Apache-2.0

package import Storage

#if DRIVER_BTRFS
import BtrfsDriver
#endif
#if DRIVER_DEVICEMAPPER
import DeviceMapperDriver
#endif
#if DRIVER_OVERLAY2
import Overlay2Driver
#endif
#if DRIVER_UNIONFS
import UnionFSDriver
#endif
#if DRIVER_VFS
import VFSDriver
#endif

/// The drivers that were built, in the order in which they are tried.
///
/// The only place that names them.
package enum DriverCatalog {
    package static let entries: [DriverEntry] = {
        var entries: [DriverEntry] = []
        #if DRIVER_OVERLAY2
        entries.append(
            DriverEntry(Overlay2Driver.self, summary: "the kernel's overlayfs, a directory per layer")
        )
        #endif
        #if DRIVER_BTRFS
        entries.append(DriverEntry(BtrfsDriver.self, summary: "btrfs, a subvolume per layer"))
        #endif
        #if DRIVER_DEVICEMAPPER
        entries.append(
            DriverEntry(
                advising: DeviceMapperDriver.self,
                summary: "thin-provisioned block devices, a snapshot with its own file system per layer",
                optionPrefix: "dm"
            )
        )
        #endif
        #if DRIVER_UNIONFS
        entries.append(
            DriverEntry(
                UnionFSDriver.self,
                summary: "our own FUSE union file system, layers in the form of their tars"
            )
        )
        #endif
        #if DRIVER_VFS
        entries.append(
            DriverEntry(
                VFSDriver.self,
                isLastResort: true,
                summary: "a full copy per layer; works everywhere, slowly"
            )
        )
        #endif
        return entries
    }()
}
