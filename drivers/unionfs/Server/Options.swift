// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import LinuxSys
import SystemPackage

/// What the command line says.
struct Options {
    var source = "strata-unionfs"
    var mountPoint = ""
    /// Top first.
    var lowers: [String] = []
    var upper: String?
    var work: String?
    var isReadOnly = false
    var inForeground = false
    /// Mount attributes and options of the fuse file system, in the kernel's words.
    var allowsOthers = geteuid() == 0
    var attributes: DetachedMount.Attributes = []
    /// Layers are in the form of layer tars alone, and what overlay file systems mark is data.
    var readsOverlayForm = true
    var threads: Int?
    /// For how many microseconds at most to look for the next request before sleeping, where that helps; 0: never.
    var spin = 50
    /// How the server may wait for requests: bits of `cfuse_way`.
    var ways: CInt = 1 << CInt(CFUSE_WAYS.rawValue) - 1
    var passesThrough = true
    /// Nothing has to reach the disk when a program asks for it.
    var isVolatile = false
    /// A server that is killed is replaced.
    var restarts = true
    /// As on a kernel that does not hand out again what a dead server had.
    var refusesResend = false
    /// A directory with the names of each layer's hard links, by the layer's own name.
    var links: String?
    var owners = Owners()
    private var squashesToRoot = false
    /// Renaming a directory that has content in a layer below is EXDEV, as on an overlay without redirects.
    var refusesDirectoryRename = false
    /// A /dev/fuse descriptor that somebody else mounted; then there is no mount point.
    var device: CInt?
    /// Where to write one byte when all is ready, or a line that says why not.
    var report: CInt?
    var wantsHelp = false
    var wantsVersion = false

    static let usage = """
        usage: strata-unionfs [SOURCE] MOUNTPOINT -o lowerdir=DIR[:DIR...][,upperdir=DIR,workdir=DIR][,OPTION...]
          -f          stay in the foreground
          -o OPTIONS  ro, rw, allow_other, default_permissions, fsname=NAME, nosuid, nodev, noexec, noatime,
                      strictatime, threads=N, nopassthrough, volatile (nothing is synced), layerform=aufs (overlay file systems'
                      marks are data), redirect_dir=off (renaming a directory of a lower layer is EXDEV),
                      uidmapping=DISK:SHOWN:COUNT[:...], gidmapping=... (owners on the layers and in the union),
                      squash_to_uid=ID, squash_to_gid=ID, squash_to_root (what all files show as their owner),
                      wait=sleep+look+beside (the ways to wait for a request: looking for more of them takes a
                      processor; beside is on that of the program that asks), spin=MICROSECONDS (to look at most),
                      norestart (a server that is killed is not replaced), noresend (a new server does not go on
                      with the requests that the killed one had; they fail)
          -h, -V      this help, the version
        Other options that mount(8) hands to every file system are ignored. In a directory's name, a backslash goes
        before a colon, comma or backslash.
        """

    /// A line that says what is wrong with the arguments.
    struct Wrong: Error {
        let message: String
        init(_ message: String) { self.message = message }
    }

    init(_ arguments: [String]) throws(Wrong) {
        var words: [String] = []
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            switch argument {
            case "-o", "--options":
                guard let value = rest.popFirst() else { throw Wrong("option \(argument) needs a value") }
                try read(value)
            case "-f", "--foreground": inForeground = true
            case "-d", "--debug": inForeground = true
            case "-s": threads = 1
            case "-h", "--help": wantsHelp = true
            case "-V", "--version": wantsVersion = true
            case "--":
                words += rest
                rest = []
            case _ where argument.hasPrefix("-o"): try read(String(argument.dropFirst(2)))
            case _ where argument.hasPrefix("-") && argument.count > 1:
                throw Wrong("unknown option \(argument)")
            default: words.append(argument)
            }
        }
        if wantsHelp || wantsVersion { return }
        if squashesToRoot {
            owners.users.squashed = owners.users.squashed ?? 0
            owners.groups.squashed = owners.groups.squashed ?? 0
        }
        try check(words)
    }

    private mutating func check(_ words: [String]) throws(Wrong) {
        switch words.count {
        case 0:
            if device == nil { throw Wrong("no mount point is given") }
        case 1: mountPoint = words[0]
        case 2:
            if source == "strata-unionfs" { source = words[0] }
            mountPoint = words[1]
        default: throw Wrong("too many arguments: \(words[2])")
        }
        if lowers.isEmpty, upper == nil { throw Wrong("no lowerdir is given") }
        if lowers.contains("") { throw Wrong("a name in lowerdir is empty") }
        if isReadOnly { return }
        if upper != nil, work == nil { throw Wrong("upperdir needs a workdir beside it") }
        if upper == nil, work != nil { throw Wrong("workdir without upperdir") }
    }

    /// Splits at `separator`, but not where a backslash is before it; other escapes stay.
    private static func split(_ text: String, at separator: Character, unescaping: Bool) -> [String] {
        var parts = [""]
        var isEscaped = false
        for character in text {
            if isEscaped {
                let isOurs = unescaping && (character == separator || character == "\\" || character == ",")
                parts[parts.count - 1] += isOurs ? "\(character)" : "\\\(character)"
                isEscaped = false
            } else if character == "\\" {
                isEscaped = true
            } else if character == separator {
                parts.append("")
            } else {
                parts[parts.count - 1].append(character)
            }
        }
        if isEscaped { parts[parts.count - 1] += "\\" }
        return parts
    }

    private mutating func read(_ text: String) throws(Wrong) {
        for option in Self.split(text, at: ",", unescaping: false) where !option.isEmpty {
            let parts = option.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            try read(String(parts[0]), parts.count > 1 ? String(parts[1]) : nil)
        }
    }

    private static func path(_ text: String) -> String {
        split(text, at: ":", unescaping: true).joined(separator: ":")
    }

    private static func ways(_ text: String) throws(Wrong) -> CInt {
        var ways: CInt = 0
        for word in text.split(separator: "+", omittingEmptySubsequences: false) {
            switch word {
            case "sleep": ways |= 1 << CInt(CFUSE_ASLEEP.rawValue)
            case "look": ways |= 1 << CInt(CFUSE_LOOKING.rawValue)
            case "beside": ways |= 1 << CInt(CFUSE_BESIDE.rawValue)
            default: throw Wrong("wait is of sleep, look, beside, joined by +; not \(word)")
            }
        }
        return ways
    }

    private mutating func read(_ key: String, _ value: String?) throws(Wrong) {
        func needed() throws(Wrong) -> String {
            guard let value, !value.isEmpty else { throw Wrong("option \(key) needs a value") }
            return value
        }
        func number() throws(Wrong) -> Int {
            guard let number = Int(try needed()), number >= 0 else {
                throw Wrong("option \(key) needs a number, not \(value ?? "nothing")")
            }
            return number
        }
        func id() throws(Wrong) -> UInt32 {
            guard let id = UInt32(exactly: try number()), id < .max else {
                throw Wrong("option \(key) needs an id, not \(value ?? "nothing")")
            }
            return id
        }
        func ranges() throws(Wrong) -> [OwnerMap.Range] {
            guard let map = OwnerMap(try needed()) else {
                throw Wrong("option \(key) needs DISK:SHOWN:COUNT[:...], not \(value ?? "nothing")")
            }
            return map.ranges
        }
        switch key {
        case "lowerdir": lowers = Self.split(try needed(), at: ":", unescaping: true)
        case "upperdir": upper = Self.path(try needed())
        case "workdir": work = Self.path(try needed())
        case "fsname", "source": source = try needed()
        case "ro": isReadOnly = true
        case "rw": isReadOnly = false
        case "allow_other": allowsOthers = true
        case "nosuid": attributes.insert(.noSetUID)
        case "nodev": attributes.insert(.noDevices)
        case "noexec": attributes.insert(.noExec)
        case "suid": attributes.remove(.noSetUID)
        case "dev": attributes.remove(.noDevices)
        case "exec": attributes.remove(.noExec)
        case "noatime":
            attributes.insert(.noAccessTime)
            attributes.remove(.strictAccessTime)
        case "strictatime":
            attributes.insert(.strictAccessTime)
            attributes.remove(.noAccessTime)
        case "atime", "relatime": attributes.subtract([.noAccessTime, .strictAccessTime])
        case "threads": threads = max(1, min(64, try number()))
        case "spin": spin = min(1000, try number())
        case "wait": ways = try Self.ways(try needed())
        case "links": links = Self.path(try needed())
        case "nopassthrough": passesThrough = false
        case "volatile": isVolatile = true
        case "norestart": restarts = false
        case "noresend": refusesResend = true
        case "redirect_dir": refusesDirectoryRename = value == "off" || value == "nofollow"
        case "layerform":
            switch try needed() {
            case "aufs": readsOverlayForm = false
            case "any": readsOverlayForm = true
            default: throw Wrong("layerform is aufs or any, not \(value ?? "")")
            }
        case "device": device = CInt(clamping: try number())
        case "report": report = CInt(clamping: try number())
        case "uidmapping": owners.users.ranges = try ranges()
        case "gidmapping": owners.groups.ranges = try ranges()
        case "squash_to_uid": owners.users.squashed = try id()
        case "squash_to_gid": owners.groups.squashed = try id()
        case "squash_to_root": squashesToRoot = true
        default: break  // of mount(8), or of another file system like this one
        }
    }
}
