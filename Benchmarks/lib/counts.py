# SPDX-License-Identifier: Apache-2.0
"""Counts what the hot paths do: system calls (strace), instructions (callgrind) and allocations (a preloaded counter).

Times are noisy, counts are not: a count above its limit is a change that somebody made. What grows with its input is counted
per item, from two inputs of which one is twice the other, so that start-up does not count."""

import json
import os
import subprocess
import sys
import tarfile
import io

sys.path.insert(0, os.path.dirname(__file__))
import paired

BENCH = os.environ["BENCH_DIR"]
HERE = os.path.dirname(os.path.abspath(__file__))
# What the C library, the scheduler and other threads' luck decide.
IGNORED = {"futex", "restart_syscall", "sched_yield", "brk", "mmap", "munmap", "mprotect", "madvise", "rt_sigreturn", "poll",
           "ppoll", "wait4", "waitid", "sched_setscheduler", "nanosleep", "clock_nanosleep",
           "pselect6", "epoll_wait", "getpid", "gettid", "sched_getaffinity", "clone3", "rseq", "set_robust_list"}
# Whoever unpacks a layer begins one whenever some time has passed.
TIMED = {"syncfs"}
# How far a count may lie above its limit before it is a failure: machines differ in their C library and processor. What is
# counted per item has less of them in it.
SLACK = {"system calls": 1.02, "instructions": 1.06, "allocations": 1.03}
MORE, MORE_PER_ITEM = 1.5, .3
NULL = subprocess.DEVNULL


class Counter:
    def __init__(self, program):
        self.plain = program
        # callgrind does not read the debug information of this compiler.
        self.stripped = f"{BENCH}/strata"
        subprocess.run(["strip", "-o", self.stripped, program], check=True)
        beside = os.path.join(os.path.dirname(program), "strata-supervisor")
        if os.path.exists(beside):
            os.symlink(os.path.realpath(beside), f"{BENCH}/strata-supervisor")
        self.library = f"{BENCH}/allocations.so"
        subprocess.run(["cc", "-O2", "-shared", "-fPIC", "-o", self.library, f"{HERE}/allocations.c"], check=True)
        self.store = ["--root", f"{BENCH}/store", "--run-root", f"{BENCH}/run", "--storage-driver", "overlay2"]

    def strata(self, *words):
        done = subprocess.run([self.plain, *self.store, *words], stdin=NULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
        if done.returncode:
            sys.exit(f"strata {' '.join(words)}: {done.stderr.decode()}")
        return done.stdout.decode().strip()

    def run(self, command, environment=None):
        done = subprocess.run(command, stdin=NULL, stdout=NULL, stderr=subprocess.PIPE, env={**os.environ, **(environment or {})})
        if done.returncode:
            sys.exit(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-600:]}")

    def system_calls(self, words, follow=True):
        """`follow`: those of the processes that it starts too, for whose end this then waits."""
        out = f"{BENCH}/strace"
        self.run(["strace", *(["-f"] if follow else []), "-c", "-U", "calls,name", "-o", out, self.stripped, *self.store, *words])
        total, ignored = 0, IGNORED | {"total"} | (TIMED if "apply" in words else set())
        for line in open(out):
            parts = line.split()
            if len(parts) == 2 and parts[0].isdigit() and parts[1] not in ignored:
                total += int(parts[0])
        return total

    def instructions(self, words):
        out = f"{BENCH}/callgrind"
        self.run(["valgrind", "--quiet", "--tool=callgrind", f"--callgrind-out-file={out}", self.stripped, *self.store, *words])
        return next(int(line.split()[1]) for line in open(out) if line.startswith(("summary:", "totals:")))

    def allocations(self, words):
        out = f"{BENCH}/allocations"
        self.run([self.stripped, *self.store, *words], {"LD_PRELOAD": self.library, "ALLOCATIONS": out})
        return int(open(out).read())


def add(tar, name, data):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mtime = len(data), 1700000000
    tar.addfile(entry, io.BytesIO(data))


def layer_tar(path, files, text):
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(files):
            add(tar, f"file-{number:05}", f"{text} {number}\n".encode() * 20)
    return path


def archive(path, entries):
    """An image without layers, in an archive with so many entries that do not belong to it."""
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for number in range(entries):
            add(tar, f"file-{number:05}", f"{number}\n".encode() * 20)
        add(tar, "config.json", json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                                            "rootfs": {"type": "layers", "diff_ids": []}}).encode())
        add(tar, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": None, "Layers": []}]).encode())
    return path


ALL = ("system calls", "instructions", "allocations")


def measure(counter):
    """Yields (name, count)."""
    methods = {"system calls": counter.system_calls, "instructions": counter.instructions, "allocations": counter.allocations}

    def whole(name, words, kinds=ALL):
        for kind in kinds:
            methods[kind](words)  # what the first call alone does: files of the store, caches
            yield f"{name}: {kind}", methods[kind](words)

    def each(name, small, large, items, kinds=ALL):
        """`small` and `large` give the words for `items` and twice as many."""
        for kind in kinds:
            yield f"{name}: {kind}", (methods[kind](large()) - methods[kind](small())) / items

    yield from whole("start", ["--version"])
    few, many = (layer_tar(f"{BENCH}/{count}.tar", count, "one") for count in (500, 1000))
    yield from each("apply, per file", lambda: ["layer", "apply", few], lambda: ["layer", "apply", many], 500)

    base = counter.strata("layer", "apply", many)
    layers = [counter.strata("layer", "apply", "--parent", base, layer_tar(f"{BENCH}/changed", count, "two")) for count in (400, 800)]
    yield from each("changes, per change", *[(lambda layer=layer: ["layer", "changes", layer]) for layer in layers], 400)
    yield from whole("layer create", ["layer", "create", base])

    mounts = Mounts(counter)
    for kind in mounts.kinds:
        yield f"mount: {kind}", mounts.count(kind, base)

    rootfs = f"{BENCH}/rootfs"
    os.makedirs(f"{rootfs}/bin")
    subprocess.run(["cp", "/bin/busybox", f"{rootfs}/bin/true"], check=True)
    subprocess.run(["tar", "-C", rootfs, "-cf", f"{rootfs}.tar", "."], check=True)
    counter.strata("import", f"{rootfs}.tar", "counts")
    run = ["run", "--rm", "--network", "none", "-m", "64m", "--pids-limit", "100", "counts", "/bin/true"]
    yield from whole("run --rm", run, ("system calls", "allocations"))
    plan = ["run", "--dry-run", "--network", "none", "counts", "/bin/true"]
    yield from whole("launch plan", plan)
    # Not volumes: callgrind does not know the calls that open them.
    further = [[f"--tmpfs=/mount-{number}" for number in range(count)] for count in (20, 40)]
    yield from each("launch plan, per mount", *[(lambda flags=flags: plan[:2] + flags + plan[2:]) for flags in further], 20)

    yield from whole("images", ["images"])
    # Not instructions: how SQLite's pages lie is chance.
    kinds = ("system calls", "allocations")
    totals = {kind: [] for kind in kinds}
    rows = 200
    for _ in range(2):
        for _ in range(rows):
            counter.strata("create", "counts", "/bin/true")
        for kind in kinds:
            methods[kind](["ps", "-a"])
            totals[kind].append(methods[kind](["ps", "-a"]))
    for kind in kinds:
        yield f"ps -a, per container: {kind}", (totals[kind][1] - totals[kind][0]) / rows

    archives = [archive(f"{BENCH}/archive-{count}.tar", count) for count in (2000, 4000)]
    counter.strata("load", "-q", "-i", archives[0])
    yield from each("tar entry parse, per entry", *[(lambda path=path: ["load", "-q", "-i", path]) for path in archives], 2000)
    # Last: with many layers SQLite's pages lie by chance, and how many are read with them.
    yield from mounts.per_layer(base)


class Mounts:
    """Counts what mounting a layer takes."""

    # The holder of the mount lives on: only what the command does itself is counted. Callgrind does not know the mount API.
    kinds = ("system calls", "allocations")

    def __init__(self, counter):
        self.methods = {"system calls": lambda words: counter.system_calls(words, follow=False),
                        "allocations": counter.allocations}
        self.counter, self.target = counter, f"{BENCH}/mounted"
        os.mkdir(self.target)

    def count(self, kind, layer):
        found = 0
        for _ in range(2):
            found = self.methods[kind](["layer", "mount", layer, self.target])
            self.counter.strata("layer", "unmount", self.target)
        return found

    def per_layer(self, base):
        """Yields (name, count) for each further layer below the one that is mounted."""
        tar = layer_tar(f"{BENCH}/one.tar", 1, "one")
        layers = [base]
        for _ in range(80):
            layers.append(self.counter.strata("layer", "apply", "--parent", layers[-1], tar))
        for kind in self.kinds:
            yield f"mount, per layer: {kind}", (self.count(kind, layers[80]) - self.count(kind, layers[40])) / 40


def main():
    paired.end_by_signals()
    arguments = paired.Arguments()
    arguments.add_argument("--limits", required=True)
    arguments.add_argument("--update", action="store_true", help="write what was counted as the new limits")
    options = arguments.parse_args()
    limits = {} if options.update else json.load(open(options.limits))
    found, above = {}, 0
    print("| what | count | limit | |\n|---|---:|---:|---|")
    for name, count in measure(Counter(os.path.realpath(paired.strata()))):
        found[name] = round(count, 1)
        limit = limits.get(name)
        slack, more = SLACK[name.rsplit(": ", 1)[1]], MORE_PER_ITEM if ", per " in name else MORE
        word = ("" if limit is None else "GREW" if count > limit * slack + more else
                "fell" if count < limit / slack - more else "as before")
        above += word == "GREW"
        print(f"| {name} | {count:,.1f} | {'' if limit is None else f'{limit:,.1f}'} | {word} |", flush=True)
    if options.update:
        json.dump(found, open(options.limits, "w"), indent=4)
        open(options.limits, "a").write("\n")
    unlike = {} if options.update else {**dict.fromkeys(set(limits) - set(found), "was not counted"),
                                        **dict.fromkeys(set(found) - set(limits), "has no limit")}
    if above or unlike:
        sys.exit(f"{above} counts grew{''.join(f'; {name} {what}' for name, what in sorted(unlike.items()))}: "
                 "mend it, or say why in the commit that raises the limit (Benchmarks/counts --update)")


main()
