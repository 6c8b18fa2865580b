#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Slices with real machines: Linux guests, by libvirt, that know their names and addresses, on a switch and on direct links."""
from harness import build_path, wait_until
from switch_host import make_switch  # noqa: F401, and where to find the following
from slices import NetnsNode, run_slice_cases

BOOT_SECONDS_MAX = 180
SHORT_LOOKS = 20  # by who ends while libvirt still takes the machines over
SLICE = """
name: demo
nodes:
  a: {kind: vm, interfaces: {eth0: {address: 10.0.0.1/24}, eth1: {address: 10.1.0.1/24, mtu: 3000}}}
  b: {kind: vm, interfaces: {eth0: {address: 10.0.0.2/24}}}
  t: {kind: netns, interfaces: {eth0: {address: 10.0.0.3/24}}}
  u: {kind: netns, interfaces: {eth0: {address: 10.1.0.2/24}}}
  sw: {kind: switch}
links:
  - ["a:eth0", sw]
  - ["b:eth0", sw]
  - [t, sw]
  - ["a:eth1", u]
"""


def reach(scene, *addresses):
    """The namespaces reach the machines; what leads from one to the other is told by the addresses."""
    sides = {"10.0": NetnsNode(scene, "demo.t", "10.0.0.3"), "10.1": NetnsNode(scene, "demo.u", "10.1.0.2")}
    for address in addresses:
        side = sides[address[:4]]
        there = NetnsNode(scene, "", address)
        side.wait_ping(there, BOOT_SECONDS_MAX)
        side.ping(there, size=1472 if address[:4] == "10.0" else 2972)


def machines_boot_and_outlive_a_fast_path(scene, node):
    node.deploy(SLICE)
    reach(scene, "10.0.0.1", "10.0.0.2", "10.1.0.1")
    wait_until(lambda: set(node.states(SLICE).values()) == {"running"}, 20, lambda: node.states(SLICE))
    for _ in range(SHORT_LOOKS):
        assert node.reconcile("list") == ["demo"]
    node.fast_path.kill()
    node.fast_path.start()
    steps = node.deploy(SLICE)
    assert not any("machine" in step for step in steps), steps
    reach(scene, "10.0.0.1", "10.0.0.2", "10.1.0.1")
    node.deploy(SLICE, "b")
    reach(scene, "10.0.0.1", "10.1.0.1")
    assert node.states(SLICE, "b")["b"] == "stopped"


if __name__ == "__main__":
    run_slice_cases([machines_boot_and_outlive_a_fast_path],
                    ("-k", build_path("guest-image/guest-kernel"), "-i", build_path("guest-image/guest-initrd")))
