# SPDX-License-Identifier: Apache-2.0
"""Measures image loading. Run by Benchmarks/load with BENCH_DIR on a fresh file system."""

import argparse
import gzip
import hashlib
import io
import json
import os
import random
import resource
import shutil
import statistics
import subprocess
import sys
import tarfile

sys.path.insert(0, os.path.dirname(__file__))
import paired

BENCH = os.environ["BENCH_DIR"]
STRATA = paired.strata()


def words(generator, size):
    """Bytes that compress 1.7 to 1: worse than programs do (2.5 to 1), so that there is much to store and to inflate."""
    vocabulary = [generator.randbytes(generator.randint(3, 12)) for _ in range(4000)]
    out = bytearray()
    while len(out) < size:
        out += generator.choice(vocabulary)
    return bytes(out[:size])


def add(tar, name, data, mode=0o644):
    entry = tarfile.TarInfo(name)
    entry.size, entry.mode, entry.mtime = len(data), mode, 1700000000
    tar.addfile(entry, io.BytesIO(data))


def add_directory(tar, name):
    entry = tarfile.TarInfo(name)
    entry.type, entry.mode, entry.mtime = tarfile.DIRTYPE, 0o755, 1700000000
    tar.addfile(entry)


def tiny(path):
    generator = random.Random(1)
    text = words(generator, 1 << 20)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for directory in range(400):
            add_directory(tar, f"usr/d{directory}")
            for file in range(50):
                size = generator.randint(200, 3200)
                start = generator.randint(0, len(text) - size)
                add(tar, f"usr/d{directory}/f{file}", text[start : start + size])


def large(path):
    generator = random.Random(2)
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for file in range(4):
            add(tar, f"big{file}", words(generator, 125 << 20))


def debian(path):
    """This machine's own Debian files: a base layer's shape without a network."""
    roots = ["etc", "usr/bin", "usr/sbin", "usr/lib/x86_64-linux-gnu", "usr/share/zoneinfo", "usr/share/perl",
             "usr/share/doc", "var/lib/dpkg"]
    budget = 140 << 20
    with tarfile.open(path, "w", format=tarfile.PAX_FORMAT) as tar:
        for root in roots:
            for base, directories, files in os.walk("/" + root):
                directories.sort()
                for name in sorted(files):
                    full = os.path.join(base, name)
                    size = os.lstat(full).st_size
                    if size > 8 << 20 or budget < size:
                        continue
                    budget -= size
                    tar.add(full, full[1:], recursive=False)


def digest(path):
    return "sha256:" + hashlib.sha256(open(path, "rb").read()).hexdigest()


def image(name, tars):
    """A docker-archive of the given layer tars, gzipped, beside the layers' .tar.gz."""
    layers = []
    for tar in tars:
        packed = tar + ".gz"
        if not os.path.exists(packed):
            with open(tar, "rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
                shutil.copyfileobj(source, target, 1 << 20)
        layers.append((packed, digest(tar)))
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]}}).encode()
    path = os.path.join(BENCH, name + ".image.tar")
    with tarfile.open(path, "w") as archive:
        add(archive, "config.json", config)
        for index, (packed, _) in enumerate(layers):
            archive.add(packed, f"{index}.tar.gz")
        add(archive, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [f"docker.io/bench/{name}:latest"],
                                                   "Layers": [f"{i}.tar.gz" for i in range(len(layers))]}]).encode())
    return path, [packed for packed, _ in layers]


counter = 0


def fresh(prefix):
    global counter
    counter += 1
    path = os.path.join(BENCH, f"{prefix}{counter}")
    return path


def strata_load(path, sync, driver="overlay2"):
    def run():
        root = fresh("store")
        took = paired.spawn([STRATA, "--root", root, "--run-root", root + ".run", "--storage-driver", driver, "load", "-q"]
                            + ([] if sync else ["--no-sync"]) + ["-i", path])
        # What is read-only (a btrfs subvolume) is not removed like a directory.
        subprocess.run(f"btrfs -q subvolume delete {root}/drivers/btrfs/layers/*", shell=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root + ".run", ignore_errors=True)
        os.sync()
        return took
    return run


def tar_extract(packed, sync):
    def run():
        root = fresh("tree")
        os.mkdir(root)
        command = f"tar -I igzip -xf {packed} -C {root} --numeric-owner" + (f" && sync -f {root}" if sync else "")
        took = paired.spawn(["sh", "-c", command])
        shutil.rmtree(root)
        os.sync()
        return took
    return run


def main():
    arguments = argparse.ArgumentParser()
    arguments.add_argument("--runs", type=int, default=7)
    arguments.add_argument("--only", default="tiny,large,debian,layers")
    options = arguments.parse_args()
    only = options.only.split(",")
    makers = {"tiny": (tiny, .8), "large": (large, .8), "debian": (debian, .9)}
    tars, missed = {}, 0
    for name, (make, limit) in makers.items():
        if name not in only and "layers" not in only:
            continue
        tars[name] = os.path.join(BENCH, name + ".tar")
        make(tars[name])
        archive, [packed] = image(name, [tars[name]])
        if name not in only:
            continue
        for sync in (False, True):
            word = "with sync" if sync else "no sync"
            times = paired.measure({"strata load": strata_load(archive, sync), "tar + igzip": tar_extract(packed, sync)},
                                   options.runs)
            size = os.path.getsize(tars[name]) >> 20
            missed += paired.report(f"load {name} ({size} MB tar), {word}", times, "tar + igzip",
                                    {"strata load": ("tar + igzip", limit)})
    if "layers" in only:
        single = [image(name, [tars[name]])[0] for name in tars]
        archive, _ = image("all", list(tars.values()))
        for sync in (False, True):
            missed += several_layers(archive, single, sync, options.runs)
    sys.exit(1 if missed else 0)


def several_layers(archive, single, sync, runs):
    """An image against the sum of its layers, and against what its work allows: processor seconds over processors."""
    work = []

    def whole():
        before = resource.getrusage(resource.RUSAGE_CHILDREN)
        took = strata_load(archive, sync)()
        after = resource.getrusage(resource.RUSAGE_CHILDREN)
        work.append(after.ru_utime + after.ru_stime - before.ru_utime - before.ru_stime)
        return took

    def one_by_one():
        return sum(strata_load(path, sync)() for path in single)
    times = paired.measure({"image of three layers": whole, "sum of its layers": one_by_one}, runs)
    cores = len(os.sched_getaffinity(0))
    bound = statistics.median(work) / cores / statistics.median(times["sum of its layers"])
    limit = max(.6, round(1.15 * bound, 2))
    missed = paired.report(f"load an image of several layers, {'with sync' if sync else 'no sync'}", times, "sum of its layers",
                           {"image of three layers": ("sum of its layers", limit)})
    print(f"its {statistics.median(work):.2f} s of work on {cores} processors allow no less than {bound:.2f} of the sum; the aim is "
          "0.6, or what the work allows and 15 % more")
    return missed


if __name__ == "__main__":
    main()
