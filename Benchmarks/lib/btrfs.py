# SPDX-License-Identifier: Apache-2.0
"""Measures the btrfs driver. Run by Benchmarks/btrfs with BENCH_DIR on a fresh btrfs."""

import os
import shutil
import statistics
import subprocess
import sys

here = os.path.dirname(os.path.abspath(__file__))
sys.path[:0] = [here, os.path.join(os.path.dirname(here), "peers")]
import engines
import load as loading
import paired
from changed_image import changes, image, quiet

BENCH = os.environ["BENCH_DIR"]
STRATA = [paired.strata(), "--root", f"{BENCH}/store", "--run-root", f"{BENCH}/run", "--storage-driver", "btrfs"]
STORAGE = ["containers-storage", "-g", f"{BENCH}/containers", "-R", f"{BENCH}/containers.run", "-s", "btrfs"]
NULL = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL}


def median(times, name):
    return statistics.median(times[name])


def changed(name, directories):
    """An image `name` of that many directories, its tar, and a container of it with the changes made, unless it is there."""
    if os.path.exists(f"{BENCH}/{name}.tar"):
        return
    image(f"{BENCH}/{name}.rootfs", directories)
    quiet("tar", "-C", f"{BENCH}/{name}.rootfs", "-cf", f"{BENCH}/{name}.tar", ".")
    shutil.rmtree(f"{BENCH}/{name}.rootfs")
    quiet(*STRATA, "import", f"{BENCH}/{name}.tar", name)
    quiet(*STRATA, "run", "--name", f"{name}-changed", name, "/bin/sh", "-c", changes(directories))


def apply_changes(root, directories=330):
    quiet("sh", "-c", changes(directories).replace("/data/", f"{root}/data/"))


def fresh_commit(engine, container, *flags):
    """Seconds of a commit that finds no image of an earlier one."""
    subprocess.run([*engine, "rmi", "-f", "committed"], **NULL)
    os.sync()  # What others left to be written is not this one's work.
    return paired.spawn([*engine, "commit", *flags, container, "committed"])


def prepare_diff(options):
    changed("small", 330)
    podman = engines.Podman("btrfs")
    quiet(*podman.command, "import", f"{BENCH}/small.tar", "small", stderr=subprocess.DEVNULL)
    podman.change("small", changes())
    docker = engines.Docker("btrfs")
    try:
        quiet(*docker.command, "import", f"{BENCH}/small.tar", "small")
        container = quiet(*docker.command, "create", "--name", "changed", "--network", "none", "small", "/bin/sh")
        with open(f"{BENCH}/docker/data/image/btrfs/layerdb/mounts/{container}/mount-id") as file:
            apply_changes(f"{BENCH}/docker/data/btrfs/subvolumes/{file.read()}")
    finally:
        docker.stop()
    os.sync()


def measure_diff(options):
    docker = engines.Docker("btrfs")
    try:
        return compare(options, docker.command, engines.Podman("btrfs").command)
    finally:
        docker.stop()


def compare(options, docker, podman):
    listed = {name: len(quiet(*engine, "diff", container).splitlines()) for name, engine, container in
              [("strata", STRATA, "small-changed"), ("docker", docker, "changed"), ("podman", podman, "changed")]}
    print(f"lines of diff: {listed}")
    diffs = {"strata diff": [*STRATA, "diff", "small-changed"], "docker diff": [*docker, "diff", "changed"],
             "podman diff": [*podman, "diff", "changed"]}
    missed = 0
    # What others left to be written is not this one's work.
    for word, before in (("warm", os.sync), ("cold: caches dropped before each", drop_caches)):
        def timed(command):
            before()
            return paired.spawn(command)
        times = paired.measure({name: lambda command=command: timed(command) for name, command in diffs.items()},
                               options.runs if word == "warm" else 3)
        missed += paired.report(f"diff, 1,200 changes in 33,000 files, {word}", times, "docker diff",
                                {"strata diff": ("docker diff", 1 / 30)})
        ratio = median(times, "strata diff") / median(times, "podman diff")
        print(f"\nstrata diff / podman diff = {ratio:.3f}")
    commits = paired.measure({
        "strata commit": lambda: fresh_commit(STRATA, "small-changed"),
        "docker commit": lambda: fresh_commit(docker, "changed"),
        "podman commit": lambda: fresh_commit(podman, "changed", "-q"),
    }, max(3, options.runs // 2))
    return missed + paired.report("commit of the same", commits, "docker commit", {"strata commit": ("docker commit", 1 / 10)})


def drop_caches():
    os.sync()
    with open("/proc/sys/vm/drop_caches", "w") as file:
        file.write("3")


def prepare_large(options):
    changed("small", 330)
    changed("large", 3000)


def measure_large(options):
    times = paired.measure({
        "strata diff, 33,000 files": lambda: paired.spawn([*STRATA, "diff", "small-changed"]),
        "strata diff, 300,000 files": lambda: paired.spawn([*STRATA, "diff", "large-changed"]),
    }, options.runs)
    return paired.report("the same 1,200 changes in 300,000 files", times, "strata diff, 33,000 files",
                         {"strata diff, 300,000 files": ("strata diff, 33,000 files", 1.5)})


def prepare_create(options):
    tar = f"{BENCH}/base.tar"
    os.makedirs(f"{BENCH}/base/bin")
    shutil.copy("/bin/busybox", f"{BENCH}/base/bin/sh")
    quiet("tar", "-C", f"{BENCH}/base", "-cf", tar, ".")
    quiet(*STRATA, "import", tar, "base")
    quiet(*STRATA, "create", "--name", "first", "base", "/bin/sh")
    layer = quiet(*STORAGE, "create-layer").split()[0]
    quiet(*STORAGE, "applydiff", "-f", tar, layer)
    quiet(*STORAGE, "create-image", "-n", "base", layer)


def measure_create(options):
    def strata():
        return (paired.spawn([*STRATA, "create", "--name", "one", "base", "/bin/sh"])
                + paired.spawn([*STRATA, "rm", "one"]))

    def storage():
        return (paired.spawn([*STORAGE, "create-container", "-n", "one", "base"])
                + paired.spawn([*STORAGE, "delete-container", "one"]))
    times = paired.measure({"strata create + rm": strata, "containers-storage create + delete": storage}, options.runs * 2)
    return paired.report("container create and remove", times, "containers-storage create + delete",
                         {"strata create + rm": ("containers-storage create + delete", 1 / 8)})


LOADS = ("tiny", "debian", "large")


def prepare_load(options):
    for name in LOADS:
        loading.MAKERS[name][0](f"{BENCH}/load-{name}.tar")
        loading.image(name, [f"{BENCH}/load-{name}.tar"])


def measure_load(options):
    missed = 0
    for name in LOADS:
        archive, packed = f"{BENCH}/{name}.image.tar", f"{BENCH}/load-{name}.tar.gz"
        for sync in (False, True):
            times = paired.measure({"strata load": loading.strata_load(archive, sync, "btrfs"),
                                    "tar + igzip": loading.tar_extract(packed, sync)}, max(3, options.runs // 3))
            missed += paired.report(f"load {name} to btrfs, {'with sync' if sync else 'no sync'}", times, "tar + igzip",
                                    {"strata load": ("tar + igzip", 1.2)})
    return missed


def main():
    paired.end_by_signals()
    parser = paired.Arguments()
    parser.add_argument("--runs", type=paired.number, default=9)
    parser.add_argument("--only", type=paired.some_of("create", "diff", "large", "load"), default="create,diff,large,load")
    parser.add_argument("--steps", type=paired.some_of("prepare", "measure"), default="prepare,measure",
                        help="to do both apart, on one BENCH_DIR")
    options = parser.parse_args()
    missed = 0
    for figure in options.only:
        for step in options.steps:
            missed += globals()[f"{step}_{figure}"](options) or 0
    sys.exit(1 if missed else 0)


main()
