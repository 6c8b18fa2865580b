#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Eight machines come, are used, and go, again and again: nothing is left over, and nothing grows. What of a deploy is the manager's
own share is measured, too, and how long it takes to look meanwhile.

VNODE_ROUNDS in the environment says how often (default: 2). While the share is too large, some more are made: others may be busy here.
"""
import glob
import json
import os
import socket
import statistics
import time

from harness import Failure, wait_until
from managed_guests import NAMES, Guest, run_node_cases, slice_of_machines
from managed_node import RUN, run

ROUNDS = int(os.environ.get("VNODE_ROUNDS", "2"))
MORE_ROUNDS = 3
N = 8
WARM_ROUNDS = 3  # after which memory has to stay as it is
GROWTH_KIB_MAX = 2048
OWN_SECONDS_MAX = 1  # of a deploy, without machines' starts and boots
OWN_CPU_SECONDS_MAX = 1
INSPECT_MS_MAX = 50
INSPECT_MS_WORST_MAX = 500  # of one, on a machine whose CPUs are busy with eight guests that boot
DEPLOY_SECONDS_MAX = 600


def own_cpu_seconds(pid):
    """The CPU time of a process and of the children that it has waited for; a machine's, too, once it has ended."""
    with open(f"/proc/{pid}/stat", encoding="ascii") as file:
        return sum(map(int, file.read().rpartition(")")[2].split()[11:15])) / os.sysconf("SC_CLK_TCK")


def memory_kib(pid):
    with open(f"/proc/{pid}/status", encoding="ascii") as file:
        return next(int(line.split()[1]) for line in file if line.startswith("VmRSS:"))


class Connection:
    def __init__(self):
        self.socket = socket.socket(socket.AF_UNIX)
        self.socket.connect(f"{RUN}/manager.sock")
        self.socket.settimeout(DEPLOY_SECONDS_MAX)
        self.lines = self.socket.makefile("r")

    def ask(self, method, **params):
        self.socket.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")

    def answer(self):
        return json.loads(self.lines.readline())


def deploy(text):
    """Deploys, and looks all the while; returns what took how many seconds, and how long each look took, in ms."""
    deploying, looking = Connection(), Connection()
    deploying.ask("deploy", spec=text)
    times, answer = [], deploying.answer()
    while "progress" in answer:
        begin = time.monotonic()
        looking.ask("inspect", slice="vms")
        if "result" not in looking.answer():
            raise Failure("the slice cannot be looked at while it is deployed")
        times.append((time.monotonic() - begin) * 1000)
        answer = deploying.answer()
    if "result" not in answer:
        raise Failure(f"deploy: {answer}")
    return answer["result"]["seconds"], times


class Footprint:
    """What there is of a node when no slice runs."""

    def __init__(self, node):
        self.node = node
        self.pids = {"vnode-manager": node.manager.pid, **node.pids()}

    def take(self):
        counts = {}
        for name, pid in self.pids.items():
            counts[name] = (len(os.listdir(f"/proc/{pid}/fd")), len(os.listdir(f"/proc/{pid}/task")))
        counts["files"] = sorted(path for top in (RUN, self.node.state) for path in glob.glob(f"{top}/**", recursive=True)
                                 if not path.endswith((".log", ".old")))
        counts["mounts"] = run("cat /proc/self/mounts | wc -l")
        counts["shared memory"] = sorted(os.listdir("/dev/shm"))
        return counts

    def check(self, counts):
        """Returns when there is what there was; who is asked may still be closing the connection of who asked."""
        wait_until(lambda: not counts or self.take() == counts, 10, lambda: f"there was {counts}, and there is {self.take()}")

    def memory(self):
        return {name: memory_kib(pid) for name, pid in self.pids.items()}


def use(node):
    """Runs something in each machine, and reaches each from its neighbour."""
    for index, name in enumerate(NAMES[:N]):
        guest = Guest(node, f"vms:{name}")
        if guest.run("hostname").strip() != name:
            raise Failure(f"{name} does not know its name")
        guest.reach(f"10.7.0.{(index + 1) % N + 1}")


def come_and_go(node, number):
    """One round; returns the manager's own seconds of the deploy."""
    cpu = own_cpu_seconds(node.manager.pid)
    seconds, times = deploy(slice_of_machines(N))
    cpu = own_cpu_seconds(node.manager.pid) - cpu
    use(node)
    destroyed = node.json("destroy", "vms")["seconds"]
    node.check_nothing_left()
    print(f"# round {number + 1}: deployed, seconds {seconds}, {cpu:.2f} s of CPU for the manager; {len(times)} looks, "
          f"{statistics.median(times):.1f} ms, the longest {max(times):.1f} ms; destroyed, seconds {destroyed}", flush=True)
    if number and cpu > OWN_CPU_SECONDS_MAX:  # at first libvirt asks QEMU what it can do
        raise Failure(f"the manager took {cpu:.2f} s of CPU to deploy {N} machines")
    if statistics.median(times) > INSPECT_MS_MAX or max(times) > INSPECT_MS_WORST_MAX:
        raise Failure(f"to look at the slice took {times} ms")
    return seconds["manager"]


def takes_too_long(own):
    """Judged by the median: a shared machine has slow moments."""
    return statistics.median(own) > OWN_SECONDS_MAX


def machines_come_and_go(scene, node):
    node.configure("capacity: {overcommit: 16}\n")
    node.start()
    footprint, counts, memory, own = Footprint(node), None, [], []
    while len(own) < ROUNDS or (takes_too_long(own) and len(own) < ROUNDS + MORE_ROUNDS):
        own.append(come_and_go(node, len(own)))
        memory.append(footprint.memory())
        footprint.check(counts)
        counts = footprint.take()
    print(f"# memory {memory}", flush=True)
    check_memory(memory)
    if takes_too_long(own):
        raise Failure(f"of deploys of {N} machines the manager's own share was {own} s")


def check_memory(memory):
    for name, last in memory[-1].items():
        warm = memory[min(WARM_ROUNDS, len(memory)) - 1][name]
        if last > warm + GROWTH_KIB_MAX:
            raise Failure(f"{name} grows: {[round_[name] for round_ in memory]} KiB")


if __name__ == "__main__":
    run_node_cases([machines_come_and_go])
