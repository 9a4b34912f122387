// SPDX-License-Identifier: Apache-2.0

import CLinux

extension LaunchStep {
    func encode(to plan: inout PlanEncoder) {
        switch self {
        case .wait, .write, .writeHost, .unshare, .enter, .hostname, .domainname, .sessionKeyring:
            encodeContext(to: &plan)
        case .propagation, .attachRoot, .attachHome, .mountRoot, .cloneRoot, .rootAttributes, .pivot:
            encodeRoot(to: &plan)
        case .mount, .attach, .bindDevice, .makeDirectory, .makeNode, .symlink, .mask, .makeReadOnly,
            .setAttributes, .sysctl, .loopback, .prepare, .mountPrepared:
            encodeInside(to: &plan)
        default:
            encodeProcess(to: &plan)
        }
    }

    private func encodeContext(to plan: inout PlanEncoder) {
        switch self {
        case .wait(let fd, _): plan.step(CLINUX_STEP_WAIT, .descriptor(fd))
        case .write(let bytes, let fd, _): plan.step(CLINUX_STEP_WRITE, .descriptor(fd), .block(bytes))
        case .writeHost(let bytes, let path): plan.step(CLINUX_STEP_WRITE_HOST, .text(path), .block(bytes))
        case .unshare(let kinds): plan.step(CLINUX_STEP_UNSHARE, .number(kinds.rawValue))
        case .enter(let kinds, let fd): plan.step(CLINUX_STEP_SETNS, .descriptor(fd), .number(kinds.rawValue))
        case .hostname(let name): plan.step(CLINUX_STEP_HOSTNAME, .text(name))
        case .domainname(let name): plan.step(CLINUX_STEP_DOMAINNAME, .text(name))
        case .sessionKeyring: plan.step(CLINUX_STEP_KEYRING)
        default: break
        }
    }

    private func encodeRoot(to plan: inout PlanEncoder) {
        let recursively: UInt64 = 16384  // MS_REC
        switch self {
        case .propagation(let kind): plan.step(CLINUX_STEP_PROPAGATION, .number(kind.flag | recursively))
        case .attachRoot(let fd): plan.step(CLINUX_STEP_ROOT_ATTACH, .descriptor(fd))
        case .attachHome(let fd): plan.step(CLINUX_STEP_HOME_ATTACH, .descriptor(fd))
        case .mountRoot(let type, let directory, let data):
            plan.step(CLINUX_STEP_ROOT_MOUNT, .text(type), .text(directory), .text(data))
        case .cloneRoot(let directory): plan.step(CLINUX_STEP_ROOT_CLONE, .text(directory))
        case .rootAttributes(let attributes, let propagation):
            plan.step(
                CLINUX_STEP_ROOT_ATTRIBUTES,
                .number(attributes.rawValue),
                .number(propagation?.flag ?? 0)
            )
        case .pivot: plan.step(CLINUX_STEP_PIVOT)
        default: break
        }
    }

    private func encodeInside(to plan: inout PlanEncoder) {
        switch self {
        case .mount(let type, let source, let target, let attributes, let options, let kind):
            plan.step(
                CLINUX_STEP_MOUNT,
                .text(type),
                .optionalText(source),
                .text(target),
                .number(attributes.rawValue),
                .vector(options),
                .number(kind.rawValue)
            )
        case .attach(let mount):
            plan.step(
                CLINUX_STEP_ATTACH,
                .descriptor(mount.descriptor),
                .text(mount.target),
                .number(mount.set.rawValue),
                .number(mount.clear.rawValue),
                .number(mount.propagation?.flag ?? 0),
                .number(mount.recursive ? 1 : 0),
                .number(mount.targetKind.rawValue)
            )
        case .bindDevice(let host, let target, let major, let minor):
            plan.step(
                CLINUX_STEP_BIND_DEVICE,
                .text(host),
                .text(target),
                .number(UInt64(major)),
                .number(UInt64(minor))
            )
        case .makeDirectory(let path, let mode):
            plan.step(CLINUX_STEP_MKDIR, .text(path), .number(UInt64(mode)))
        case .makeNode(let path, let mode, let major, let minor, let uid, let gid):
            let numbers = [mode, major, minor, uid, gid].map { PlanEncoder.Argument.number(UInt64($0)) }
            plan.step(
                CLINUX_STEP_MKNOD,
                .text(path),
                numbers[0],
                numbers[1],
                numbers[2],
                numbers[3],
                numbers[4]
            )
        case .symlink(let target, let path): plan.step(CLINUX_STEP_SYMLINK, .text(target), .text(path))
        case .prepare(let slot, let type, let source, let options):
            plan.step(
                CLINUX_STEP_PREPARE,
                .number(UInt64(slot)),
                .text(type),
                .optionalText(source),
                .vector(options)
            )
        case .mountPrepared(let slot, _, let target, let attributes, let kind):
            plan.step(
                CLINUX_STEP_MOUNT_PREPARED,
                .number(UInt64(slot)),
                .text(target),
                .number(attributes.rawValue),
                .number(kind.rawValue)
            )
        case .mask(let path): plan.step(CLINUX_STEP_MASK, .text(path))
        case .makeReadOnly(let path): plan.step(CLINUX_STEP_READONLY, .text(path))
        case .setAttributes(let attributes, let path):
            plan.step(CLINUX_STEP_SET_ATTRIBUTES, .text(path), .number(attributes.rawValue))
        case .sysctl(let name, let value):
            plan.step(CLINUX_STEP_SYSCTL, .text(name), .block(Array(value.utf8)))
        case .loopback: plan.step(CLINUX_STEP_LOOPBACK)
        default: break
        }
    }

    private func encodeProcess(to plan: inout PlanEncoder) {
        switch self {
        case .resourceLimit(_, let resource, let soft, let hard):
            plan.step(CLINUX_STEP_RLIMIT, .number(UInt64(resource)), .number(soft), .number(hard))
        case .newSession: plan.step(CLINUX_STEP_SETSID)
        case .standardIO(let input, let output, let error):
            plan.step(CLINUX_STEP_STDIO, .descriptor(input), .descriptor(output), .descriptor(error))
        case .terminal(let rows, let columns, let owner, let console):
            plan.step(
                CLINUX_STEP_TERMINAL,
                .number(UInt64(rows)),
                .number(UInt64(columns)),
                .number(UInt64(owner)),
                .number(console ? 1 : 0)
            )
        case .controllingTerminal: plan.step(CLINUX_STEP_CONTROLLING)
        case .changeDirectory(let path, let create):
            plan.step(CLINUX_STEP_CHDIR, .text(path), .number(create ? 1 : 0))
        case .umask(let mask): plan.step(CLINUX_STEP_UMASK, .number(UInt64(mask)))
        case .boundingSet(let mask): plan.step(CLINUX_STEP_BOUNDING, .number(mask))
        case .user(let uid, let gid, let groups):
            let list = groups.withUnsafeBytes { Array($0) }
            plan.step(CLINUX_STEP_USER, .number(UInt64(uid)), .number(UInt64(gid)), .block(list))
        case .capabilities(let effective, let permitted, let inheritable, let ambient):
            plan.step(
                CLINUX_STEP_CAPABILITIES,
                .number(effective),
                .number(permitted),
                .number(inheritable),
                .number(ambient)
            )
        case .noNewPrivileges: plan.step(CLINUX_STEP_NO_NEW_PRIVS)
        case .seccomp(let flags, let program):
            plan.step(CLINUX_STEP_SECCOMP, .number(UInt64(flags)), .block(program))
        case .parentDeathSignal(let signal):
            plan.step(CLINUX_STEP_PARENT_DEATH, .number(UInt64(UInt32(bitPattern: signal))))
        case .closeRest: plan.step(CLINUX_STEP_CLOSE_REST)
        case .stayAsInit: plan.step(CLINUX_STEP_INIT)
        case .execute(let program, let arguments, let environment, let searchPath):
            plan.step(
                CLINUX_STEP_EXEC,
                .text(program),
                .vector(arguments),
                .vector(environment),
                .text(searchPath)
            )
        default: break
        }
    }

    /// The engine's descriptors this step uses.
    var descriptors: [CInt] {
        switch self {
        case .wait(let fd, _), .write(_, let fd, _), .enter(_, let fd), .attachRoot(let fd),
            .attachHome(let fd):
            [fd]
        case .attach(let mount): [mount.descriptor]
        case .standardIO(let input, let output, let error): [input, output, error]
        default: []
        }
    }
}
