#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Slices on a real fast path, real Open vSwitch and real namespaces: what is wished is there, and works."""
from harness import Failure
from slices import NetnsNode, run_slice_cases

SWITCH = """
name: demo
nodes:
  a: {kind: netns, interfaces: {eth0: {address: 10.0.0.1/24}}}
  b: {kind: netns, interfaces: {eth0: {address: 10.0.0.2/24}}}
  sw: {kind: switch}
links:
  - [a, sw]
  - [b, sw]
"""


def exchange(scene, *names):
    """Two nodes, at 10.0.0.1 and 10.0.0.2, reach one another, by TCP, too."""
    a, b = (NetnsNode(scene, name, f"10.0.0.{i}") for i, name in enumerate(names, 1))
    a.wait_ping(b)
    a.ping(b, size=1472)
    if a.iperf(b) < 1000000:
        raise Failure("less than a megabyte in a second")


def two_namespaces_on_a_switch(scene, node):
    node.deploy(SWITCH)
    exchange(scene, "demo.a", "demo.b")
    steps = node.deploy(SWITCH)
    if steps != ["sw: setting up bridge " + node.bridges()[0]]:
        raise Failure(f"what was right is disturbed: {steps}")


if __name__ == "__main__":
    run_slice_cases([two_namespaces_on_a_switch])
