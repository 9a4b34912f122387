# SPDX-License-Identifier: Apache-2.0
"""Times commands in turn (A, B, A, B, …) as whole processes, so that a drift of the machine's speed hits all alike."""

import os
import statistics
import sys
import time


def spawn(command):
    """Seconds from spawn to exit of one run, whose output is thrown away; the run must succeed."""
    errors = os.memfd_create("errors")
    try:
        actions = [(os.POSIX_SPAWN_OPEN, stream, "/dev/null", os.O_RDWR, 0) for stream in (0, 1)]
        actions.append((os.POSIX_SPAWN_DUP2, errors, 2))
        # The module subprocess would add half a millisecond to each.
        start = time.perf_counter()
        process = os.posix_spawnp(command[0], command, os.environ, file_actions=actions)
        code = os.waitstatus_to_exitcode(os.waitpid(process, 0)[1])
        took = time.perf_counter() - start
        if code != 0:
            text = os.pread(errors, 1 << 20, 0).decode(errors="replace")
            sys.exit(f"{' '.join(command)}: exit {code}: {text[-800:]}")
        return took
    finally:
        os.close(errors)


def measure(cases, runs, warmup=1):
    """cases: name -> callable that returns seconds. Gives name -> list of seconds, taken in turn."""
    times = {name: [] for name in cases}
    for index in range(warmup + runs):
        for name, run in cases.items():
            took = run()
            if index >= warmup:
                times[name].append(took)
    return times


def quantile(values, q):
    ordered = sorted(values)
    return ordered[min(len(ordered) - 1, int(q * len(ordered)))]


def report(title, times, base=None, targets=None):
    """Prints a table in milliseconds; with `base`, medians as a ratio to it. `targets`: name -> (other, limit).

    Returns the number of targets that were missed."""
    print(f"\n## {title}\n")
    print("| what | median ms | p10 | p90 | min |" + (f" ratio to {base} |" if base else ""))
    print("|---|---|---|---|---|" + ("---|" if base else ""))
    for name, values in times.items():
        median = statistics.median(values)
        row = f"| {name} | {median * 1e3:.2f} | {quantile(values, .1) * 1e3:.2f} | {quantile(values, .9) * 1e3:.2f} | {min(values) * 1e3:.2f} |"
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
    return os.environ.get("STRATA") or os.path.join(here, ".build/release/strata")
