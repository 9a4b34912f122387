// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc
import SystemPackage

/// The threads that serve a union.
struct Server {
    let union: UnionFS
    let session: OpaquePointer
    private let device: CInt
    private let ways: CInt
    private let spin: CInt
    /// Descriptors of the connection for those who help.
    private var clones: [CInt] = []

    /// A session on `device`, which it takes over.
    init(_ union: UnionFS, device: CInt, _ options: Options) throws {
        var operations = Session.operations()
        var wanted = CFUSE_KILLPRIV.rawValue | CFUSE_IDMAP.rawValue
        if options.passesThrough { wanted |= CFUSE_PASSTHROUGH.rawValue }
        let data = Unmanaged.passRetained(union).toOpaque()
        guard let session = cfuse_session_new(&operations, data, device, CInt(wanted)) else {
            throw Refusal("start a session of libfuse")
        }
        self.union = union
        self.session = session
        union.session = session
        self.device = device
        ways = options.ways
        spin = CInt(options.spin)
    }

    /// Makes what `helpers` more threads need, for what takes long; once there is a mount.
    mutating func makeClones(helpers: Int) {
        while clones.count < helpers {
            let clone = cfuse_clone_device(device)
            if clone < 0 { return }
            clones.append(clone)
        }
    }

    /// Goes on where a dead server ended.
    func takeOver(_ held: [UInt64: CInt]) throws {
        do {
            try union.takeOver(held)
        } catch {
            throw Refusal("take over from a server that is dead: \(Errno(rawValue: error.code))")
        }
        guard let life = union.life?.pointee else { return }
        let isKnown = cfuse_resume(session) != 0
        // Until INIT is answered nobody knows whether the kernel can, and without INIT nothing else comes.
        guard isKnown ? life.has_resend != 0 : life.refuses_resend == 0 else { return }
        let result = cfuse_resend(device)
        if result < 0, !isKnown, life.served > 0 {
            throw Refusal("take over before the first request: \(Errno(rawValue: 0 - result))")
        }
    }

    /// Serves until the mount is gone, and ends the process.
    ///
    /// At once, by whichever thread hears of it first: whoever unmounted may want the layers' file systems next.
    func run() -> Never {
        for (number, clone) in clones.enumerated() {
            let work = Unmanaged.passRetained(Helper(session: session, device: clone, number: CInt(number)))
            var thread = pthread_t()
            let result = pthread_create(
                &thread,
                nil,
                { argument in
                    guard let argument else { return nil }
                    let helper = Unmanaged<Helper>.fromOpaque(argument).takeRetainedValue()
                    if cfuse_help(helper.session, helper.device, helper.number) == 0 { cfuse_end(0) }
                    return nil
                },
                work.toOpaque()
            )
            if result != 0 { work.release() }
        }
        cfuse_end(cfuse_serve(session, device, ways, spin, clones.isEmpty ? 0 : 1) == 0 ? 0 : 1)
    }
}

private final class Helper {
    let session: OpaquePointer
    let device: CInt
    let number: CInt

    init(session: OpaquePointer, device: CInt, number: CInt) {
        self.session = session
        self.device = device
        self.number = number
    }
}
