# SPDX-License-Identifier: Apache-2.0
"""Measures image loading. Run by Benchmarks/load with BENCH_DIR on a fresh file system."""

import json
import os
import random
import shutil
import statistics
import subprocess
import sys
import tarfile
from collections import namedtuple

import load
import paired

HERE = os.path.dirname(os.path.abspath(__file__))
# The tar of a layer, the same compressed, and an image of it.
Input = namedtuple("Input", "tar packed archive")


def usage(command):
    # Not `run`, which a signal lets kill what it waits for, and not what that one waits for.
    with subprocess.Popen([sys.executable, "-S", f"{HERE}/usage.py", *command], stdout=subprocess.PIPE,
                          stderr=subprocess.PIPE) as process:
        out, errors = process.communicate()
    if process.returncode:
        raise paired.Failed(errors.decode(errors="replace")[-800:])
    return json.loads(out)


def median(values):
    return statistics.median(values)


def limits(inputs, runs):
    """Each unpack against the larger of decompression alone and file creation alone, each on a processor of its own.

    The store is there: to make one is paid once, and is no unpack."""
    first = load.one_file()
    creator = os.path.join(load.BENCH, "untar")
    subprocess.run(["cc", "-O2", "-o", creator, f"{HERE}/untar.c"], check=True)

    def decompress(given):
        return paired.spawn(["igzip", "-dc", given.packed])

    def create(given):
        tree = load.fresh("tree")
        os.mkdir(tree)
        took = float(subprocess.run([creator, given.tar, tree], check=True, stdout=subprocess.PIPE).stdout)
        shutil.rmtree(tree)
        os.sync()
        return took
    missed = 0
    for name, given in inputs.items():
        times = paired.measure({"strata load": load.strata_load(given.archive, False, first=first),
                                "decompression alone (igzip)": lambda: decompress(given),
                                "file creation alone (untar.c)": lambda: create(given)}, runs)
        paired.report(f"{name}: a load, no sync, and what it cannot do without", times)
        limit = max(median(times["decompression alone (igzip)"]), median(times["file creation alone (untar.c)"]))
        share = limit / median(times["strata load"])
        missed += share < .8
        print(f"\nload {name}: {share:.2f} of the limit (aim: at least 0.8): {'MISSED' if share < .8 else 'reached'}", flush=True)
    return missed


def several_layers(inputs, sync, runs):
    """An image against the sum of its layers, and what one processor takes for it.

    The work does not become less by being done together: what a layer alone already gets of the second processor, an image
    of several cannot gain. So the bound that the processors set is printed beside the aim."""
    archive, _ = load.image("all", [given.tar for given in inputs.values()])
    whole, alone = [], {name: [] for name in inputs}

    def image(results, path, *before):
        results.append(load.strata_load(path, sync, run=lambda command: usage([*before, *command]))())
        return results[-1]["seconds"]
    cases = {"image of three layers": lambda: image(whole, archive),
             "sum of its layers": lambda: sum(image(alone[name], given.archive) for name, given in inputs.items()),
             "the image on one processor": lambda: image([], archive, "taskset", "-c", str(min(os.sched_getaffinity(0))))}
    times = paired.measure(cases, runs)
    missed = paired.report(f"load an image of several layers, {'with sync' if sync else 'no sync'}", times, "sum of its layers",
                           {"image of three layers": ("sum of its layers", .6)})
    together = median(times["image of three layers"])
    cores = len(os.sched_getaffinity(0))
    work = median([used["processor"] for used in whole])
    bound = work / cores / median(times["sum of its layers"])
    print(f"its {work:.2f} s of processor time on {cores} processors allow no less than {bound:.2f} of the sum")
    uses = {name: median([used["processor"] / used["seconds"] for used in results]) for name, results in alone.items()}
    print("processors that one layer alone uses: " + ", ".join(f"{name} {use:.2f}" for name, use in uses.items())
          + f"; the image: {median([used['processor'] / used['seconds'] for used in whole]):.2f}")
    speed = median(times["the image on one processor"]) / together
    print(f"one processor takes {speed:.2f} times as long (aim: at least 1.6): {'MISSED' if speed < 1.6 else 'reached'}", flush=True)
    return missed + (speed < 1.6)


def zstd_of_window(tar):
    """Compressed with a window of 128 MiB, the largest that is taken."""
    packed = tar + ".long.zst"
    if not os.path.exists(packed):
        subprocess.run(["zstd", "-q", "-1", "--long=27", "-T0", "-o", packed, tar], check=True)
    return packed


def layers_of_files(directory, count):
    """`count` layers of 1,000 small files each."""
    tars = []
    for layer in range(count):
        tars.append(os.path.join(directory, f"layer{layer}.tar"))
        generator = random.Random(100 + layer)
        with tarfile.open(tars[-1], "w", format=tarfile.PAX_FORMAT) as tar:
            for file in range(1000):
                load.add(tar, f"layer{layer}/d{file % 20}/f{file}", generator.randbytes(generator.randint(100, 9000)))
    return tars


def memory(inputs):
    """The most memory that a load has, whatever it loads."""
    plain, window = 64 << 20, 128 << 20
    cases = [("a layer of 500 MB", inputs["large"].archive, plain),
             ("a layer of 20,000 files", inputs["tiny"].archive, plain),
             ("a zstd layer of 500 MB with a window of 128 MiB", load.image("window", [inputs["large"].tar], zstd_of_window)[0],
              plain + window),
             ("an image of 20 layers", load.image("twenty", layers_of_files(load.BENCH, 20))[0], plain)]
    print("\n## Memory of a load\n\n| what | most, MiB | aim, MiB | |\n|---|---:|---:|---|")
    missed = 0
    for name, archive, aim in cases:
        most = load.strata_load(archive, True, run=usage)()["memory"]
        missed += most > aim
        print(f"| {name} | {most / (1 << 20):.1f} | {aim >> 20} | {'MISSED' if most > aim else 'reached'} |", flush=True)
    return missed


def main():
    paired.end_by_signals()
    arguments = paired.Arguments()
    arguments.add_argument("--runs", type=paired.number, default=7)
    parts = [*load.MAKERS, "layers", "limit", "memory"]
    arguments.add_argument("--only", type=paired.some_of(*parts), default=",".join(parts))
    arguments.add_argument("--inputs", default=load.BENCH, help="where the layers are made, and found again by the next run")
    options = arguments.parse_args()
    only, inputs, missed = options.only, {}, 0
    all_needed = {"limit", "layers", "memory"} & set(only)
    for name, (make, _) in load.MAKERS.items():
        if not all_needed and name not in only:
            continue
        tar = os.path.join(options.inputs, name + ".tar")
        if not os.path.exists(tar):
            make(tar)
        archive, [packed] = load.image(name, [tar])
        inputs[name] = Input(tar, packed, archive)
    for name in [name for name in load.MAKERS if name in only]:
        missed += against_tar(name, inputs[name], options.runs)
    if "limit" in only:
        missed += limits(inputs, options.runs)
    if "layers" in only:
        for sync in (False, True):
            missed += several_layers(inputs, sync, options.runs)
    if "memory" in only:
        missed += memory(inputs)
    sys.exit(1 if missed else 0)


def against_tar(name, given, runs):
    missed = 0
    for sync in (False, True):
        times = paired.measure({"strata load": load.strata_load(given.archive, sync),
                                "tar + igzip": load.tar_extract(given.packed, sync)}, runs)
        missed += paired.report(f"load {name} ({os.path.getsize(given.tar) >> 20} MB tar), {'with sync' if sync else 'no sync'}",
                                times, "tar + igzip", {"strata load": ("tar + igzip", load.MAKERS[name][1])})
    return missed


if __name__ == "__main__":
    main()
