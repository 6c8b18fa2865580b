#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The evaluation's quick part, with each kind of guests: is there a figure for each cell, and is it one?"""
import json
import os
import subprocess
import time

from harness import Failure, build_path, run_cases

SECONDS_MAX = 360  # of a loaded machine; on one that has nothing else to do it is less than half a minute, or a minute
KEYS = {"guests", "guest_kind", "ports", "path", "direction", "mtu", "gbps", "host_cpu_percent", "retransmits", "lost"}
DIRECTIONS = ("send", "receive")


def left_behind():
    """Processes and folders that bear the evaluation's name."""
    found = [path for path in ("/run/vnode-eval", "/var/lib/vnode-eval") if os.path.exists(path)]
    return found + subprocess.run(["pgrep", "-f", "[v]node-eval"], stdout=subprocess.PIPE, text=True, check=False).stdout.split()


def evaluate(scene, kind):
    """The rows, by (guests, ports, path, direction, MTU). The evaluation itself fails when packets take another path than is said."""
    output = scene.path("output")
    process = scene.start("eval", [build_path("cli/vnode"), "eval", "--quick", "--guests", kind, "--output", output])
    start = time.monotonic()
    try:
        status = process.wait(SECONDS_MAX)
    except subprocess.TimeoutExpired:
        process.terminate()
        process.wait(60)
        raise Failure(f"the evaluation takes more than {SECONDS_MAX} s") from None
    if status:
        raise Failure(f"the evaluation ended with status {status} after {time.monotonic() - start:.0f} s")
    with open(os.path.join(output, "results.json"), encoding="ascii") as file:
        rows = [json.loads(line) for line in file]
    for row in rows:
        if set(row) != KEYS or row["guest_kind"] != kind or row["gbps"] <= 0 or not 0 < row["host_cpu_percent"] <= 100:
            raise Failure(f"{row} is no result")
    with open(os.path.join(output, "table.md"), encoding="utf-8") as file:
        table = file.read()
    if "| receive | 1500 |" not in table or not os.path.exists(os.path.join(output, f"evaluation-{kind}-1500.svg")):
        raise Failure(f"of the files there are {os.listdir(output)}; the table is {table}")
    if left_behind():
        raise Failure(f"left behind: {left_behind()}")
    return {(row["guests"], row["ports"], row["path"], row["direction"], row["mtu"]): row for row in rows}


def with_virtual_machines(scene):
    rows = evaluate(scene, "vm")
    wanted = {(2, 2, path, direction, 1500) for path in ("onload", "offload") for direction in DIRECTIONS}
    if set(rows) != wanted or any(row["retransmits"] is None for row in rows.values()):
        raise Failure(f"the results are {rows}")


def with_the_load_generator(scene):
    rows = evaluate(scene, "loadgen")
    wanted = {(guests, ports, path, direction, 1500) for guests, ports in ((1, 1), (2, 1), (2, 2))
              for path in ("onload", "offload", "plain") for direction in DIRECTIONS}
    if set(rows) != wanted or any(row["lost"] for row in rows.values()):
        raise Failure(f"the results are {rows}")
    for guests, ports in ((1, 1), (2, 1), (2, 2)):
        for direction in DIRECTIONS:
            onload, offload = (rows[guests, ports, path, direction, 1500] for path in ("onload", "offload"))
            if offload["gbps"] <= onload["gbps"]:
                raise Failure(f"offload is not faster: {onload}, {offload}")


if __name__ == "__main__":
    run_cases([with_virtual_machines, with_the_load_generator])
