# SPDX-License-Identifier: Apache-2.0
"""An image of many small files, and 1,200 changes to it, alike in all measurements of `diff` and `commit`."""

import os
import subprocess

COUNT = 1200


def changes(directories=330):
    """A shell script that makes the changes below /data: files changed, removed and added, in directories far apart."""
    step = directories // 330
    return f"""
i=0
while [ $i -lt 600 ]; do echo changed >> /data/d$((i % 330 * {step}))/f$((i / 330)); i=$((i + 1)); done
i=0
while [ $i -lt 300 ]; do rm /data/d$((i * {step}))/f50; i=$((i + 1)); done
i=0
while [ $i -lt 300 ]; do echo new > /data/d$((i * {step}))/new; i=$((i + 1)); done
"""


def image(path, directories=330):
    """A root file system with 100 files of some 480 bytes in each directory."""
    os.makedirs(f"{path}/bin")
    for directory in ("dev", "proc", "sys", "etc", "tmp"):
        os.mkdir(f"{path}/{directory}")
    subprocess.run(["cp", "/bin/busybox", f"{path}/bin/"], check=True)
    for applet in ("sh", "rm", "echo", "true"):
        os.symlink("busybox", f"{path}/bin/{applet}")
    for directory in range(directories):
        os.makedirs(f"{path}/data/d{directory}")
        for file in range(100):
            with open(f"{path}/data/d{directory}/f{file}", "w") as out:
                out.write(f"{directory} {file}\n" * 60)


def quiet(*command, **options):
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, **options).stdout.decode().strip()
