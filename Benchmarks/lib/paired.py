# SPDX-License-Identifier: Apache-2.0
"""Times commands in turn as whole processes, so that a drift of the machine's speed hits all alike.

And what all mains of the benchmarks share: their arguments, and how they end by a signal."""

import argparse
import contextlib
import errno
import glob
import os
import shutil
import signal
import statistics
import sys
import time


class Failed(SystemExit):
    """A command failed: ends the program with what it said, unless somebody can do without."""


def spawn(command):
    """Seconds from spawn to exit of one run, whose output is thrown away; the run must succeed."""
    errors = os.memfd_create("errors")
    try:
        actions = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_RDWR, 0) for stream in (0, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, errors, 2))
        # The module subprocess would add half a millisecond to each.
        start = time.perf_counter()
        process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        try:
            code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        except SystemExit:
            # A signal for this program. What is cut short would leave its cgroup or its mount.
            with contextlib.suppress(ChildProcessError):  # it came when the wait was over
                os.waitpid(process, 0)
            raise
        took = time.perf_counter() - start
        if code != 0:
            text = os.pread(errors, 1 << 20, 0).decode(errors="replace")
            raise Failed(f"{' '.join(command)}: exit {code}: {text[-800:]}")
        return took
    finally:
        os.close(errors)


def order(names, index):
    """The order of a round: one name further each time, and zigzag (0, -1, 1, -2, 2, …).

    What a command takes depends on whom it follows. A plain rotation would not change that; so within rounds each follows
    each other equally often in as many of them as there are names, or in twice as many, for an odd number."""
    count = len(names)
    row = [names[(index + (-step // 2 if step % 2 else step // 2)) % count] for step in range(count)]
    return row[::-1] if count % 2 and index % 2 else row


def measure(cases, runs, warmup=1):
    """cases: name -> callable that returns seconds. Gives name -> list of seconds, taken in turn.

    A case that gives None is left out from then on."""
    times = {name: [] for name in cases}
    for index in range(warmup + runs):
        for name in order(list(times), index):
            took = cases[name]()
            if took is None:
                del times[name]
            elif index >= warmup:
                times[name].append(took)
    return times


def quantile(values, q):
    """Between two values, what lies in between."""
    ordered = sorted(values)
    place = q * (len(ordered) - 1)
    low = int(place)
    return ordered[low] + (place - low) * (ordered[min(low + 1, len(ordered) - 1)] - ordered[low])


def report(title, times, base=None, targets=None):
    """Prints a table in milliseconds; with `base`, medians as a ratio to it. `targets`: name -> (other, limit).

    Returns the number of targets that were missed."""
    print(f"\n## {title}\n")
    print("| what | median ms | p10 | p90 | min |" + (f" ratio to {base} |" if base else ""))
    print("|---|---|---|---|---|" + ("---|" if base else ""))
    for name, values in times.items():
        median = statistics.median(values)
        row = f"| {name} | " + " | ".join(f"{value * 1e3:.2f}" for value in
                                          (median, quantile(values, .1), quantile(values, .9), min(values))) + " |"
        if base:
            row += f" {median / statistics.median(times[base]):.2f} |"
        print(row)
    missed = 0
    for name, (other, limit) in (targets or {}).items():
        ratio = statistics.median(times[name]) / statistics.median(times[other])
        word = "reached" if ratio <= limit else "MISSED"
        missed += ratio > limit
        print(f"\n{name} / {other} = {ratio:.2f} (aim: at most {limit}): {word}")
    sys.stdout.flush()
    return missed


def strata():
    """Path of the release program: $STRATA, else the one built beside these scripts."""
    here = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
    path = os.environ.get("STRATA") or os.path.join(here, ".build/release/strata")
    found = shutil.which(path)
    if not found:
        refuse(f"no program {path}: build it (scripts/build), or name one in $STRATA")
    return os.path.abspath(found)


def refuse(reason):
    print(f"{os.path.basename(sys.argv[0])}: {reason}", file=sys.stderr)
    sys.exit(2)


class Arguments(argparse.ArgumentParser):
    """Says in one line what is wrong."""

    def error(self, message):
        refuse(message)


def number(text):
    """For an argument: a number from 1."""
    if not (text.isascii() and text.isdigit() and int(text)):
        raise argparse.ArgumentTypeError(f"{text!r} is no number from 1")
    return int(text)


def some_of(*known):
    """For an argument: a list of words out of these, separated by commas."""
    def listed(text):
        words = text.split(",")
        if unknown := [word for word in words if word not in known]:
            raise argparse.ArgumentTypeError(f"no {unknown[0]!r}; there are {','.join(known)}")
        return words
    return listed


def end_by_signals():
    """Lets signals end the program as SystemExit does, so that `finally` and atexit remove what it made."""
    signals = [one for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP) if signal.getsignal(one) != signal.SIG_IGN]

    def end(received, _):
        for one in signals:
            signal.signal(one, signal.SIG_IGN)
        sys.exit(128 + received)
    for one in signals:
        signal.signal(one, end)


def remove_cgroups(*patterns):
    """Removes what was left of cgroups with such names, below the root of each hierarchy."""
    deadline = time.monotonic() + 5
    for pattern in patterns:
        for top in glob.glob(f"/sys/fs/cgroup/{pattern}") + glob.glob(f"/sys/fs/cgroup/*/{pattern}"):
            for directory, _, _ in os.walk(top, topdown=False):
                remove_cgroup(directory, deadline)


def remove_cgroup(directory, deadline):
    while os.path.exists(directory):
        try:
            os.rmdir(directory)
        except OSError as reason:
            if reason.errno == errno.ENOTEMPTY:
                # None: where no hierarchy is mounted, crun makes a plain directory with files.
                shutil.rmtree(directory, ignore_errors=True)
                return
            if time.monotonic() > deadline:
                print(f"not removed: {directory}: {reason.strerror}", file=sys.stderr)
                return
            time.sleep(.1)  # its last process ends
