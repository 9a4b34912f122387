# SPDX-License-Identifier: Apache-2.0
"""Measures the same jobs with Strata and its peers. Run by Benchmarks/peers/all with BENCH_DIR on a fresh file system."""

import datetime
import os
import platform
import re
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
# How a job ends that an engine cannot do. Not SystemExit: that may be a signal for this program.
FAILURES = (paired.Failed, Missing, OSError, subprocess.SubprocessError)

# What is compared, by how a job's title begins.
CAPTIONS = {
    "run --rm":
        "From the command to its end, with nothing left. Strata, docker, podman and containerd make a container of an image on "
        "an overlay and remove it, each with its defaults for capabilities and seccomp; `ctr` knows no process limit. crun and "
        "runc get a bundle whose root is a plain directory: no image, no layer, no overlay, no row to keep; with "
        "`--cgroup-manager=disabled` no limits either.",
    "create and rm":
        "Two commands, one after the other, of a container that does not start. containers-storage makes the layer and its "
        "record alone, without mount points, configuration or limits.",
    "diff":
        "The list of changes, for a stopped container; caches warm.",
    "commit":
        "An image of that container. Strata's is on disk for sure when the command ends; the others do not wait for the disk.",
    "load":
        "A docker-archive with one layer, packed with gzip, from the page cache; the disk at rest before each, and nothing of "
        "the image there. Strata verifies both digests, keeps the blob, and syncs once, without `no sync`; docker, podman and "
        "containerd keep and verify too, and do not sync the unpacked files; umoci reads the same layer from an OCI layout, "
        "keeps and syncs nothing. tar unpacks the bare layer, neither hashed nor kept, with `sync -f` at its end unless it says "
        "`no sync`.",
    "union in user space":
        "One and the same work in a fresh mount over the same lower tree. The kernel's overlay syncs each file that it copies "
        "up (all of them, for chown); the other two do not. By another clock than the tables above: within a program that is "
        "already running, from the first of its calls to the last (git: the whole process); what is called warm is the least of "
        "three passes in a row, the sequential read of four.",
}


def loop():
    """What lies below the stores, as far as it decides what a disk's blocks cost."""
    device = os.stat(BENCH).st_dev
    try:
        with open(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}/loop/dio", encoding="ascii") as file:
            direct = file.read().strip() == "1"
    except OSError:
        return "on no loop device"
    return "in a loop file, " + ("with direct I/O" if direct else "without direct I/O: its blocks are in memory twice")


def key(title):
    """A job's title without sizes, which are this machine's."""
    return re.sub(r" \(.*?\)", "", title)


def rows_of(table):
    """The cells of each row of a Markdown table but its head."""
    return [[cell.strip(" *") for cell in line.split("|")[1:-1]] for line in table.splitlines() if line.startswith("| ")][1:]


class Results:
    """Tables in Markdown, and what could not be measured."""

    def __init__(self):
        self.tables, self.notes, self.medians, self.bases = [], [], {}, {}
        self.load = os.getloadavg()[1]
        self.below = loop()

    def add(self, title, times, base=OURS):
        self.bases[title] = base
        self.medians[title] = {name: statistics.median(values) for name, values in times.items()}
        caption = next((text for start, text in CAPTIONS.items() if title.startswith(start)), None)
        runs = len(times[base])
        # Of a few, nothing lies beyond a tenth of them.
        few = runs < 5
        rows = [f"### {title}", "", f"{caption + ' ' if caption else ''}{runs} run{'s' * (runs > 1)} of each.", "",
                f"| what | median ms | {'min | max' if few else 'p10 | p90'} | to Strata |", "|---|---:|---:|---:|---:|"]
        ours = statistics.median(times[base])
        for name, values in sorted(times.items(), key=lambda item: statistics.median(item[1])):
            median = statistics.median(values)
            bold = "**" if name.startswith("strata") else ""
            spread = [min(values), max(values)] if few else [paired.quantile(values, .1), paired.quantile(values, .9)]
            figures = [f"{value * 1e3:.1f}" for value in (median, *spread)]
            rows.append("| " + " | ".join([f"{bold}{name}{bold}", *figures, f"{median / ours:.2f}"]) + " |")
        self.tables.append("\n".join(rows))
        print("\n" + self.tables[-1], flush=True)

    def keep(self, page):
        """Takes over the tables of an earlier page whose jobs were not measured now."""
        now = {key(title) for title in self.medians}
        with open(page, encoding="utf-8") as file:
            tables = file.read().split("\n### ")[1:]
        for table in tables:
            title = table.split("\n", 1)[0]
            rows = rows_of(table)
            if key(title) in now or not rows:
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
        with open("/proc/cpuinfo", encoding="utf-8") as file:
            cpu = next((line.split(":", 1)[1].strip() for line in file if line.startswith("model name")), platform.machine())
        with open("/proc/meminfo", encoding="utf-8") as file:
            memory = next(int(line.split()[1]) >> 20 for line in file if line.startswith("MemTotal"))
        head = [f"# Strata and its peers, {datetime.date.today()}", "",
                f"Linux {platform.release()}, {os.cpu_count()} × {cpu}, {memory} GiB; stores on a fresh ext4 {self.below}. "
                "Whole processes from spawn to exit, where a table says nothing else; medians. All in turn, in an order that "
                "changes with each round, so that within rounds each follows each other equally often, as far as they suffice. Each table "
                "says of how many runs it is; of fewer than five it has the least and the most in place of p10 and p90. "
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
        except FAILURES as reason:
            results.notes.append(last_line(reason))
    return found


def last_line(reason):
    return (str(reason).strip().splitlines() or [type(reason).__name__])[-1][-160:]


def measured(results, title, cases, runs, warmup=1):
    """Like `paired.measure`; an engine that fails is noted and left out."""
    def case(name):
        def run():
            try:
                return cases[name]()
            except FAILURES as reason:
                results.notes.append(f"{title} with {name} ({last_line(reason)})")
        return run
    times = paired.measure({name: case(name) for name in cases}, runs, warmup)
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
    everything = [engine for engine in everything if loaded(results, engine, archive)]
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


def loaded(results, engine, archive):
    try:
        engine.load(archive)
        return True
    except FAILURES as reason:
        results.notes.append(f"containers with {engine.name} (its load: {last_line(reason)})")
        return False


def changed(results, engine, image):
    try:
        engine.change(image, changed_image.changes())
        return True
    except FAILURES as reason:
        results.notes.append(f"diff and commit with {engine.name} ({last_line(reason)})")
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
    for index in range(rounds):
        for union in paired.order(list(unions), index):
            try:
                for job, took in union.round(lower).items():
                    times.setdefault(job, {}).setdefault(union.name, []).append(took)
            except FAILURES as reason:
                unions.remove(union)
                for found in times.values():
                    found.pop(union.name, None)
                results.notes.append(f"work in a union with {union.name} ({last_line(reason)})")
                if union.name == UNION:
                    return
    for job in UNION_JOBS:
        if UNION in times.get(job, {}):
            results.add(f"union in user space: {job}", times[job], base=UNION)


def versions(everything):
    """What was compared; the runtimes and tools by their packages."""
    found = []
    for engine in everything:
        try:
            found.append(engine.version())
        except FAILURES as reason:
            found.append(f"{engine.name}: unknown ({last_line(reason)})")
    for package in ("crun", "runc", "umoci", "tar", "isal", "containers-storage", "fuse-overlayfs"):
        try:
            found.append(f"{package} {engines.text('dpkg-query', '-W', '-f', '${Version}', package)}")
        except Missing:
            continue
    return found


def publish(results, found, directory, readme):
    """Writes the dated page, and its summary between the two marks of the README, unless that would lose a row."""
    if not results.tables:
        sys.exit(f"nothing was measured, nothing is written: {'; '.join(results.notes)}")
    os.makedirs(directory, exist_ok=True)
    name = f"{datetime.date.today()}.md"
    if os.path.exists(f"{directory}/{name}"):
        results.keep(f"{directory}/{name}")
    with open(f"{directory}/{name}", "w", encoding="utf-8") as page:
        page.write(results.text(found))
    print(f"\nwritten to {directory}/{name}")
    with open(readme, encoding="utf-8") as page:
        text = page.read()
    before, start, rest = text.partition("<!-- peers -->\n")
    _, end, after = rest.partition("<!-- /peers -->")
    if not start or not end:
        sys.exit(f"{readme}: the marks <!-- peers --> and <!-- /peers --> are missing")
    shown = {key(title) for title in results.medians}
    if lacking := [row[0] for row in rows_of(rest.partition(end)[0]) if key(row[0]) not in shown]:
        print(f"{readme} keeps its table, for this day lacks of it: {'; '.join(lacking)}")
        return
    busy = (f"Measured while the machine was busy (load average {results.load:.1f} on {os.cpu_count()} processors):\n"
            "what uses several of them looks slower than it is beside what uses one. ") if results.load > os.cpu_count() else ""
    note = f"\n\n{busy}All figures and versions: [{name}](Benchmarks/peers/results/{name}).\n"
    with open(readme, "w", encoding="utf-8") as page:
        page.write(before + start + results.summary() + note + end + after)


def main():
    paired.end_by_signals()
    arguments = paired.Arguments()
    arguments.add_argument("--runs", type=paired.number, default=15)
    arguments.add_argument("--load-runs", type=paired.number, default=3)
    arguments.add_argument("--union-runs", type=paired.number, default=1)
    jobs = ["load", "containers", "union"]
    arguments.add_argument("--only", type=paired.some_of(*jobs), default=",".join(jobs))
    arguments.add_argument("--output", required=True, help="directory of the dated pages")
    arguments.add_argument("--readme", required=True, help="file that shows the newest")
    options = arguments.parse_args()
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL)  # crun refuses v1 and v2 side by side
    results = Results()
    everything = started(results, [lambda: engines.Strata("overlay2"), engines.Podman, engines.Docker, engines.Containerd])
    try:
        found = versions(everything)
        if "containers" in options.only:
            container_jobs(results, everything, *busybox_image(), options.runs)
        if "load" in options.only:
            load_job(results, everything, options.load_runs)
        if "union" in options.only:
            union_job(results, options.union_runs)
    finally:
        for engine in everything:
            engine.stop()
    publish(results, found, options.output, options.readme)


if __name__ == "__main__":
    main()
