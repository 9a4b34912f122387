// SPDX-License-Identifier: Apache-2.0

package import JSON
package import LinuxSys
package import SystemPackage

/// All that the holder of a layer's mount is told, as `SupervisorJob` is.
package struct MountJob: Sendable {
    /// `<run>/mounts/<layer>`, which exists: the control socket and the record are made in it.
    package var runDirectory: FilePath
    /// Where it is to stand, for the record.
    package var place: FilePath
    /// The detached mount.
    package var mount: CInt
    /// The directory at `place`.
    package var target: CInt
    /// The lock file that stands for the mount, and goes with it.
    package var lockFile: FilePath
    /// Descriptors held as long as the mount stands: locks, the companion of the layer.
    package var held: [CInt]
    /// The pipe that `StartReport` is written to.
    package var report: CInt

    package init(
        runDirectory: FilePath,
        place: FilePath,
        mount: CInt,
        target: CInt,
        lockFile: FilePath,
        held: [CInt],
        report: CInt = -1
    ) {
        self.runDirectory = runDirectory
        self.place = place
        self.mount = mount
        self.target = target
        self.lockFile = lockFile
        self.held = held
        self.report = report
    }

    /// The descriptors that the holder inherits, beside that of the report.
    var descriptors: [CInt] { [mount, target] + held }

    package init?(_ json: JSON) {
        guard let directory = json["runDirectory"]?.string, let place = json["place"]?.string,
            let mount = json["mount"]?.descriptor, let target = json["target"]?.descriptor,
            let lockFile = json["lockFile"]?.string, let held = json["held"]?.descriptors,
            let report = json["report"]?.descriptor
        else { return nil }
        self.init(
            runDirectory: FilePath(directory),
            place: FilePath(place),
            mount: mount,
            target: target,
            lockFile: FilePath(lockFile),
            held: held,
            report: report
        )
    }

    package var json: JSON {
        [
            "runDirectory": .string(runDirectory.string), "place": .string(place.string),
            "mount": .integer(mount), "target": .integer(target), "lockFile": .string(lockFile.string),
            "held": .array(held.map { .integer($0) }), "report": .integer(report),
        ]
    }
}

/// What the holder of a layer's mount writes for others (the file `state` in its run directory).
package struct MountRecord: Sendable {
    package var mountID: UInt64
    package var place: FilePath

    package init(mountID: UInt64, place: FilePath) {
        self.mountID = mountID
        self.place = place
    }

    /// That of the mount whose run directory this is; `nil` if it was not written yet.
    package static func read(_ runDirectory: FilePath) throws(SystemError) -> MountRecord? {
        let path = runDirectory.appending(RunFile.state)
        guard try Files.status(path) != nil else { return nil }
        guard let json = try? JSON.parse(try Files.contents(path, limit: 64 << 10)),
            let mountID = json["mountID"]?.int64.flatMap(UInt64.init(exactly:)),
            let place = json["place"]?.string
        else { return nil }
        return MountRecord(mountID: mountID, place: FilePath(place))
    }

    var bytes: [UInt8] {
        let json: JSON = ["mountID": .integer(mountID), "place": .string(place.string)]
        return json.bytes()
    }
}
