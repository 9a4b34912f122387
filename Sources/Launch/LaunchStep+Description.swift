// SPDX-License-Identifier: Apache-2.0

extension LaunchStep: CustomStringConvertible {
    /// As errors and `--dry-run` name it: `mount proc on /proc`.
    package var description: String {
        switch self {
        case .wait(_, let reason): "wait for \(reason)"
        case .write(let bytes, _, let name): "write \(Self.quoted(bytes)) to \(name)"
        case .writeHost(let bytes, let path): "write \(Self.quoted(bytes)) to \(path)"
        case .unshare(let namespaces): "new namespaces \(namespaces)"
        case .enter(let namespaces, _): "enter namespaces \(namespaces)"
        case .hostname(let name): "set hostname \(name)"
        case .domainname(let name): "set domainname \(name)"
        case .sessionKeyring: "join a new session keyring"
        case .propagation(let kind): "make all mounts \(kind.rawValue)"
        case .attachRoot: "attach the root file system"
        case .attachHome: "attach the storage driver's directory"
        case .mountRoot(let type, let directory, let data): "mount root \(type) in \(directory) (\(data))"
        case .cloneRoot(let directory): "clone root \(directory)"
        case .rootAttributes(let attributes, let propagation):
            "set root mount \(attributes)\(propagation.map { " \($0.rawValue)" } ?? "")"
        case .pivot: "pivot to the new root"
        case .mount(let type, _, let target, let attributes, let options, _):
            "mount \(type) on \(target)" + Self.list([attributes.description] + options)
        case .prepare(_, let type, _, let options): "make a file system \(type)" + Self.list(options)
        case .mountPrepared(_, let type, let target, let attributes, _):
            "mount \(type) on \(target)" + Self.list([attributes.description])
        case .attach(let mount):
            "mount \(mount.source) on \(mount.target)" + Self.list([mount.set.description])
        case .bindDevice(let host, let target, _, _): "bind device \(host) on \(target)"
        case .makeDirectory(let path, let mode): "make directory \(path) (\(String(mode, radix: 8)))"
        case .makeNode(let path, _, let major, let minor, _, _): "make device \(path) (\(major):\(minor))"
        case .symlink(let target, let path): "make symlink \(path) to \(target)"
        case .mask(let path): "mask \(path)"
        case .makeReadOnly(let path): "make \(path) read-only"
        case .setAttributes(let attributes, let path): "set mount \(path) \(attributes)"
        case .sysctl(let name, let value): "set sysctl \(name) to \(value)"
        case .loopback: "bring up the loopback interface"
        case .resourceLimit(let name, _, let soft, let hard):
            "set limit \(name) to \(Self.limit(soft)):\(Self.limit(hard))"
        case .newSession: "start a session"
        case .standardIO: "connect standard input, output and error"
        case .terminal: "make a terminal"
        case .controllingTerminal: "take the controlling terminal"
        case .changeDirectory(let path, _): "change to directory \(path)"
        case .umask(let mask): "set umask \(String(mask, radix: 8))"
        case .boundingSet(let mask): "limit capabilities to \(String(mask, radix: 16))"
        case .user(let uid, let gid, let groups):
            "become user \(uid):\(gid)" + Self.list(groups.map { "\($0)" }, " groups ")
        case .capabilities(let effective, _, _, let ambient):
            "set capabilities \(String(effective, radix: 16))"
                + (ambient == 0 ? "" : " ambient \(String(ambient, radix: 16))")
        case .noNewPrivileges: "set no_new_privs"
        case .seccomp(_, let program): "load seccomp filter (\(program.count / 8) instructions)"
        case .parentDeathSignal(let signal): "set parent death signal \(signal)"
        case .closeRest: "close other descriptors"
        case .stayAsInit: "stay as init"
        case .execute(let program, let arguments, _, _):
            "execute \(program)" + Self.list(Array(arguments.dropFirst()), " ", separator: " ")
        }
    }

    private static func list(_ parts: [String], _ lead: String? = nil, separator: String = ",") -> String {
        let text = parts.filter { !$0.isEmpty }.joined(separator: separator)
        if text.isEmpty { return "" }
        return lead.map { $0 + text } ?? " (\(text))"
    }

    private static func limit(_ value: UInt64) -> String { value == .max ? "unlimited" : "\(value)" }

    private static func quoted(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
}
