# SPDX-License-Identifier: Apache-2.0
"""A fast path with two uplinks, and a kernel behind each: the scene of many tests."""
import functools

from fast_path import FastPath
from network import Here, Namespace, private_network


def add(fast_path, name, device, *options):
    fast_path.vnode("port", "add", name, f"dpdk={device}", *options)


def port(fast_path, name):
    """What `port list` says of it, or None."""
    return next((port for port in fast_path.query("port", "list") if port["name"] == name), None)


class Pair:
    """The test's namespace on a tap, another on a veth by af_packet, and (unless 'rules' is unset) rules both ways."""

    def __init__(self, scene, rules=True):
        self.scene = scene
        self.fast_path = FastPath(scene).start()
        self.there = Namespace(scene, "up0", "10.1.0.2")
        self.here = Here(scene)
        add(self.fast_path, "tap", "net_tap0,iface=tap0")
        self.here.set_up("tap0", "10.1.0.1")
        add(self.fast_path, "veth", "net_af_packet0,iface=up0")
        if rules:
            self.fast_path.join("tap", "veth")


def private_pair(rules=True):
    """Makes a test case of a function of a Pair, in a network namespace of its own.

    Where rules join the two, packets pass when it is called. When it is done, the fast path must end well.
    """
    def decorate(case):
        @private_network
        @functools.wraps(case)
        def run_case(scene):
            pair = Pair(scene, rules)
            if rules:
                pair.here.wait_ping(pair.there)
            case(pair)
            pair.fast_path.stop()
        return run_case
    return decorate
