# SPDX-License-Identifier: Apache-2.0
"""Measures container starts. Run by Benchmarks/run, in a mount namespace of its own."""

import atexit
import json
import os
import subprocess
import sys
import time

sys.path.insert(0, os.path.dirname(__file__))
import paired

BENCH = os.environ["BENCH_DIR"]
STRATA = [paired.strata(), "--root", f"{BENCH}/store", "--run-root", "/run/strata-bench"]
LIMITS = ["-m", "64m", "--pids-limit", "100", "--cpus", "1"]


def rootfs(path):
    os.makedirs(f"{path}/bin")
    for directory in ("dev", "proc", "sys", "etc", "tmp"):
        os.mkdir(f"{path}/{directory}")
    subprocess.run(["cp", "/bin/busybox", f"{path}/bin/"], check=True)
    for applet in ("sh", "true", "ls", "cat"):
        os.symlink("busybox", f"{path}/bin/{applet}")


def bundle(path, limited):
    os.makedirs(path)
    subprocess.run(["crun", "spec"], cwd=path, check=True)
    spec = json.load(open(f"{path}/config.json"))
    spec["root"] = {"path": f"{BENCH}/rootfs", "readonly": False}
    spec["process"].update(terminal=False, args=["/bin/true"])
    if limited:
        spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 100},
                                      "cpu": {"quota": 100000, "period": 100000}}
    json.dump(spec, open(f"{path}/config.json", "w"))


def unmount_unified():
    """crun refuses v1 and v2 mounted side by side; this namespace is ours alone."""
    subprocess.run(["umount", "/sys/fs/cgroup/unified"], stderr=subprocess.DEVNULL)


def mount_run():
    """Both keep in /run what lives while the machine runs: a tmpfs, as on any host."""
    subprocess.run(["mount", "-t", "tmpfs", "tmpfs", "/run"], check=True)


counter = 0


def crun(manager, path):
    def run():
        global counter
        counter += 1
        return paired.spawn(["crun", *manager, "run", "-b", path, f"bench{os.getpid()}-{counter}"])
    return run


def at_once(commands):
    start = time.perf_counter()
    running = [subprocess.Popen(c, stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE) for c in commands]
    try:
        codes = [process.wait() for process in running]
        took = time.perf_counter() - start
    finally:
        errors = [process.communicate()[1].decode(errors="replace") for process in running]
    for process, code, text in zip(running, codes, errors):
        if code:
            raise paired.Failed(f"{process.args}: exit {code}: {text}")
    return took


def main():
    paired.end_by_signals()
    arguments = paired.Arguments()
    arguments.add_argument("--runs", type=paired.number, default=40)
    options = arguments.parse_args()
    rootfs(f"{BENCH}/rootfs")
    bundle(f"{BENCH}/limited", True)
    bundle(f"{BENCH}/free", False)
    unmount_unified()
    mount_run()
    tar = subprocess.Popen(["tar", "-C", f"{BENCH}/rootfs", "-c", "."], stdout=subprocess.PIPE)
    subprocess.run([*STRATA, "--storage-driver", "overlay2", "import", "-", "bench"], stdin=tar.stdout, check=True)
    ours = [*STRATA, "--storage-driver", "overlay2", "run", "--rm", "--network", "none", *LIMITS, "bench", "/bin/true"]
    here = os.path.dirname(os.path.abspath(__file__))
    subprocess.run(["cc", "-O2", "-o", f"{BENCH}/bare_container", f"{here}/bare_container.c"], check=True)
    os.mkdir(f"{BENCH}/bare")
    # Of crun and the C program too, which leave theirs when they are killed.
    atexit.register(paired.remove_cgroups, "strata-bare", f"bench{os.getpid()}-*", f"many{os.getpid()}-*")
    cases = {
        "strata run --rm": lambda: paired.spawn(ours),
        "bare C program": lambda: paired.spawn([f"{BENCH}/bare_container", f"{BENCH}/bare", f"{BENCH}/rootfs"]),
        "crun run, cgroups": crun([], f"{BENCH}/limited"),
        "crun run, no cgroups": crun(["--cgroup-manager=disabled"], f"{BENCH}/free"),
    }
    times = paired.measure({k: cases[k] for k in cases if k != "bare C program"}, options.runs, warmup=3)
    missed = paired.report("run `true`, limits set, no network", times, "crun run, cgroups",
                           {"strata run --rm": ("crun run, cgroups", .5)})
    times = paired.measure({k: cases[k] for k in ("strata run --rm", "crun run, no cgroups")}, options.runs, warmup=2)
    missed += paired.report("the same against crun without cgroups", times, "crun run, no cgroups",
                            {"strata run --rm": ("crun run, no cgroups", .9)})

    times = paired.measure({k: cases[k] for k in ("strata run --rm", "bare C program")}, options.runs, warmup=2)
    missed += paired.report("the same against what it costs the kernel", times, "bare C program",
                            {"strata run --rm": ("bare C program", 2.5)})

    def many_crun():
        global counter
        counter += 50
        return at_once([["crun", "run", "-b", f"{BENCH}/limited", f"many{os.getpid()}-{counter - i}"] for i in range(50)])
    times = paired.measure({"strata, 50 at once": lambda: at_once([ours] * 50), "crun, 50 at once": many_crun}, 5)
    missed += paired.report("50 containers at once", times, "crun, 50 at once", {"strata, 50 at once": ("crun, 50 at once", .5)})
    sys.exit(1 if missed else 0)


if __name__ == "__main__":
    main()
