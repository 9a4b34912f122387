# SPDX-License-Identifier: Apache-2.0
"""Runs a command and prints, as JSON, its seconds, the processor seconds of it, and the most memory that it had (bytes).

A program of its own and a small one: a process begins with the peak of whoever started it."""

import json
import os
import sys
import time

start = time.perf_counter()
child = os.fork()
if child == 0:
    null = os.open(os.devnull, os.O_RDWR)
    os.dup2(null, 0)
    os.dup2(null, 1)
    os.execvp(sys.argv[1], sys.argv[1:])
_, status, used = os.wait4(child, 0)
took = time.perf_counter() - start
if status:
    sys.exit(f"{' '.join(sys.argv[1:])}: exit {os.waitstatus_to_exitcode(status)}")
print(json.dumps({"seconds": took, "processor": used.ru_utime + used.ru_stime, "memory": used.ru_maxrss << 10}))
