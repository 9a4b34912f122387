# SPDX-License-Identifier: Apache-2.0
"""Layers and images to load, and the commands that unpack them."""

import gzip
import hashlib
import io
import json
import os
import random
import shutil
import subprocess
import tarfile

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


def gzipped(tar):
    packed = tar + ".gz"
    if not os.path.exists(packed):
        with open(tar, "rb") as source, gzip.open(packed, "wb", compresslevel=6) as target:
            shutil.copyfileobj(source, target, 1 << 20)
    return packed


def image(name, tars, pack=gzipped):
    """A docker-archive of the given layer tars, compressed, beside the layers' tars; and the compressed layers."""
    layers = [(pack(tar), digest(tar)) for tar in tars]
    config = json.dumps({"architecture": "amd64", "os": "linux", "config": {},
                         "rootfs": {"type": "layers", "diff_ids": [diff for _, diff in layers]}}).encode()
    path = os.path.join(os.path.dirname(tars[0]), name + ".image.tar")
    with tarfile.open(path, "w") as archive:
        add(archive, "config.json", config)
        names = [f"{index}.{os.path.basename(packed)}" for index, (packed, _) in enumerate(layers)]
        for (packed, _), member in zip(layers, names):
            archive.add(packed, member)
        add(archive, "manifest.json", json.dumps([{"Config": "config.json", "RepoTags": [f"docker.io/bench/{name}:latest"],
                                                   "Layers": names}]).encode())
    return path, [packed for packed, _ in layers]


counter = 0


def fresh(prefix):
    global counter
    counter += 1
    return os.path.join(BENCH, f"{prefix}{counter}")


def one_file():
    """An image of one file, to make a store with."""
    tar = os.path.join(BENCH, "one.tar")
    with tarfile.open(tar, "w", format=tarfile.PAX_FORMAT) as archive:
        add(archive, "file", b"1")
    return image("one", [tar])[0]


def strata_load(path, sync, driver="overlay2", run=paired.spawn, first=None):
    """Loads into a new store, or into one that has the image `first`; gives what `run` gives for the command."""
    def load():
        root = fresh("store")
        command = [STRATA, "--root", root, "--run-root", root + ".run", "--storage-driver", driver, "load", "-q"]
        if first:
            subprocess.run([*command, "-i", first], check=True, stdout=subprocess.DEVNULL)
        result = run(command + ([] if sync else ["--no-sync"]) + ["-i", path])
        # What is read-only (a btrfs subvolume) is not removed like a directory.
        subprocess.run(f"btrfs -q subvolume delete {root}/drivers/btrfs/layers/*", shell=True, stderr=subprocess.DEVNULL)
        shutil.rmtree(root, ignore_errors=True)
        shutil.rmtree(root + ".run", ignore_errors=True)
        os.sync()
        return result
    return load


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


MAKERS = {"tiny": (tiny, .8), "large": (large, .8), "debian": (debian, .9)}
