// SPDX-License-Identifier: Apache-2.0

import Foundation
import PackagePlugin

/// Compiles the C program in `Interpreter/` of the target and gives its bytes to the target as a Swift source.
///
/// SwiftPM links Swift's runtime into a C executable target, so the compiler is called by a tool of the package.
@main
struct EmbedInterpreter: BuildToolPlugin {
    func createBuildCommands(context: PluginContext, target: any Target) throws -> [Command] {
        let sources = target.directoryURL.appending(path: "Interpreter")
        let headers = context.package.directoryURL.appending(path: "Sources/CLinux/include")
        let files = try FileManager.default.contentsOfDirectory(at: sources, includingPropertiesForKeys: nil)
            .filter { $0.pathExtension == "c" || $0.pathExtension == "h" }
            .sorted { $0.path < $1.path }
        let output = context.pluginWorkDirectoryURL.appending(path: "InterpreterImage.swift")
        let code = files.filter { $0.pathExtension == "c" }.map(\.path)
        return [
            .buildCommand(
                displayName: "Compiling the launch interpreter",
                executable: try context.tool(named: "embed-interpreter").url,
                arguments: [output.path, headers.path] + code,
                inputFiles: files
                    + ["clinux_call.h", "clinux_launch_plan.h"].map { headers.appending(path: $0) },
                outputFiles: [output]
            )
        ]
    }
}
