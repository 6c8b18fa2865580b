#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manager is killed in the middle of deploying and of destroying a slice with a machine: the next one finishes what was begun.

VNODE_MOMENTS in the environment says at how many moments of each, 0.1 s apart (default: a few, further apart).
"""
import json
import os
import select
import socket

from harness import Failure
from managed_guests import BACK_SECONDS_MAX, run_node_cases
from managed_node import RUN

SPEC = """name: half
nodes:
  m: {kind: vm, memory: 256MiB, interfaces: {eth0: {address: 10.6.0.1/24}}}
  t: {kind: netns, interfaces: {eth0: {address: 10.6.0.2/24}}}
  sw: {kind: switch}
links: [[m, sw], [t, sw]]
"""
STEPS = 5  # the last one that is told: "starting machine"
READ_SECONDS_MAX = 0.5  # within which the manager reads what it is asked for


def moments(default):
    n = int(os.environ.get("VNODE_MOMENTS", "0"))
    return range(n) if n else default


class Request:
    """Something that the manager is asked for, and does not finish."""

    def __init__(self, method, **params):
        self.connection = socket.socket(socket.AF_UNIX)
        self.connection.connect(f"{RUN}/manager.sock")
        self.connection.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")

    def await_steps(self, n_steps):
        """Returns when the manager has told of so many steps; False when it was done by then."""
        lines = self.connection.makefile("r")
        return all("progress" in json.loads(lines.readline() or "{}") for _ in range(n_steps))

    def await_end(self, seconds):
        """Returns False when it was done by then."""
        return not select.select([self.connection], [], [], seconds)[0]

    def close(self):
        self.connection.close()


def interrupted_deploys_are_finished(scene, node):
    # Amid the namespace, amid the ports, and while libvirt starts the machine, which it tells nobody in steps.
    for n_steps, seconds in [(STEPS, number / 10) for number in moments(())] or ((1, 0), (3, 0), (STEPS, 0.05), (STEPS, 0.3)):
        node.start()
        request = Request("deploy", spec=SPEC)
        amid = request.await_steps(n_steps) and request.await_end(seconds)
        node.kill()
        request.close()
        node.start()
        node.await_state("half", "running", BACK_SECONDS_MAX)
        node.vnode("exec", "half:t", "--", "busybox", "ping", "-c", "1", "-W", "60", "10.6.0.1")
        print(f"# killed after {n_steps} steps of a deploy and {seconds} s{'' if amid else ', when it was done'}")
        node.vnode("destroy", "half")
        node.check_nothing_left()
        node.stop()


def interrupted_destroys_are_finished(scene, node):
    for seconds in [number / 10 for number in moments((0, 1, 5))]:  # a destroy tells of no steps
        node.start()
        node.deploy(SPEC)
        request = Request("destroy", slice="half")
        amid = request.await_end(seconds)
        node.kill()
        request.close()
        node.start()
        state = node.state_of("half")
        print(f"# killed after {seconds} s of a destroy{'' if amid else ', when it was done'}: {state or 'gone'}")
        if state == "running":
            if seconds >= READ_SECONDS_MAX:
                raise Failure(f"killed after {seconds} s, the slice runs on")
            node.vnode("destroy", "half")  # the request had not been read
        node.check_nothing_left()
        node.stop()


if __name__ == "__main__":
    run_node_cases([interrupted_deploys_are_finished, interrupted_destroys_are_finished])
