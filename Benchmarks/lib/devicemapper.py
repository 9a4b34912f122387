# SPDX-License-Identifier: Apache-2.0
"""Measures the devicemapper driver. Run by Benchmarks/devicemapper with BENCH_DISK, a device or file with a file system."""

import os
import re
import shlex
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(os.path.abspath(__file__)))
import paired
from changed_image import COUNT, changes, image, quiet

BENCH = "/mnt/strata-bench"
STRATA = [paired.strata(), "--root", f"{BENCH}/store", "--run-root", "/run/strata-bench", "--storage-driver", "devicemapper"]
WALK = [*STRATA, "--storage-opt", "dm.changes=walk"]
TAR, MOUNT = f"{BENCH}/image.tar", f"{BENCH}/mount"
BASE = 10 << 30


def strata(*words):
    return quiet(*STRATA, *words)


def pool():
    """The name of the store's pool, started."""
    strata("layer", "rm", strata("layer", "create"))
    with open(f"{BENCH}/store/drivers/devicemapper/pool/record") as record:
        return f"strata-{re.search('^id (.*)$', record.read(), re.M)[1]}-pool"


def prepare():
    os.makedirs(MOUNT)
    image(f"{BENCH}/rootfs")
    quiet("tar", "-C", f"{BENCH}/rootfs", "-cf", TAR, ".")
    quiet("rm", "-rf", f"{BENCH}/rootfs")
    strata("import", TAR, "box")


def several(*commands):
    """Seconds of commands one after the other, in one shell, which starts a process faster than this."""
    return paired.spawn(["sh", "-c", " && ".join(map(shlex.join, commands))])


def made_by(*command):
    """The layer that a command makes, and its seconds."""
    start = time.perf_counter()
    made = quiet(*command).split()[-1]
    return made, time.perf_counter() - start


def layer(options):
    """A container's layer made, used and taken away, beside the same by hand: one process a step."""
    name = pool()
    top = re.search("^image (.*)$", strata("layer", "ls", "--format", "{{.Kind}} {{.ID}}"), re.M)[1]
    with open(f"{BENCH}/store/drivers/devicemapper/layers/{top}") as record:
        origin = re.search("^device (.*)$", record.read(), re.M)[1]
    number = 9_000_000
    program = ["/bin/busybox", "true"]

    def created():
        return several([*STRATA, "create", "--network", "none", "--name", "bench", "box", *program],
                       [*STRATA, "rm", "bench"])

    def by_verbs():
        verb = shlex.join([*STRATA, "layer"])
        return paired.spawn(["sh", "-c", f"layer=$({verb} create {top}) && {verb} mount $layer {MOUNT} && "
                             f"{verb} unmount {MOUNT} && {verb} rm $layer"])

    def by_hand(*use):
        nonlocal number
        number += 1
        table = f"0 {BASE // 512} thin /dev/mapper/{name} {number}"
        return several(["dmsetup", "message", name, "0", f"create_snap {number} {origin}"],
                       ["dmsetup", "create", "by-hand", "--table", table], ["mount", "/dev/mapper/by-hand", MOUNT],
                       *use, ["umount", MOUNT], ["dmsetup", "remove", "by-hand"],
                       ["dmsetup", "message", name, "0", f"delete {number}"])

    hand, hand_run = "dmsetup and mount", "dmsetup and mount, unshare and chroot"
    create, run, verbs = "strata create, rm", "strata run --rm", "strata layer create, mount, unmount, rm"
    runs = options.runs * 3
    times = paired.measure({
        create: created, hand: by_hand, verbs: by_verbs,
        run: lambda: paired.spawn([*STRATA, "run", "--rm", "--network", "none", "box", *program]),
        hand_run: lambda: by_hand(["unshare", "-mpfiun", "chroot", MOUNT, *program])}, runs)
    # What is removed lies in the trash until somebody has time.
    prune = paired.spawn([*STRATA, "system", "prune", "-f"]) / (runs + 1) / 3
    for word in (create, run, verbs):
        times[word] = [took + prune for took in times[word]]
    return paired.report("a container's layer made, used, removed; ours with its part of a prune", times, hand,
                         {create: (hand, 1), run: (hand_run, 1)})


def diff(options):
    if "work" not in strata("ps", "-a", "--format", "{{.Names}}").split():
        strata("run", "--name", "work", "--network", "none", "box", "/bin/sh", "-c", changes())
    listed = {word: quiet(*command, "diff", "work").splitlines() for word, command in (("blocks", STRATA), ("walk", WALK))}
    if listed["blocks"] != listed["walk"]:
        sys.exit("changed blocks and the walk of both trees do not find the same")
    print(f"lines of diff: {len(listed['walk'])}, for {COUNT} changes")
    times = paired.measure({"diff by changed blocks": lambda: paired.spawn([*STRATA, "diff", "work"]),
                            "diff by the walk of both trees": lambda: paired.spawn([*WALK, "diff", "work"])}, options.runs)
    return paired.report("diff, 1,200 changes in 33,000 files", times, "diff by the walk of both trees",
                         {"diff by changed blocks": ("diff by the walk of both trees", 1 / 10)})


def unpack(options):
    """Both end when it is on disk, and both disks are files on the same file system."""
    disk = f"{BENCH}/plain"

    def ours():
        made, took = made_by(*STRATA, "layer", "apply", TAR)
        strata("layer", "rm", made)
        strata("system", "prune", "-f")
        return took

    def tar():
        quiet("truncate", "-s", "0", disk)
        quiet("truncate", "-s", str(BASE), disk)
        quiet("mkfs.ext4", "-q", "-F", disk)
        quiet("mount", "-o", "loop", disk, MOUNT)
        try:
            return several(["tar", "-C", MOUNT, "-xf", TAR], ["sync", "-f", MOUNT])
        finally:
            quiet("umount", MOUNT)

    times = paired.measure({"strata layer apply": ours, "tar xf, sync": tar}, options.runs, warmup=0)
    return paired.report("unpack 33,000 files", times, "tar xf, sync", {"strata layer apply": ("tar xf, sync", 1.2)})


def main():
    paired.end_by_signals()
    parser = paired.Arguments()
    parser.add_argument("--runs", type=paired.number, default=5)
    parts = {"diff": diff, "layer": layer, "unpack": unpack}
    parser.add_argument("--only", type=paired.some_of(*parts), default=",".join(parts))
    options = parser.parse_args()
    disk = os.environ["BENCH_DISK"]
    os.makedirs(BENCH, exist_ok=True)
    quiet("mount", *(["-o", "loop"] if os.path.isfile(disk) else []), disk, BENCH)
    try:
        if not os.path.exists(f"{BENCH}/prepared"):
            prepare()
            open(f"{BENCH}/prepared", "w").close()
        return sum(part(options) for name, part in parts.items() if name in options.only)
    finally:
        quiet("dmsetup", "remove", "--retry", pool())
        quiet("umount", BENCH)


sys.exit(1 if main() else 0)
