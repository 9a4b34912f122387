// SPDX-License-Identifier: Apache-2.0

/// One thing that is measured; less is always better.
package struct Figure: Hashable, Sendable {
    package enum Unit: String, Sendable {
        case nanoseconds
        case bytes
    }

    /// Up to what ratio few values of it may differ by chance: space hardly does.
    var spread: Double { name == "disk-space" ? 1.05 : 1.5 }

    package enum Group: String, CaseIterable, Sendable {
        case image
        case container
        case files
        case lower
        case large

        package var title: String {
            switch self {
            case .image: "Images"
            case .container: "Containers"
            case .files: "Small files in a container"
            case .lower: "Files of the image in a container"
            case .large: "A large file in a container"
            }
        }
    }

    /// As `--only` takes it and JSON has it.
    package let name: String
    package let group: Group
    package let unit: Unit
    package let title: String
    /// What it means for whoever chooses a driver, in a sentence or two.
    package let explanation: String

    package static func named(_ name: String) -> Figure? { all.first { $0.name == name } }
}

extension Figure {
    private static func time(_ name: String, _ group: Group, _ title: String, _ explanation: String) -> Figure
    {
        Figure(name: name, group: group, unit: .nanoseconds, title: title, explanation: explanation)
    }

    private static func space(
        _ name: String,
        _ group: Group,
        _ title: String,
        _ explanation: String
    ) -> Figure {
        Figure(name: name, group: group, unit: .bytes, title: title, explanation: explanation)
    }

    /// All, in the order in which they are measured and shown.
    package static let all: [Figure] =
        imageFigures + containerFigures + fileFigures + lowerFigures + largeFigures

    private static let imageFigures = [
        time(
            "load",
            .image,
            "load the image",
            "From the archive to layers that containers can start from, on disk for sure."
        ),
        space("load-memory", .image, "memory of load", "The largest amount of memory that the load held."),
        space(
            "disk-space",
            .image,
            "disk space of the image",
            "What all its layers take of the file system, unpacked, with what the driver keeps beside them."
        ),
    ]

    private static let containerFigures = [
        time(
            "prepare",
            .container,
            "make a layer",
            "A writable layer over the image: what each new container costs before it starts."
        ),
        time(
            "mount",
            .container,
            "mount, read a byte",
            "From the layer to the first byte of a file of the image."
        ),
        time("remove", .container, "remove a layer", "Until the caller may go on; space comes back later."),
        time(
            "run",
            .container,
            "run --rm true",
            "A whole container, from the command to its end, with nothing left."
        ),
        time(
            "run-many",
            .container,
            "many at once",
            "The same, started together, until the last has ended."
        ),
        time(
            "diff",
            .container,
            "diff",
            "Which files a container changed, for a container with many small changes."
        ),
        time("commit", .container, "commit", "An image of that container."),
        time("rm", .container, "rm", "That container, removed."),
        space(
            "cache-memory",
            .container,
            "memory per container, files",
            "What the kernel has to keep once more when a second container reads the image's largest file."
        ),
        space(
            "server-memory",
            .container,
            "memory per container, server",
            "Held by the process that serves the mount; nothing where the kernel itself does."
        ),
    ]

    private static let fileFigures = [
        time("create", .files, "create", "New files of 1 KiB: unpacking, installing packages, compiling."),
        time("stat", .files, "stat", "What make, git and every interpreter's import do all day; warm."),
        time("readdir", .files, "list directories", "The names of each directory; warm."),
        time("read", .files, "open, read, close", "Small files, warm."),
        time("rename", .files, "rename", "How careful programs replace a file."),
        time("unlink", .files, "unlink", "Removing what was created."),
    ]

    private static let lowerFigures = [
        time(
            "walk-cold",
            .lower,
            "walk after mount",
            "Every name of the image listed and looked at once, right after the mount, as the first git status."
        ),
        time("walk", .lower, "walk again", "The same once more: what the kernel keeps."),
        time(
            "copy-up",
            .lower,
            "change small files",
            "The first byte appended to files of the image: each has to be copied or shared first."
        ),
        time(
            "copy-up-large",
            .lower,
            "change a large file",
            "The same with one byte in the image's largest file."
        ),
        time("unlink-lower", .lower, "delete files", "Files of the image, which have to be hidden."),
    ]

    private static let largeFigures = [
        time(
            "write",
            .large,
            "write, warm",
            "A new file, in sequence, 1 MiB at a time, into the page cache."
        ),
        time(
            "write-cold",
            .large,
            "write, cold",
            "Over the same file with nothing of it in memory, until all is on the disk."
        ),
        time("read-cold", .large, "read, cold", "In sequence, from the disk."),
        time("read-warm", .large, "read, warm", "In sequence, from the page cache."),
        time(
            "random-read-cold",
            .large,
            "4 KiB reads, cold",
            "At random places, from the disk: a database that starts."
        ),
        time(
            "random-read",
            .large,
            "4 KiB reads, warm",
            "At random places, from the page cache: a database at work."
        ),
        time(
            "random-write-cold",
            .large,
            "4 KiB writes, cold",
            "At random places with nothing in memory, then all of it to the disk at once."
        ),
        time("random-write", .large, "4 KiB writes, warm", "At random places, into the page cache."),
        time(
            "write-sync",
            .large,
            "4 KiB writes, each on disk",
            "pwrite and fdatasync in turn: what a database commits."
        ),
    ]
}
