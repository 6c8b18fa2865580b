#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manager is killed in the middle of deploying and of destroying a slice with a machine: the next one finishes what was begun.

VNODE_MOMENTS in the environment says at how many moments of each, each of them a step after the last one (default: 3, further apart).
"""
import json
import os
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
STEPS_MAX = 30


def steps_to_kill_at(default):
    moments = int(os.environ.get("VNODE_MOMENTS", "0"))
    return range(moments) if moments else default


def kill_after(node, n_steps, method, **params):
    """Asks for something, and kills the manager when it has told of so many steps. Returns False when it was done by then."""
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{RUN}/manager.sock")
        connection.sendall(json.dumps({"id": 1, "method": method, "params": params}).encode() + b"\n")
        for _ in range(n_steps):
            if "progress" not in json.loads(connection.makefile("r").readline() or "{}"):
                node.kill()
                return False
    node.kill()
    return True


def interrupted_deploys_are_finished(scene, node):
    for n_steps in steps_to_kill_at((0, 3, 6)):
        node.start()
        amid = kill_after(node, n_steps, "deploy", spec=SPEC)
        node.start()
        state = node.state_of("half")
        if state:  # the request had been read
            node.await_state("half", "running", BACK_SECONDS_MAX)
            node.vnode("exec", "half:t", "--", "busybox", "ping", "-c", "1", "-W", "60", "10.6.0.1")
        elif n_steps:
            raise Failure(f"killed after {n_steps} steps, the slice is forgotten")
        print(f"# killed after {n_steps} steps of a deploy{'' if amid else ', when it was done'}: {state or 'not begun'}")
        if state:
            node.vnode("destroy", "half")
        node.check_nothing_left()
        node.stop()


def interrupted_destroys_are_finished(scene, node):
    for n_steps in steps_to_kill_at((1, 2, 4)):
        node.start()
        node.deploy(SPEC)
        amid = kill_after(node, n_steps, "destroy", slice="half")
        node.start()
        state = node.state_of("half")
        if state == "running":
            raise Failure(f"killed after {n_steps} steps, the slice runs on")
        print(f"# killed after {n_steps} steps of a destroy{'' if amid else ', when it was done'}: {state or 'gone'}")
        node.check_nothing_left()
        node.stop()


if __name__ == "__main__":
    run_node_cases([interrupted_deploys_are_finished, interrupted_destroys_are_finished])
