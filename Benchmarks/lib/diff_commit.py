# SPDX-License-Identifier: Apache-2.0
"""Measures diff, commit, and what only reads. Run by Benchmarks/diff-commit with BENCH_DIR on a fresh file system."""

import os
import statistics
import subprocess
import sys

sys.path.insert(0, os.path.dirname(__file__))
import paired
from changed_image import changes, image, quiet

BENCH = os.environ["BENCH_DIR"]
STRATA = [paired.strata(), "--root", f"{BENCH}/store", "--run-root", f"{BENCH}/run", "--storage-driver", "overlay2"]


def others():
    """The peers that are installed and start here."""
    sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "peers"))
    import engines
    found = []
    for engine in (engines.Podman, engines.Docker):
        try:
            found.append(engine())
        except engines.Missing as reason:
            print(f"left out: {reason}")
    return found


def main():
    paired.end_by_signals()
    arguments = paired.Arguments()
    arguments.add_argument("--runs", type=paired.number, default=15)
    options = arguments.parse_args()
    image(f"{BENCH}/rootfs")
    quiet("tar", "-C", f"{BENCH}/rootfs", "-cf", f"{BENCH}/rootfs.tar", ".")
    quiet(*STRATA, "import", f"{BENCH}/rootfs.tar", "bench")
    quiet(*STRATA, "run", "--name", "changed", "bench", "/bin/sh", "-c", changes())
    count = len(quiet(*STRATA, "diff", "changed").splitlines())
    print(f"strata diff lists {count} lines")
    cases = {"strata diff": lambda: paired.spawn([*STRATA, "diff", "changed"])}

    def commit_again(*words):
        subprocess.run([*STRATA, "rmi", "-f", "committed"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
        os.sync()  # What others left to be written is not this one's work.
        return paired.spawn([*STRATA, "commit", *words, "changed", "committed"])
    cases["strata commit"] = commit_again
    # The others do not wait for the disk.
    cases["strata commit --no-sync"] = lambda: commit_again("--no-sync")
    peers = others()
    try:
        for peer in peers:
            quiet(*peer.command, "import", f"{BENCH}/rootfs.tar", "bench", stderr=subprocess.DEVNULL)
            peer.change("bench", changes())
            cases |= {f"{peer.name} diff": peer.diff, f"{peer.name} commit": peer.commit}
        times = paired.measure(cases, options.runs)
    finally:
        for peer in peers:
            peer.stop()
    paired.report("1,200 changes in a 33,000-file image, overlay", times)
    missed = statistics.median(times["strata diff"]) > .015
    print(f"\nstrata diff: aim under 15 ms: {'MISSED' if missed else 'reached'}")
    for name in times:
        if name.endswith(" commit") and not name.startswith("strata"):
            for ours in ("strata commit", "strata commit --no-sync"):
                ratio = statistics.median(times[ours]) / statistics.median(times[name])
                is_aim = name.startswith("docker") and ours == "strata commit"
                missed += is_aim and ratio > .2
                word = f" (aim: at most 0.2): {'MISSED' if ratio > .2 else 'reached'}" if is_aim else ""
                print(f"{ours} / {name} = {ratio:.2f}{word}")
    for index in range(1000):
        quiet(*STRATA, "create", "bench", "/bin/true")
    reading = {f"strata {' '.join(verb)}": lambda verb=verb: paired.spawn([*STRATA, *verb])
               for verb in (["ps", "-a"], ["images"], ["layer", "ls"])}
    times = paired.measure(reading, 20)
    paired.report("1,000 containers, each with a layer", times)
    for name, values in times.items():
        late = statistics.median(values) > .010
        missed += late
        print(f"\n{name}: aim at most 10 ms: {'MISSED' if late else 'reached'}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
