# SPDX-License-Identifier: Apache-2.0
"""The programs that are measured beside each other, each behind the same few words.

An engine that is not installed, or does not start here, is left out and says why. Each has its state below BENCH_DIR and
changes nothing of the machine's own."""

import atexit
import json
import os
import shutil
import subprocess
import sys
import time

sys.path.insert(0, os.path.join(os.path.dirname(os.path.dirname(os.path.abspath(__file__))), "lib"))
import paired
import unionfs

BENCH = os.environ["BENCH_DIR"]
LIMITS = ["--memory", "64m", "--pids-limit", "100"]


class Missing(Exception):
    """Why an engine is left out."""


def need(program):
    path = shutil.which(program)
    if not path:
        raise Missing(f"{program} is not installed")
    return path


def text(*command):
    done = subprocess.run(command, stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    if done.returncode:
        raise Missing(f"{' '.join(command[:6])}…: {done.stderr.decode(errors='replace').strip().splitlines()[-1:]}")
    return done.stdout.decode().strip()


def start_daemon(command, socket, log):
    """Starts a daemon, which ends with this program at the latest, and waits until its socket is there."""
    with open(log, "wb") as output:
        process = subprocess.Popen(command, stdin=subprocess.DEVNULL, stdout=output, stderr=subprocess.STDOUT)
    atexit.register(end, process)
    for _ in range(240):
        if os.path.exists(socket):
            time.sleep(1)
            return process
        if process.poll() is not None:
            break
        time.sleep(.25)
    end(process)
    with open(log, encoding="utf-8", errors="replace") as output:
        lines = output.read().strip().splitlines()
    raise Missing(f"{command[0]} does not start: {lines[-1] if lines else 'no output'}")


def end(daemon):
    """Not at once by SIGKILL: dockerd has a daemon of its own to end."""
    daemon.terminate()
    try:
        daemon.wait(60)
    except subprocess.TimeoutExpired:
        daemon.kill()
        daemon.wait()


class Engine:
    """What has images and containers. `command` are the words before a verb, in Docker's grammar."""
    name = ""
    command = []
    create_flags = ["--network", "none"]

    def version(self):
        """Program and version; the first line of what it says of itself."""
        return text(self.command[0], "--version").splitlines()[0]

    def load(self, archive):
        return paired.spawn([*self.command, "load", "-q", "-i", archive])

    def forget(self, image):
        subprocess.run([*self.command, "rmi", "-f", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run(self, image):
        return paired.spawn(self.run_command(image))

    def run_command(self, image):
        return [*self.command, "run", "--rm", *self.create_flags, *LIMITS, image, "/bin/true"]

    def create_and_remove(self, image):
        start = time.perf_counter()
        paired.spawn([*self.command, "create", "--name", "peer", *self.create_flags, image, "/bin/true"])
        paired.spawn([*self.command, "rm", "peer"])
        return time.perf_counter() - start

    def change(self, image, script):
        """A stopped container `changed` in which `script` ran."""
        text(*self.command, "run", "--name", "changed", *self.create_flags, image, "/bin/sh", "-c", script)

    def diff(self):
        return paired.spawn([*self.command, "diff", "changed"])

    def commit(self):
        self.forget("committed")
        os.sync()  # What others left to be written is not this one's work.
        return paired.spawn([*self.command, "commit", "changed", "committed"])

    def stop(self):
        pass


class Strata(Engine):
    def __init__(self, driver, sync=True):
        self.name = f"strata {driver}" + ("" if sync else ", no sync")
        self.sync = sync
        self.command = [paired.strata(), "--root", f"{BENCH}/strata-{driver}-{sync}", "--run-root", f"{BENCH}/strata-run",
                        "--storage-driver", driver]

    def load(self, archive):
        return paired.spawn([*self.command, "load", "-q", *([] if self.sync else ["--no-sync"]), "-i", archive])


class Podman(Engine):
    def __init__(self, driver="overlay"):
        self.name = f"podman {driver}"
        need("podman")
        self.command = ["podman", "--root", f"{BENCH}/podman", "--runroot", f"{BENCH}/podman-run", "--storage-driver", driver,
                        "--cgroup-manager", "cgroupfs", "--events-backend", "none"]
        text(*self.command, "images")

    def run_command(self, image):
        """With limits of its own: Podman's defaults are above those that a host may allow."""
        limits = ["--ulimit", "nofile=1024:1024", "--ulimit", "nproc=1000:1000"]
        return [*self.command, "run", "--rm", *self.create_flags, *limits, *LIMITS, image, "/bin/true"]

    def change(self, image, script):
        """Through its mount, since its `run` asks for more of the machine than its storage does."""
        text(*self.command, "create", "--name", "changed", *self.create_flags, image, "/bin/sh")
        mount = text(*self.command, "mount", "changed")
        text("sh", "-c", script.replace("/data/", f"{mount}/data/"))
        text(*self.command, "umount", "changed")


class Docker(Engine):
    def __init__(self, driver="overlay2"):
        self.name = f"docker {driver}"
        need("docker")
        home = f"{BENCH}/docker"
        os.makedirs(home, exist_ok=True)
        socket = f"{home}/socket"
        self.daemon = start_daemon(
            [need("dockerd"), "--storage-driver", driver, "--iptables=false", "--ip6tables=false", "--bridge=none",
             "--data-root", f"{home}/data", "--exec-root", f"{home}/x", "-p", f"{home}/pid", "-H", f"unix://{socket}"],
            socket, f"{home}/log")
        self.command = ["docker", "-H", f"unix://{socket}"]

    def version(self):
        return f"{super().version()}, its daemon {text(*self.command, 'version', '--format', '{{.Server.Version}}')}"

    def stop(self):
        end(self.daemon)


class Containerd(Engine):
    name = "containerd overlayfs"

    def __init__(self):
        need("ctr")
        home = f"{BENCH}/containerd"
        os.makedirs(home)
        with open(f"{home}/config.toml", "w", encoding="utf-8") as config:
            config.write("version = 2\ndisabled_plugins = ['io.containerd.grpc.v1.cri']\n")
        self.daemon = start_daemon(
            [need("containerd"), "--config", f"{home}/config.toml", "--root", f"{home}/root", "--state", f"{home}/state",
             "--address", f"{home}/socket"], f"{home}/socket", f"{home}/log")
        self.command = ["ctr", "--address", f"{home}/socket"]
        self.counter = 0

    def load(self, archive):
        return paired.spawn([*self.command, "image", "import", archive])

    def forget(self, image):
        subprocess.run([*self.command, "image", "rm", "--sync", image], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)

    def run_command(self, image):
        self.counter += 1
        return [*self.command, "run", "--rm", "--memory-limit", str(64 << 20), image, f"peer{self.counter}", "/bin/true"]

    create_and_remove = change = diff = commit = None

    def stop(self):
        end(self.daemon)


class Runtime(Engine):
    """An OCI runtime on a prepared bundle: no image, no layer of its own."""
    load = create_and_remove = change = diff = commit = None

    def __init__(self, program, rootfs, flags=(), limits=True):
        need(program)
        self.name = program + (" " + " ".join(flags) if flags else "") + ", prepared bundle"
        self.command = [program, *flags]
        self.bundle = f"{BENCH}/bundle-{program}-{limits}"
        os.makedirs(self.bundle)
        subprocess.run([program, "spec"], cwd=self.bundle, check=True)
        with open(f"{self.bundle}/config.json", encoding="utf-8") as config:
            spec = json.load(config)
        spec["root"] = {"path": rootfs, "readonly": False}
        spec["process"].update(terminal=False, args=["/bin/true"])
        if limits:
            spec["linux"]["resources"] = {"memory": {"limit": 64 << 20}, "pids": {"limit": 100}}
        with open(f"{self.bundle}/config.json", "w", encoding="utf-8") as config:
            json.dump(spec, config)
        # It leaves its cgroups when it is killed.
        atexit.register(paired.remove_cgroups, f"peer{os.getpid()}-*")
        self.counter = 0

    def forget(self, image):
        pass

    def run_command(self, image):
        self.counter += 1
        return [*self.command, "run", "-b", self.bundle, f"peer{os.getpid()}-{self.counter}"]


class Umoci(Engine):
    """Unpacks an image to a directory; it has no containers."""
    name = "umoci unpack"
    run = create_and_remove = change = diff = commit = None

    def __init__(self):
        need("umoci")
        self.command = ["umoci"]

    def load(self, layout):
        return paired.spawn(["umoci", "unpack", "--image", f"{layout}:latest", f"{BENCH}/umoci"])

    def forget(self, image):
        shutil.rmtree(f"{BENCH}/umoci", ignore_errors=True)


class Tar(Engine):
    """GNU tar with the fastest decompressor, the lower limit of unpacking: it hashes and stores nothing."""
    run = create_and_remove = change = diff = commit = None

    def __init__(self, program, sync):
        need(program)
        self.name = f"tar, {program}" + ("" if sync else ", no sync")
        self.command = ["tar"]
        self.program, self.sync = program, sync

    def load(self, layers):
        target = f"{BENCH}/tar"
        os.mkdir(target)
        script = " && ".join(f"tar -I {self.program} -xf {layer} -C {target} --numeric-owner" for layer in layers)
        return paired.spawn(["sh", "-c", script + (f" && sync -f {target}" if self.sync else "")])

    def forget(self, image):
        shutil.rmtree(f"{BENCH}/tar", ignore_errors=True)


class ContainersStorage(Engine):
    """Podman's and CRI-O's storage library by its own command: layers alone."""
    name = "containers-storage overlay"
    load = run = change = diff = commit = None

    def __init__(self):
        need("containers-storage")
        self.command = ["containers-storage", "--graph", f"{BENCH}/cs", "--run", f"{BENCH}/cs-run", "--storage-driver", "overlay"]
        layer = text(*self.command, "create-layer").splitlines()[0]
        self.image = text(*self.command, "create-image", layer).splitlines()[0]

    def forget(self, image):
        pass

    def create_and_remove(self, image):
        start = time.perf_counter()
        paired.spawn([*self.command, "create-container", "--name", "peer", self.image])
        paired.spawn([*self.command, "delete-container", "peer"])
        return time.perf_counter() - start


class UnionMount:
    """A union file system over one lower tree, fresh for each round: `kind` as Benchmarks/lib/unionfs.py knows it."""

    def __init__(self, name, kind, program=None):
        if program:
            need(program)
        self.name, self.kind = name, kind

    def round(self, lower):
        """Job -> seconds."""
        union = unionfs.Union(self.kind, lower)
        try:
            return unionfs.round_of(union)
        finally:
            union.unmount()
            shutil.rmtree(union.base)
