// SPDX-License-Identifier: Apache-2.0

import Command

/// What the program `strata` is made of.
enum Strata {
    static let version = "0.1.0"

    static let program = Program(
        name: "strata",
        summary: "A container engine for Linux with pluggable storage drivers",
        flags: [
            Flag(
                "root",
                .string,
                "Directory of the store",
                environment: "STRATA_ROOT",
                completes: .directory
            ),
            Flag(
                "run-root",
                .string,
                "Directory of what lives only while the machine runs",
                environment: "STRATA_RUN_ROOT",
                completes: .directory
            ),
            Flag(
                "storage-driver",
                .string,
                "Storage driver to use",
                environment: "STRATA_STORAGE_DRIVER",
                completes: .driver
            ),
            Flag("storage-opt", .pairs, "Storage driver options", valueName: "list"),
            Flag(
                "log-level",
                "l",
                .string,
                "Set the logging level (\"debug\", \"info\", \"warn\", \"error\")",
                defaultValue: "warn",
                values: ["debug", "info", "warn", "error"]
            ),
            Flag("debug", "D", .bool, "Enable debug mode"),
            Flag("version", "v", .bool, "Print version information and quit"),
        ],
        groups: [
            Program.Group("container", "Manage containers"),
            Program.Group("driver", "Show storage drivers"),
            Program.Group("image", "Manage images"),
            Program.Group("layer", "Manage layers of the store directly"),
            Program.Group("system", "Manage the store"),
        ],
        verbs: verbs
    )

    /// The verbs that work.
    ///
    /// Those listed first in help's common commands keep this order.
    private static let verbs: [VerbEntry] = [
        VerbEntry("run", aliases: ["container run"], RunVerb.self),
        VerbEntry("exec", aliases: ["container exec"], ExecVerb.self),
        VerbEntry("ps", aliases: ["container ls", "container list", "container ps"], PsVerb.self),
        VerbEntry("images", aliases: ["image ls", "image list"], ImagesVerb.self),
        VerbEntry("load", aliases: ["image load"], LoadVerb.self),
        VerbEntry("import", aliases: ["image import"], ImportVerb.self),
        VerbEntry("diff", aliases: ["container diff"], DiffVerb.self),
        VerbEntry("commit", aliases: ["container commit"], CommitVerb.self),
        VerbEntry("create", aliases: ["container create"], CreateVerb.self),
        VerbEntry("start", aliases: ["container start"], StartVerb.self),
        VerbEntry("stop", aliases: ["container stop"], StopVerb.self),
        VerbEntry("kill", aliases: ["container kill"], KillVerb.self),
        VerbEntry("wait", aliases: ["container wait"], WaitVerb.self),
        VerbEntry("logs", aliases: ["container logs"], LogsVerb.self),
        VerbEntry("rm", aliases: ["container rm", "container remove"], RmVerb.self),
        VerbEntry("inspect", InspectVerb.self),
        VerbEntry("container inspect", ContainerInspectVerb.self),
        VerbEntry("image inspect", ImageInspectVerb.self),
        VerbEntry("export", aliases: ["container export"], ExportVerb.self),
        VerbEntry("cp", aliases: ["container cp"], CpVerb.self),
        VerbEntry("save", aliases: ["image save"], SaveVerb.self),
        VerbEntry("tag", aliases: ["image tag"], TagVerb.self),
        VerbEntry("rmi", aliases: ["image rm", "image remove"], RmiVerb.self),
        VerbEntry("history", aliases: ["image history"], HistoryVerb.self),
        VerbEntry("layer ls", aliases: ["layer list"], LayerLsVerb.self),
        VerbEntry("layer inspect", LayerInspectVerb.self),
        VerbEntry("layer tree", LayerTreeVerb.self),
        VerbEntry("layer create", LayerCreateVerb.self),
        VerbEntry("layer apply", LayerApplyVerb.self),
        VerbEntry("layer changes", LayerChangesVerb.self),
        VerbEntry("layer diff", LayerDiffVerb.self),
        VerbEntry("layer mount", LayerMountVerb.self),
        VerbEntry("layer unmount", aliases: ["layer umount"], LayerUnmountVerb.self),
        VerbEntry("layer seal", LayerSealVerb.self),
        VerbEntry("layer rm", aliases: ["layer remove"], LayerRmVerb.self),
        VerbEntry("driver ls", aliases: ["driver list"], DriverLsVerb.self),
        VerbEntry("driver info", DriverInfoVerb.self),
        VerbEntry("bench", BenchVerb.self),
        VerbEntry("info", aliases: ["system info"], InfoVerb.self),
        VerbEntry("system check", SystemCheckVerb.self),
        VerbEntry("system prune", SystemPruneVerb.self),
        VerbEntry("system df", SystemDfVerb.self),
        VerbEntry("container-exited", ContainerExitedVerb.self),
        VerbEntry("version", VersionVerb.self),
        VerbEntry("completion", CompletionVerb.self),
        VerbEntry("help", HelpVerb.self),
        VerbEntry("man", ManVerb.self),
    ]
}
