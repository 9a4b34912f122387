# SPDX-License-Identifier: Apache-2.0
"""Measures the same jobs with Strata and its peers, in turn. Run by Benchmarks/peers/all with BENCH_DIR on a fresh file system."""

import argparse
import datetime
import os
import platform
import shutil
import statistics
import subprocess
import sys

import engines
import paired
from engines import BENCH, Missing

import changed_image
import load

OURS = "strata overlay2"
UNION = "strata-unionfs"

# What is compared, by how a job's title begins.
CAPTIONS = {
    "run --rm": "From the command to its end, with nothing left. Strata, docker, podman and containerd make a container of an image "
                "on an overlay and remove it, each with its defaults for capabilities and seccomp; `ctr` knows no process limit. "
                "crun and runc get a bundle whose root is a plain directory: no image, no layer, no overlay, no row to keep; with "
                "`--cgroup-manager=disabled` no limits either.",
    "create and rm": "Two commands, one after the other, of a container that does not start. containers-storage makes the layer and "
                     "its record alone, without mount points, configuration or limits.",
    "diff": "The list of changes, for a stopped container; caches warm.",
    "commit": "An image of that container. Strata's is on disk for sure when the command ends; the others do not wait for the disk.",
    "load": "A docker-archive with one layer, packed with gzip, from the page cache; the disk at rest before each, and nothing of the "
            "image there. Strata verifies both digests, keeps the blob, and syncs once, without `no sync`; docker, podman and "
            "containerd keep and verify too, and do not sync the unpacked files; umoci reads the same layer from an OCI layout, "
            "keeps and syncs nothing. tar unpacks the bare layer, neither hashed nor kept, with `sync -f` at its end unless it says "
            "`no sync`.",
    "union in user space": "One and the same work in a fresh mount over the same lower tree. The kernel's overlay syncs each file "
                           "that it copies up (all of them, for chown); the other two do not.",
}


class Results:
    """Tables in Markdown, and what could not be measured."""

    def __init__(self):
        self.tables, self.notes, self.medians, self.bases = [], [], {}, {}
        self.load = os.getloadavg()[1]

    def add(self, title, times, base=OURS):
        self.bases[title] = base
        self.medians[title] = {name: statistics.median(values) for name, values in times.items()}
        caption = next((text for start, text in CAPTIONS.items() if title.startswith(start)), None)
        rows = [f"### {title}", ""] + ([caption, ""] if caption else []) + ["| what | median ms | p10 | p90 | to Strata |", "|---|---:|---:|---:|---:|"]
        ours = statistics.median(times[base])
        for name, values in sorted(times.items(), key=lambda item: statistics.median(item[1])):
            median = statistics.median(values)
            bold = "**" if name.startswith("strata") else ""
            cells = [f"{bold}{name}{bold}"] + [f"{paired_value * 1e3:.1f}" for paired_value in
                     (median, paired.quantile(values, .1), paired.quantile(values, .9))] + [f"{median / ours:.2f}"]
            rows.append("| " + " | ".join(cells) + " |")
        self.tables.append("\n".join(rows))
        print("\n" + self.tables[-1], flush=True)

    def keep(self, page):
        """Takes over the tables of an earlier page whose jobs were not measured now."""
        for table in open(page).read().split("\n### ")[1:]:
            title = table.split("\n", 1)[0]
            rows = [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")][1:]
            if title in self.medians or not rows:
                continue
            self.tables.append("### " + table.rstrip())
            self.medians[title] = {row[0]: float(row[1]) / 1e3 for row in rows}
            self.bases[title] = OURS if OURS in self.medians[title] else UNION

    def summary(self):
        """One table: what Strata takes, and how many times that each peer takes."""
        peers = ["docker overlay2", "podman overlay", "containerd overlayfs", "containers-storage overlay",
                 "crun, prepared bundle", "runc, prepared bundle", "umoci unpack", "tar, igzip", "tar, gzip", "fuse-overlayfs",
                 "kernel overlay"]
        shown = [peer for peer in peers if any(peer in found for found in self.medians.values())]
        rows = ["| | Strata, ms | " + " | ".join(shown) + " |", "|---|---:|" + "---:|" * len(shown)]
        for title, found in self.medians.items():
            ours = found[self.bases[title]]
            cells = [f"× {found[peer] / ours:.1f}" if peer in found else "" for peer in shown]
            rows.append(f"| {title} | {ours * 1e3:.1f} | " + " | ".join(cells) + " |")
        return "\n".join(rows)

    def text(self, versions):
        cpu = next((line.split(":", 1)[1].strip() for line in open("/proc/cpuinfo") if line.startswith("model name")), platform.machine())
        memory = next(int(line.split()[1]) >> 20 for line in open("/proc/meminfo") if line.startswith("MemTotal"))
        head = [f"# Strata and its peers, {datetime.date.today()}", "",
                f"Linux {platform.release()}, {os.cpu_count()} × {cpu}, {memory} GiB; stores on a fresh ext4 in a loop file. "
                "All commands in turn, whole processes from spawn to exit; medians. "
                f"What else the machine did: load average {self.load:.1f} in the five minutes before.", "",
                "Versions: " + "; ".join(versions) + "."]
        notes = ["", "Not measured: " + "; ".join(self.notes) + "."] if self.notes else []
        return "\n".join(head + notes) + "\n\n" + "\n\n".join(self.tables) + "\n"


def started(results, makers):
    """The engines that start here; the others are noted."""
    found = []
    for maker in makers:
        try:
            found.append(maker())
        except (Missing, OSError, subprocess.CalledProcessError) as reason:
            results.notes.append(str(reason))
    return found


def measured(results, title, cases, runs, warmup=1):
    """Like `paired.measure`; an engine that fails is noted and left out."""
    times = {name: [] for name in cases}
    for index in range(warmup + runs):
        for name in list(times):
            try:
                took = cases[name]()
            except (SystemExit, Missing, OSError) as reason:
                del times[name]
                results.notes.append(f"{title} with {name} ({str(reason).strip().splitlines()[-1][-160:]})")
                continue
            if index >= warmup:
                times[name].append(took)
    if OURS in times:
        results.add(title, times)
    else:
        sys.exit(f"{title}: {OURS} failed: {results.notes[-1]}")


def images():
    """A docker-archive of a tiny, a large and a Debian-like layer each: (title, archive, layers, OCI layout, name)."""
    for name, make in (("tiny", load.tiny), ("debian", load.debian), ("large", load.large)):
        tar = f"{BENCH}/{name}.tar"
        make(tar)
        size = os.path.getsize(tar) >> 20
        archive, layers = load.image(name, [tar])
        os.unlink(tar)
        layout = f"{BENCH}/{name}.oci"
        if shutil.which("skopeo"):
            subprocess.run(["skopeo", "--insecure-policy", "copy", "-q", f"docker-archive:{archive}", f"oci:{layout}:latest"],
                           check=True, stdout=subprocess.DEVNULL)
        yield f"load: {name} layer ({size} MB), gzip", archive, layers, layout, f"docker.io/bench/{name}:latest"


def load_job(results, everything, runs):
    tars = [engines.Tar(program, sync) for program, sync in (("igzip", True), ("igzip", False), ("gzip", True))
            if shutil.which(program)]
    umoci = started(results, [engines.Umoci])
    for title, archive, layers, layout, name in images():
        def case(engine, source, image):
            def run():
                engine.forget(image)
                os.sync()
                took = engine.load(source)
                engine.forget(image)
                return took
            return run
        cases = {e.name: case(e, archive, name) for e in everything if e.load}
        unsynced = engines.Strata("overlay2", sync=False)
        cases[unsynced.name] = case(unsynced, archive, name)
        cases.update({tar.name: case(tar, layers, name) for tar in tars})
        cases.update({u.name: case(u, layout, name) for u in umoci})
        measured(results, title, cases, runs, warmup=0)
        os.unlink(archive)


def busybox_image():
    rootfs = f"{BENCH}/rootfs"
    changed_image.image(rootfs)
    tar = f"{BENCH}/rootfs-layer.tar"
    subprocess.run(["tar", "-C", rootfs, "-cf", tar, "."], check=True)
    return rootfs, load.image("base", [tar])[0]


def container_jobs(results, everything, rootfs, archive, runs):
    image = "docker.io/bench/base:latest"
    for engine in everything:
        if engine.load:
            engine.load(archive)
    runtimes = started(results, [lambda: engines.Runtime("crun", rootfs), lambda: engines.Runtime("runc", rootfs),
                                 lambda: engines.Runtime("crun", rootfs, ["--cgroup-manager=disabled"], limits=False)])
    measured(results, "run --rm true, memory and process limit, no network",
             {e.name: (lambda e=e: e.run(image)) for e in everything + runtimes}, runs, warmup=2)
    storage = started(results, [engines.ContainersStorage])
    measured(results, "create and rm a container",
             {e.name: (lambda e=e: e.create_and_remove(image)) for e in everything + storage if e.create_and_remove}, runs)
    changing = [e for e in everything if e.change and changed(results, e, image)]
    measured(results, "diff: 1,200 changes in an image of 33,000 files", {e.name: e.diff for e in changing}, runs)
    measured(results, "commit of that container", {e.name: e.commit for e in changing}, max(3, runs // 3))


def changed(results, engine, image):
    try:
        engine.change(image, changed_image.changes())
        return True
    except Missing as reason:
        results.notes.append(f"diff and commit with {engine.name} ({str(reason)[-200:]})")
        return False


# The jobs of Benchmarks/unionfs that the page shows.
UNION_JOBS = ["create 10,000", "unlink 5,000 lower files", "chown -R of 20,000 lower files", "read of 20,000 files, warm",
              "git status, warm", "sequential read, warm"]


def union_job(results, rounds):
    """Work in a mounted union: ours in user space, the other one there, and the kernel's."""
    unions = started(results, [lambda: engines.UnionMount(UNION, "ours"),
                               lambda: engines.UnionMount("fuse-overlayfs", "fuse-overlayfs", "fuse-overlayfs"),
                               lambda: engines.UnionMount("kernel overlay", "overlay")])
    lower = engines.unionfs.prepare()
    times = {}
    for _ in range(rounds):
        for union in list(unions):
            try:
                for job, took in union.round(lower).items():
                    times.setdefault(job, {}).setdefault(union.name, []).append(took)
            except (SystemExit, OSError) as reason:
                unions.remove(union)
                results.notes.append(f"work in a union with {union.name} ({str(reason).strip().splitlines()[-1][:160]})")
    for job in UNION_JOBS:
        if UNION in times.get(job, {}):
            results.add(f"union in user space: {job}", times[job], base=UNION)


def versions(everything):
    """What was compared; the runtimes and tools by their packages."""
    found = [engine.version() for engine in everything]
    for package in ("crun", "runc", "umoci", "tar", "isal", "containers-storage", "fuse-overlayfs"):
        try:
            found.append(f"{package} {engines.text('dpkg-query', '-W', '-f', '${Version}', package)}")
        except Missing:
            continue
    return found


def publish(results, everything, directory, readme):
    """Writes the dated page, and its summary between the two marks of the README."""
    os.makedirs(directory, exist_ok=True)
    name = f"{datetime.date.today()}.md"
    if os.path.exists(f"{directory}/{name}"):
        results.keep(f"{directory}/{name}")
    with open(f"{directory}/{name}", "w") as page:
        page.write(results.text(versions(everything)))
    print(f"\nwritten to {directory}/{name}")
    text = open(readme).read()
    before, start, rest = text.partition("<!-- peers -->\n")
    _, end, after = rest.partition("<!-- /peers -->")
    if not start or not end:
        sys.exit(f"{readme}: the marks <!-- peers --> and <!-- /peers --> are missing")
    busy = (f"Measured while the machine was busy (load average {results.load:.1f} on {os.cpu_count()} processors):\nwhat uses several "
            "of them looks slower than it is beside what uses one. ") if results.load > os.cpu_count() else ""
    note = f"\n\n{busy}All figures and versions: [{name}](Benchmarks/peers/results/{name}).\n"
    with open(readme, "w") as page:
        page.write(before + start + results.summary() + note + end + after)


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=15)
    arguments.add_argument("--load-runs", type=int, default=3)
    arguments.add_argument("--union-runs", type=int, default=1)
    arguments.add_argument("--only", default="load,containers,union")
    arguments.add_argument("--output", required=True, help="directory of the dated pages")
    arguments.add_argument("--readme", required=True, help="file that shows the newest")
    options = arguments.parse_args()
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL)  # crun refuses v1 and v2 side by side
    results = Results()
    everything = started(results, [lambda: engines.Strata("overlay2"), engines.Podman, engines.Docker, engines.Containerd])
    try:
        if "containers" in options.only:
            container_jobs(results, everything, *busybox_image(), options.runs)
        if "load" in options.only:
            load_job(results, everything, options.load_runs)
        if "union" in options.only:
            union_job(results, options.union_runs)
    finally:
        for engine in everything:
            engine.stop()
    publish(results, everything, options.output, options.readme)


if __name__ == "__main__":
    main()
