// SPDX-License-Identifier: Apache-2.0

import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Who keeps a device busy.
enum Holders {
    /// The error for a device that is still in use, naming the processes that have it mounted or open.
    static func error(_ what: String, _ name: String) -> any Error {
        guard let device = try? DeviceMapper.info(name) else {
            return SystemError(what, name, .resourceBusy)
        }
        let holders = find(device.number)
        let text = holders.isEmpty ? "somebody" : holders.joined(separator: ", ")
        return StorageError(
            .inUse,
            "\(what): its device \(name) is still used by \(text)",
            remedy: "end what uses it",
            errno: .resourceBusy
        )
    }

    /// Processes with a mount of the device in their mount namespace, or a file on it open: `process 12 (sh)`.
    static func find(_ device: DeviceNumber) -> [String] {
        guard let processes = try? Files.open("/proc", O_RDONLY | O_DIRECTORY),
            let entries = try? Files.list(processes.raw)
        else { return [] }
        return entries.compactMap { entry -> String? in
            guard let pid = Int(entry.name.printable), uses(pid, device) else { return nil }
            let name = (try? Files.contents(FilePath("/proc/\(pid)/comm"))) ?? []
            return "process \(pid) (\(String(decoding: name.filter { $0 != 10 }, as: UTF8.self)))"
        }
    }

    private static func uses(_ pid: Int, _ device: DeviceNumber) -> Bool {
        if hasMounted(pid, device) { return true }
        guard let process = try? Files.open("/proc/\(pid)", O_RDONLY | O_DIRECTORY) else { return false }
        if ["cwd", "root", "exe"].contains(where: { isOn(device, $0, process.raw) }) { return true }
        guard let files = try? Files.open("fd", below: process.raw, O_RDONLY | O_DIRECTORY),
            let entries = try? Files.list(files.raw)
        else { return false }
        return entries.contains { isOn(device, $0.name, files.raw) }
    }

    /// Whether what a link of /proc leads to lies on the device, or is it.
    private static func isOn(_ device: DeviceNumber, _ link: some PathConvertible, _ directory: CInt) -> Bool
    {
        guard let file = try? Files.open(link, below: directory, CInt(bitPattern: pathOnly)) else {
            return false
        }
        let status = try? Files.status(of: file.raw)
        return status?.device == device || status?.kind == .blockDevice && status?.rdev == device
    }

    /// O_PATH, which opens nothing: a fifo does not wait, a device does not start.
    private static let pathOnly: UInt32 = 0o10_000_000

    private static func hasMounted(_ pid: Int, _ device: DeviceNumber) -> Bool {
        let text = (try? Files.contents(FilePath("/proc/\(pid)/mountinfo"))) ?? []
        let number = Array(" \(device.major):\(device.minor) ".utf8)
        return text.split(separator: 10).contains { line in
            // `36 35 98:0 / /mnt …`
            let words = line.split(separator: 32, maxSplits: 3)
            return words.count > 2 && [32] + words[2] + [32] == number
        }
    }
}
