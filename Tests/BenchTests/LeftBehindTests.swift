// SPDX-License-Identifier: Apache-2.0

import Bench
import Glibc
import Testing

@Suite("What programs leave behind")
struct LeftBehindTests {
    private func start(_ words: String...) throws -> pid_t {
        var pointers: [UnsafeMutablePointer<CChar>?] = words.map { strdup($0) } + [nil]
        defer { for pointer in pointers { free(pointer) } }
        var process: pid_t = 0
        try #require(posix_spawnp(&process, words[0], nil, nil, &pointers, environ) == 0)
        return process
    }

    @Test("Those that end are waited for and counted, those that were there before are left alone")
    func countsThoseThatEnd() throws {
        let before = try start("sleep", "600")
        defer {
            kill(before, SIGKILL)
            waitpid(before, nil, 0)
        }
        let left = LeftBehind()
        let after = try start("sh", "-c", "i=0; while [ $i -lt 1000 ]; do i=$((i + 1)); done")
        var sample = Sample(value: 0)
        left.add(to: &sample)
        #expect(sample.cpu > 0)
        #expect(waitpid(after, nil, 0) == -1 && errno == ECHILD)
        #expect(waitpid(before, nil, WNOHANG) == 0)
    }
}
