// SPDX-License-Identifier: Apache-2.0

import Images
import JSON
import LayerDiff
import LinuxSys
import Storage
import Testing

@Suite struct ConfigTests {
    static let diffID = "sha256:" + String(repeating: "1", count: 64)

    private func config(_ members: String) throws -> ImageConfig {
        let text =
            #"{"os":"linux","architecture":"amd64","rootfs":{"type":"layers","diff_ids":["\#(Self.diffID)"]}\#(members)}"#
        return try ImageConfig(parsing: Array(text.utf8), label: "test")
    }

    @Test func keepsWhatItDoesNotKnow() throws {
        var config = try config(#","config":{"Cmd":["sh"],"New":{"a":1.50}},"x":[null,1e400]"#)
        let diffID = try #require(Digest("sha256:" + String(repeating: "2", count: 64)))
        config.append(diffID, .init(created: Timestamp(seconds: 0), createdBy: "test"))
        let json = try JSON.parse(config.bytes)
        #expect(json["config"]?["New"]?["a"]?.number?.text == "1.50")
        #expect(json["x"]?[1]?.number?.text == "1e400")
        #expect(json["rootfs"]?["diff_ids"]?.strings == [Self.diffID, diffID.description])
        #expect(config.diffIDs.count == 2)
        #expect(config.chainIDs.last == .chainID(parent: Digest(Self.diffID), diffID: diffID))
        #expect(json["history"]?[0]?["created"]?.string == "1970-01-01T00:00:00Z")
    }

    @Test(arguments: [
        #","config":[]"#, #","config":{"Cmd":"sh"}"#, #","config":{"Env":[1]}"#, #","config":{"User":1}"#,
        #","config":{"Labels":{"a":1}}"#, #","config":{"Volumes":[]}"#, #","history":{}"#, #","history":[1]"#,
        #","created":1"#, #","config":{"Env":["A=\u0000"]}"#, #","os":"linux""#,
        "," + String(repeating: "[", count: 200),
    ])
    func refuses(_ members: String) {
        #expect { try config(members) } throws: { ($0 as? StorageError)?.code == .invalid }
    }

    @Test func limitsLayersAndSize() {
        let many = Array(repeating: "\"\(Self.diffID)\"", count: 501).joined(separator: ",")
        #expect(throws: StorageError.self) {
            try ImageConfig(
                parsing: Array(#"{"os":"linux","rootfs":{"type":"layers","diff_ids":[\#(many)]}}"#.utf8),
                label: "test"
            )
        }
        let padding = String(repeating: " ", count: 5 << 20)
        #expect(throws: StorageError.self) { try config(padding) }
    }

    @Test func appliesChanges() throws {
        let changes = try ConfigChanges([
            #"CMD ["a", "b c"]"#, "ENV A=1 B=\"two words\"", "env PATH /bin:$A:${C:-x}",
            "EXPOSE 80 53/udp 8000-8002",
            "LABEL k=v k2='a $A'", "ONBUILD RUN x", "USER ${A}", "VOLUME /a /b", #"VOLUME ["/c d"]"#,
            "WORKDIR /x", #"WORKDIR y/../"z" w"#,
            "ENV A=2", "STOPSIGNAL SIGINT",
        ])
        var process: JSONObject = ["Env": ["PATH=/old", "Z=1"], "Cmd": ["old"]]
        try changes.apply(to: &process)
        #expect(process["Cmd"]?.strings == ["a", "b c"])
        #expect(process["Env"]?.strings == ["PATH=/bin:1:x", "Z=1", "A=2", "B=two words"])
        #expect(
            process["ExposedPorts"]?.object?.keys == ["80/tcp", "53/udp", "8000/tcp", "8001/tcp", "8002/tcp"]
        )
        #expect(process["Labels"] == ["k": "v", "k2": "a $A"])
        #expect(process["OnBuild"]?.strings == ["RUN x"])
        #expect(process["User"]?.string == "1")
        #expect(process["Volumes"]?.object?.keys == ["/a", "/b", "/c d"])
        #expect(process["WorkingDir"]?.string == "/x/z w")
        #expect(process["StopSignal"]?.string == "SIGINT")
    }

    @Test func entrypointTakesTheOldCommandAway() throws {
        var process: JSONObject = ["Cmd": ["old"], "Shell": ["/bin/bash", "-lc"]]
        try ConfigChanges(["ENTRYPOINT top -b"]).apply(to: &process)
        #expect(process["Entrypoint"]?.strings == ["/bin/bash", "-lc", "top -b"])
        #expect(process["Cmd"] == nil)
        try ConfigChanges(["CMD x", "ENTRYPOINT [\"/e\"]"]).apply(to: &process)
        #expect(process["Cmd"]?.strings == ["/bin/bash", "-lc", "x"])
    }

    @Test(arguments: [
        "FROM a", "RUN x", "ENV", "ENV a", "ENV =x", "LABEL a=b c", "EXPOSE 0x1", "EXPOSE 70000",
        "EXPOSE 9-1", "EXPOSE 80/foo",
        "ONBUILD FROM x", "ENV a='x", "ENV a=${b", "ENV a=${b?c}", "",
    ])
    func refusesChange(_ line: String) {
        #expect {
            var process = JSONObject()
            try ConfigChanges([line]).apply(to: &process)
        } throws: {
            ($0 as? StorageError)?.code == .invalid
        }
    }

    @Test(arguments: [
        (0, 0, "1970-01-01T00:00:00Z"), (951_782_400, 0, "2000-02-29T00:00:00Z"),
        (-1, 500_000_000, "1969-12-31T23:59:59.5Z"),
        (1_795_273_824, 352_525_640, "2026-11-21T15:10:24.35252564Z"),
        (-62_135_596_800, 0, "0001-01-01T00:00:00Z"),
        (253_402_300_799, 1, "9999-12-31T23:59:59.000000001Z"),
    ])
    func writesAndReadsTimes(_ seconds: Int64, _ nanoseconds: UInt32, _ text: String) {
        let time = Timestamp(seconds: seconds, nanoseconds: nanoseconds)
        #expect(time.rfc3339 == text)
        #expect(Timestamp(rfc3339: text) == time)
    }

    @Test func readsOffsets() {
        #expect(Timestamp(rfc3339: "1970-01-01T01:30:00+01:30") == Timestamp(seconds: 0))
        #expect(
            Timestamp(rfc3339: "1969-12-31t23:00:00.1234567899-01:00")
                == Timestamp(seconds: 0, nanoseconds: 123_456_789)
        )
        for text in [
            "", "2026-02-29T00:00:00Z", "2026-01-01", "2026-01-01T24:00:00Z", "2026-01-01T00:00:00",
            "2026-13-01T00:00:00Z",
        ] {
            #expect(Timestamp(rfc3339: text) == nil)
        }
    }
}
