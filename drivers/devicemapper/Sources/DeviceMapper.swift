// SPDX-License-Identifier: Apache-2.0

import CDevMapper
import Glibc
import LinuxSys
import Storage
import SystemPackage

/// Device-mapper's calls, by the name of a device.
///
/// An error carries what the library said, where it had a part.
enum DeviceMapper {
    /// What device-mapper knows of a device.
    struct Device: Sendable {
        var number: DeviceNumber
        var isReadOnly: Bool
        /// Not one that is being made, or whose maker was killed.
        var hasTable: Bool

        init(_ raw: cdevmapper_info) {
            number = DeviceNumber(major: raw.major, minor: raw.minor)
            isReadOnly = raw.read_only != 0
            hasTable = raw.live_table != 0
        }

        /// As a table names it.
        var text: String { "\(number.major):\(number.minor)" }
    }

    /// A table of one line.
    struct Table: Sendable {
        var sectors: UInt64
        var target: String
        var parameters: String
        var isReadOnly = false

        /// The same for a device that may be written to.
        var writable: Table {
            var table = self
            table.isReadOnly = false
            return table
        }
    }

    /// Whether the kernel has device-mapper.
    static var isThere: Bool { cdevmapper_is_there() != 0 }

    /// Why libdevmapper, which is needed where udev runs, cannot be used; `nil` if it can or need not.
    static var missing: String? {
        cdevmapper_has_udev() == 0 || cdevmapper_load() == 0 ? nil : String(cString: cdevmapper_message())
    }

    private static func call(
        _ operation: StaticString,
        _ name: String,
        _ body: () -> CInt
    ) throws(SystemError) {
        do throws(SystemError) {
            try system(operation, name, body)
        } catch {
            let message = String(cString: cdevmapper_message())
            throw SystemError("\(operation)", message.isEmpty ? name : "\(name) (\(message))", error.errno)
        }
    }

    private static func withTable<T>(_ table: Table, _ body: (UnsafePointer<cdevmapper_table>) -> T) -> T {
        table.target.withCString { target in
            table.parameters.withCString { parameters in
                var raw = cdevmapper_table(
                    length: table.sectors,
                    target: target,
                    parameters: parameters,
                    read_only: table.isReadOnly ? 1 : 0
                )
                return body(&raw)
            }
        }
    }

    /// Makes the device and starts it; `nil` if there is one of that name.
    ///
    /// - Parameter withNode: in /dev/mapper it has a node even where no udev makes it.
    static func create(
        _ name: String,
        uuid: String,
        _ table: Table,
        withNode: Bool = false
    ) throws(SystemError) -> Device? {
        var info = cdevmapper_info()
        do throws(SystemError) {
            try call("dm create", name) {
                withTable(table) { cdevmapper_create(name, uuid, $0, withNode ? 1 : 0, &info) }
            }
        } catch {
            if error.errno == .resourceBusy || error.errno == .fileExists, try Self.info(name) != nil {
                return nil
            }
            throw error
        }
        return Device(info)
    }

    /// Gives the device another table, which a suspend and a resume put in place.
    static func load(_ name: String, _ table: Table) throws(SystemError) {
        try call("dm reload", name) { withTable(table) { cdevmapper_reload(name, $0) } }
    }

    /// Waits for what is under way, writes out and freezes a file system on the device.
    static func suspend(_ name: String) throws(SystemError) {
        try call("dm suspend", name) { cdevmapper_suspend(name) }
    }

    static func resume(_ name: String) throws(SystemError) {
        try call("dm resume", name) { cdevmapper_resume(name) }
    }

    /// Removes the device; absent is success.
    ///
    /// - Parameter deferred: one that is in use goes with its last user; else that is an error.
    static func remove(_ name: String, deferred: Bool) throws(SystemError) {
        do throws(SystemError) {
            try call("dm remove", name) { cdevmapper_remove(name, deferred ? 1 : 0) }
        } catch {
            if error.errno != .noSuchAddressOrDevice { throw error }
        }
    }

    static func info(_ name: String) throws(SystemError) -> Device? {
        var info = cdevmapper_info()
        try call("dm info", name) { cdevmapper_info(name, &info) }
        return info.exists == 0 ? nil : Device(info)
    }

    /// Whether the device has a table: without one, nobody can be using it.
    static func isActive(_ name: String) throws(SystemError) -> Bool { try info(name)?.hasTable ?? false }

    static func message(_ name: String, _ text: String) throws(SystemError) {
        try call("dm message", name) { cdevmapper_target_message(name, text) }
    }

    /// The parameters of the device's target; `nil` if there is no such device.
    ///
    /// - Parameters:
    ///   - ofTable: the table's, else those of its present state.
    ///   - flushes: a thin pool writes its metadata first.
    static func status(
        _ name: String,
        ofTable: Bool = false,
        flushes: Bool = false
    ) throws(SystemError) -> String? {
        try look(name, ofTable: ofTable, flushes: flushes)?.parameters
    }

    /// The device with the parameters of its target (`status`).
    static func look(
        _ name: String,
        ofTable: Bool = false,
        flushes: Bool = false
    ) throws(SystemError) -> (device: Device, parameters: String)? {
        var text = [CChar](repeating: 0, count: 1024)
        var info = cdevmapper_info()
        do throws(SystemError) {
            try call("dm status", name) {
                cdevmapper_status(name, ofTable ? 1 : 0, flushes ? 1 : 0, &text, text.count, &info)
            }
        } catch {
            if error.errno == .noSuchAddressOrDevice { return nil }
            throw error
        }
        let parameters = String(
            decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) },
            as: UTF8.self
        )
        return (Device(info), parameters)
    }

    /// The version of one of the kernel's targets.
    static func version(ofTarget target: String) throws(SystemError) -> String? {
        var version: (UInt32, UInt32, UInt32) = (0, 0, 0)
        do throws(SystemError) {
            try call("dm versions", target) {
                withUnsafeMutableBytes(of: &version) {
                    cdevmapper_target_version(target, $0.bindMemory(to: UInt32.self).baseAddress)
                }
            }
        } catch {
            if error.errno == .noSuchFileOrDirectory { return nil }
            throw error
        }
        return "\(version.0).\(version.1).\(version.2)"
    }
}
