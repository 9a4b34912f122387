# SPDX-License-Identifier: Apache-2.0
"""Measures diff, commit and ps. Run by Benchmarks/diff-commit with BENCH_DIR on a fresh file system."""

import argparse
import os
import shutil
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import paired
from changed_image import changes, image, quiet

BENCH = os.environ["BENCH_DIR"]
STRATA = [paired.strata(), "--root", f"{BENCH}/store", "--run-root", f"{BENCH}/run", "--storage-driver", "overlay2"]
PODMAN = ["podman", "--root", f"{BENCH}/podman", "--runroot", f"{BENCH}/podman.run", "--storage-driver", "overlay",
          "--cgroup-manager", "cgroupfs", "--events-backend", "none"]


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=15)
    options = arguments.parse_args()
    image(f"{BENCH}/rootfs")
    quiet("tar", "-C", f"{BENCH}/rootfs", "-cf", f"{BENCH}/rootfs.tar", ".")
    quiet(*STRATA, "import", f"{BENCH}/rootfs.tar", "bench")
    quiet(*STRATA, "run", "--name", "changed", "bench", "/bin/sh", "-c", changes())
    count = len(quiet(*STRATA, "diff", "changed").splitlines())
    print(f"strata diff lists {count} lines")
    cases = {"strata diff": lambda: paired.spawn([*STRATA, "diff", "changed"]),
             "strata commit": lambda: paired.spawn([*STRATA, "commit", "-q", "changed", "committed"])}

    def commit_again():
        subprocess.run([*STRATA, "rmi", "-f", "committed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        return paired.spawn([*STRATA, "commit", "changed", "committed"])
    cases["strata commit"] = commit_again
    if shutil.which("podman"):
        quiet(*PODMAN, "import", f"{BENCH}/rootfs.tar", "bench", stderr=subprocess.DEVNULL)
        quiet(*PODMAN, "create", "--name", "changed", "--network", "none", "bench", "/bin/sh")
        mount = quiet(*PODMAN, "mount", "changed")
        quiet("sh", "-c", changes().replace("/data/", f"{mount}/data/"))
        quiet(*PODMAN, "umount", "changed")
        cases["podman diff"] = lambda: paired.spawn([*PODMAN, "diff", "changed"])

        def podman_commit():
            subprocess.run([*PODMAN, "rmi", "-f", "committed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
            return paired.spawn([*PODMAN, "commit", "-q", "changed", "committed"])
        cases["podman commit"] = podman_commit
    times = paired.measure(cases, options.runs)
    paired.report("1,200 changes in a 33,000-file image, overlay", times)
    missed = statistics.median(times["strata diff"]) > .015
    print(f"\nstrata diff: aim under 15 ms: {'MISSED' if missed else 'reached'}")
    if "podman commit" in times:
        ratio = statistics.median(times["strata commit"]) / statistics.median(times["podman commit"])
        print(f"strata commit / podman commit = {ratio:.2f}")
    for index in range(1000):
        quiet(*STRATA, "create", "bench", "/bin/true")
    times = paired.measure({"strata ps -a, 1,000 containers": lambda: paired.spawn([*STRATA, "ps", "-a"])}, 20)
    paired.report("ps", times)
    late = statistics.median(times["strata ps -a, 1,000 containers"]) > .010
    print(f"\nps -a: aim at most 10 ms: {'MISSED' if late else 'reached'}")
    sys.exit(1 if missed or late else 0)


if __name__ == "__main__":
    main()
