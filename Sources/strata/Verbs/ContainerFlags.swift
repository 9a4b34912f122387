// SPDX-License-Identifier: Apache-2.0

import Command

/// What a container is made with: the flags that `create` and `run` share.
enum ContainerFlags {
    static let creation: [Flag] = process + identity + resources + isolation + files

    private static let process: [Flag] = [
        Flag("entrypoint", .string, "Overwrite the default ENTRYPOINT of the image"),
        Flag("env", "e", .list, "Set environment variables"),
        Flag("env-file", .list, "Read in a file of environment variables", completes: .file),
        Flag("log-driver", .string, "Logging driver for the container (\"json-file\", \"none\")"),
        Flag("log-opt", .list, "Log driver options (\"max-size=10m\", \"max-file=3\")"),
        Flag("init", .bool, "Run an init inside the container that forwards signals and reaps processes"),
        Flag("interactive", "i", .bool, "Keep STDIN open even if not attached"),
        Flag("stop-signal", .string, "Signal to stop the container"),
        Flag("stop-timeout", .int, "Timeout (in seconds) to stop a container"),
        Flag("tty", "t", .bool, "Allocate a pseudo-TTY"),
        Flag("user", "u", .string, "Username or UID (format: <name|uid>[:<group|gid>])"),
        Flag("workdir", "w", .string, "Working directory inside the container"),
    ]

    private static let identity: [Flag] = [
        Flag("hostname", "h", .string, "Container host name"),
        Flag("label", "l", .list, "Set meta data on a container"),
        Flag("name", .string, "Assign a name to the container"),
        Flag(
            "pull",
            .string,
            "Pull image before running (\"never\")",
            defaultValue: "never",
            values: ["never"]
        ),
        Flag("rm", .bool, "Automatically remove the container when it exits"),
    ]

    private static let resources: [Flag] = [
        Flag("cpus", .decimal, "Number of CPUs"),
        Flag("cpuset-cpus", .string, "CPUs in which to allow execution (0-3, 0,1)"),
        Flag("memory", "m", .bytes, "Memory limit"),
        Flag("pids-limit", .int, "Tune container pids limit (set -1 for unlimited)"),
        Flag("shm-size", .bytes, "Size of /dev/shm"),
    ]

    private static let isolation: [Flag] = [
        Flag("cap-add", .list, "Add Linux capabilities"),
        Flag("cap-drop", .list, "Drop Linux capabilities"),
        Flag(
            "network",
            .string,
            "Connect a container to a network (\"none\", \"host\")",
            values: ["none", "host"]
        ),
        Flag("security-opt", .list, "Security Options"),
        Flag("storage-opt", .pairs, "Storage driver options for the container: size=SIZE", valueName: "list"),
        Flag("userns", .bool, "Run in a new user namespace: root inside is an ordinary user outside"),
    ]

    private static let files: [Flag] = [
        Flag("read-only", .bool, "Mount the container's root filesystem as read only"),
        Flag("tmpfs", .list, "Mount a tmpfs directory"),
        Flag("volume", "v", .list, "Bind mount a volume", completes: .directory),
    ]
}
