// SPDX-License-Identifier: Apache-2.0

import CFuse
import Glibc

/// The threads that serve a union.
struct Server {
    let union: UnionFS
    let session: OpaquePointer
    private let device: CInt
    private let spin: CInt

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
        spin = CInt(options.spin)
    }

    /// Serves until the mount is gone, with `helpers` more threads for what takes long, and ends the process.
    ///
    /// At once, by whichever thread hears of it first: whoever unmounted may want the layers' file systems next.
    func run(helpers: Int) -> Never {
        for number in 0..<max(0, helpers) {
            let clone = cfuse_clone_device(device)
            if clone < 0 { break }
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
        cfuse_end(cfuse_serve(session, device, spin, helpers > 0 ? 1 : 0) == 0 ? 0 : 1)
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
