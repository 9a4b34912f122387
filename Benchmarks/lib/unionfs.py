# SPDX-License-Identifier: Apache-2.0
"""Measures union file systems. Run by Benchmarks/unionfs with BENCH_DIR on a fresh file system."""

import hashlib
import os
import shutil
import statistics
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import paired

HERE = os.path.dirname(os.path.abspath(__file__))
BENCH = os.environ["BENCH_DIR"]
OURS = os.environ.get("STRATA_UNIONFS") or os.path.join(os.path.dirname(paired.strata()), "strata-unionfs")
FLAGS = os.environ.get("STRATA_UNIONFS_OPTIONS", "")


def sh(*command):
    done = subprocess.run(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode != 0:
        raise paired.Failed(f"{' '.join(command)}: exit {done.returncode}: {done.stderr.decode(errors='replace')[-400:]}")
    return done.stdout.decode()


class Union:
    """A fresh upper over the common lower, mounted as one kind of file system."""

    def __init__(self, kind, lower):
        self.kind, self.lower = kind, lower
        self.base = f"{BENCH}/{kind}"
        self.mnt = f"{self.base}/mnt"
        shutil.rmtree(self.base, ignore_errors=True)
        for name in ("upper", "work", "mnt"):
            os.makedirs(f"{self.base}/{name}")
        if kind == "native":
            sh("cp", "-a", "--reflink=never", f"{lower}/.", f"{self.base}/upper")
        self.mount()

    def mount(self):
        b, options = self.base, f"lowerdir={self.lower},upperdir={self.base}/upper,workdir={self.base}/work"
        if self.kind == "native":
            sh("mount", "--bind", f"{b}/upper", self.mnt)
        elif self.kind == "overlay":
            sh("mount", "-t", "overlay", "overlay", "-o", options, self.mnt)
        elif self.kind == "fuse-overlayfs":
            sh("fuse-overlayfs", "-o", options + ",allow_other", self.mnt)
        elif self.kind == "unionfs-fuse":
            sh("unionfs-fuse", "-o", "cow,allow_other,hide_meta_files", f"{b}/upper=RW:{self.lower}=RO", self.mnt)
        else:
            sh(OURS, "-o", options + ",allow_other" + FLAGS, self.mnt)

    def unmount(self):
        for _ in range(50):
            done = subprocess.run(["umount", self.mnt], stderr=subprocess.PIPE)
            if done.returncode == 0 or b"not mounted" in done.stderr:
                return
            time.sleep(0.1)
        raise paired.Failed(f"cannot unmount {self.mnt}")

    def cold(self):
        """Nothing of the tree is in memory, of ours as of the file system below."""
        self.unmount()
        sh("sync")
        with open("/proc/sys/vm/drop_caches", "w") as f:
            f.write("3")
        self.mount()


def operate(what, directory, count=None):
    return float(sh(f"{BENCH}/fileops", what, directory, *([str(count)] if count else [])))


def git(mnt, *words):
    start = time.perf_counter()
    sh("git", "-C", f"{mnt}/repo", "-c", "core.untrackedCache=false", *words)
    return time.perf_counter() - start


def lower_tree(path, groups):
    """20,000 small files in 200 directories, 20,000 in one, a large file, a git repository of two branches."""
    for directory in range(200 if {"look", "owners"} & set(groups) else 0):
        os.makedirs(f"{path}/tree/d{directory}")
        for file in range(100):
            with open(f"{path}/tree/d{directory}/f{file}", "w") as out:
                out.write(f"{directory} {file}\n" * (5 + file))
    os.makedirs(f"{path}/flat")
    for file in range(20000):
        open(f"{path}/flat/f{file}", "w").close()
    with open(f"{path}/big", "wb") as out:
        for _ in range(256 if "data" in groups else 0):
            out.write(os.urandom(1 << 20))
    os.mkdir(f"{path}/new")
    if "tools" in groups:
        repository(f"{path}/repo")


def repository(path):
    for directory in range(60):
        os.makedirs(f"{path}/d{directory}")
        for file in range(50):
            with open(f"{path}/d{directory}/f{file}", "w") as out:
                out.write(f"{directory} {file}\n" * 40)
    run = ["git", "-C", path, "-c", "user.name=b", "-c", "user.email=b@b", "-c", "gc.auto=0"]
    sh(*run, "init", "-q", "-b", "one")
    sh(*run, "add", "-A")
    sh(*run, "commit", "-qm", "one")
    sh(*run, "checkout", "-qb", "two")
    for directory in range(60):
        for file in range(0, 50, 2):
            with open(f"{path}/d{directory}/f{file}", "a") as out:
                out.write("changed\n")
    sh(*run, "commit", "-qam", "two")


def package(path, name="bench", directories=100):
    """A package of 30 files in each directory, without scripts; what it says of itself."""
    tree = f"{path}.tree"
    control = f"Package: {name}\nVersion: 1\nArchitecture: all\nMaintainer: b <b@b>\nDescription: files\n"
    os.makedirs(f"{tree}/DEBIAN")
    with open(f"{tree}/DEBIAN/control", "w") as out:
        out.write(control)
    for directory in range(directories):
        os.makedirs(f"{tree}/usr/share/{name}/d{directory}")
        for file in range(30):
            with open(f"{tree}/usr/share/{name}/d{directory}/f{file}", "wb") as out:
                out.write(os.urandom(500 + 400 * file))
    sh("dpkg-deb", "-Znone", "--root-owner-group", "-b", tree, path)
    shutil.rmtree(tree)
    return control


def archive(path):
    """What apt-get takes packages from: 20 of 150 files each."""
    os.makedirs(path)
    with open(f"{path}/Packages", "w") as index:
        for number in range(20):
            file = f"{path}/bench{number}.deb"
            control = package(file, f"bench{number}", 5)
            with open(file, "rb") as content:
                digest = hashlib.sha256(content.read()).hexdigest()
            size = os.path.getsize(file)
            index.write(f"{control}Filename: ./bench{number}.deb\nSize: {size}\nSHA256: {digest}\n\n")


def unpack(m, name):
    """Seconds of dpkg --unpack into a root of its own, which has what dpkg needs."""
    root = f"{m}/{name}"
    os.makedirs(f"{root}/var/lib/dpkg/info")
    os.makedirs(f"{root}/var/lib/dpkg/updates")
    open(f"{root}/var/lib/dpkg/status", "w").close()
    start = time.perf_counter()
    sh("dpkg", f"--root={root}", "--force-all", "--force-unsafe-io", "--log=/dev/null", "--unpack", f"{BENCH}/bench.deb")
    return time.perf_counter() - start


def install(m, name):
    """Seconds of apt-get install into a root of its own, of which all its files are."""
    root = f"{m}/{name}"
    for directory in ("lib/dpkg/info", "lib/dpkg/updates", "lib/apt/lists/partial", "cache/apt/archives/partial", "log/apt"):
        os.makedirs(f"{root}/var/{directory}")
    os.makedirs(f"{root}/etc/apt")
    open(f"{root}/var/lib/dpkg/status", "w").close()
    with open(f"{root}/etc/apt/sources.list", "w") as out:
        out.write(f"deb [trusted=yes] file:{BENCH}/archive ./\n")
    apt = ["apt-get", "-qq", "-y"]
    for option in (
        f"Dir={root}/", f"Dir::State::status={root}/var/lib/dpkg/status", "APT::Sandbox::User=root",
        f"DPkg::Options::=--root={root}", "DPkg::Options::=--force-unsafe-io", "DPkg::Options::=--log=/dev/null",
    ):
        apt += ["-o", option]
    sh(*apt, "update")
    start = time.perf_counter()
    sh(*apt, "install", *(f"bench{number}" for number in range(20)))
    return time.perf_counter() - start


def prepare(groups=("data", "look", "tools", "names", "owners")):
    """Builds what operates on files and makes the lower tree that the groups need; its path."""
    sh("gcc", "-O2", "-o", f"{BENCH}/fileops", f"{HERE}/fileops.c")
    lower_tree(f"{BENCH}/lower", groups)
    if "tools" in groups:
        package(f"{BENCH}/bench.deb")
        archive(f"{BENCH}/archive")
    sh("sync")
    return f"{BENCH}/lower"


def data(union, r):
    m = union.mnt
    r["sequential read, warm"] = min(operate("sequential", m) for _ in range(4))
    r["random 4 KiB reads, 50,000 warm"] = min(operate("random", m, 50000) for _ in range(2))
    r["4 KiB writes, 40,000"] = operate("write4k", m, 40000)
    r["128 KiB writes, 2,000"] = operate("write128k", m, 2000)
    os.unlink(f"{m}/written")


def look(union, r):
    m = union.mnt
    union.cold()
    r["find of 20,000, cold"] = operate("walk", f"{m}/tree")
    r["stat of 20,000, warm"] = min(operate("walk", f"{m}/tree") for _ in range(3))
    union.cold()
    r["read of 20,000 files, cold"] = operate("read", f"{m}/tree")
    r["read of 20,000 files, warm"] = min(operate("read", f"{m}/tree") for _ in range(3))
    union.cold()
    r["readdir of 20,000, cold"] = operate("list", f"{m}/flat")
    r["readdir of 20,000, warm"] = min(operate("list", f"{m}/flat") for _ in range(3))


def tools(union, r):
    m = union.mnt
    git(m, "status", "--porcelain")
    r["git status, warm"] = min(git(m, "status", "--porcelain") for _ in range(3))
    r["git checkout"] = git(m, "checkout", "-q", "one")
    r["dpkg --unpack of 3,000 files"] = min(unpack(m, f"root{i}") for i in range(2))
    r["apt-get install of 20 packages"] = min(install(m, f"system{i}") for i in range(2))


def names(union, r):
    m = union.mnt
    r["create 10,000"] = operate("create", f"{m}/new")
    r["rename 10,000"] = operate("rename", f"{m}/new")
    r["unlink 10,000"] = operate("unlink", f"{m}/new")
    r["unlink 5,000 lower files"] = operate("unlink-lower", f"{m}/flat", 5000)


def owners(union, r):
    union.cold()
    r["chown -R of 20,000 lower files"] = operate("chown", f"{union.mnt}/tree")


# Name -> what puts the seconds of some jobs into a dictionary.
GROUPS = {"data": data, "look": look, "tools": tools, "names": names, "owners": owners}


def round_of(union, groups=tuple(GROUPS)):
    """Name of each job -> seconds."""
    took = {}
    for group in groups:
        GROUPS[group](union, took)
    return took


KINDS = ("native", "overlay", "ours", "fuse-overlayfs", "unionfs-fuse")
# Job -> [(peer, largest allowed ratio of ours to it)].
AIMS = {
    "create 10,000": [("native", 4)],
    "rename 10,000": [("native", 4)],
    "unlink 10,000": [("native", 4)],
    "unlink 5,000 lower files": [("native", 10)],
    "chown -R of 20,000 lower files": [("overlay", 1), ("fuse-overlayfs", 1)],
    "sequential read, warm": [("native", 1.25)],
    "random 4 KiB reads, 50,000 warm": [("native", 1.25)],
    "4 KiB writes, 40,000": [("native", 1.25)],
    "stat of 20,000, warm": [("native", 1.11)],
    "readdir of 20,000, warm": [("native", 1.11)],
    "git status, warm": [("overlay", 2), ("fuse-overlayfs", 1)],
    "git checkout": [("overlay", 2), ("fuse-overlayfs", 1)],
    "dpkg --unpack of 3,000 files": [("overlay", 2), ("fuse-overlayfs", 1)],
    "apt-get install of 20 packages": [("overlay", 2), ("fuse-overlayfs", 1)],
    "read of 20,000 files, warm": [("overlay", 3.5), ("fuse-overlayfs", 1)],
    "read of 20,000 files, cold": [("overlay", 3.5), ("fuse-overlayfs", 1)],
}


def main():
    paired.end_by_signals()
    arguments = paired.Arguments()
    arguments.add_argument("--rounds", type=paired.number, default=1)
    arguments.add_argument("--only", type=paired.some_of(*KINDS), default=",".join(KINDS))
    arguments.add_argument("--groups", type=paired.some_of(*GROUPS), default=",".join(GROUPS))
    options = arguments.parse_args()
    groups = options.groups
    if "ours" in options.only and not shutil.which(OURS):
        paired.refuse(f"no program {OURS}: build it (scripts/build), or name one in $STRATA_UNIONFS")
    kinds = [k for k in options.only if k in KINDS[:3] or shutil.which(k)]
    if lacking := [k for k in options.only if k not in kinds]:
        print(f"left out, not installed: {', '.join(lacking)}")
    if not kinds:
        sys.exit(1)
    lower = prepare(groups)
    times = {}
    for index in range(options.rounds):
        for kind in paired.order(kinds, index):
            union = Union(kind, lower)
            try:
                for job, seconds in round_of(union, groups).items():
                    times.setdefault(job, {}).setdefault(kind, []).append(seconds)
            finally:
                union.unmount()
            shutil.rmtree(union.base)
    print("| job | native ms | " + " | ".join(k for k in kinds if k != "native") + " |")
    print("|---|---|" + "---|" * (len(kinds) - 1))
    missed = 0
    median = {job: {k: statistics.median(v) for k, v in of.items()} for job, of in times.items()}
    for job, of in median.items():
        native = of.get("native")
        cells = [f"{of[k] / native:.2f}" if native else f"{of[k] * 1e3:.1f} ms" for k in kinds if k != "native"]
        print(f"| {job} | {(native or 0) * 1e3:.1f} | " + " | ".join(cells) + " |")
    for job, aims in AIMS.items():
        for peer, limit in aims:
            if peer not in median.get(job, {}) or "ours" not in median[job]:
                continue
            ratio = median[job]["ours"] / median[job][peer]
            missed += ratio > limit
            print(f"\n{job}: {ratio:.2f} of {peer}, aim at most {limit}: {'MISSED' if ratio > limit else 'reached'}")
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
