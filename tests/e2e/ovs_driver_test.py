#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Debian's Open vSwitch with ports of a fast path: they come and go, and so do both processes."""
import functools
import re
import signal
import time

from fast_path import FastPath
from harness import Failure, build_path, run_cases, wait_until
from switch_host import make_switch  # and where to find the following
from network import Here, Namespace, private_network
from openvswitch import Driver

HANG_SECONDS_MAX = 3  # for what takes 0.1 s a port, on a busy machine
DEVICES = {"tap": "uplink=[net_tap0,iface=tap0]", "veth": "uplink=[net_af_packet0,iface=up0]"}


class Node:
    """A fast path, Open vSwitch, and two kernels that a bridge of it shall join: ours by a tap, another by a veth."""

    def __init__(self, scene):
        self.fast_path = FastPath(scene).start()
        self.there = Namespace(scene, "up0", "10.1.0.2")
        self.here = Here(scene)
        self.driver = Driver(build_path("pmd/librte_net_vnode.so"), self.fast_path.control)
        self.switch = make_switch(scene, driver=self.driver)

    def start(self):
        self.switch.start()
        self.switch.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")

    def plug(self, name, arguments=None, device=None, wait=True):
        arguments = arguments or DEVICES[name]
        device = f"net_vnode_{device or name},{arguments},fastpath={self.fast_path.control}"
        self.switch.vsctl("add-port", "br0", name, "--", "set", "Interface", name, "type=dpdk",
                          f'options:dpdk-devargs="{device}"')
        if wait:
            self.await_link(name, "up")

    def await_link(self, name, state):
        wait_until(lambda: self.switch.vsctl("get", "Interface", name, "link_state").strip() == state, 20,
                   f"the link of {name} is not {state}")

    def ports(self):
        return sorted(port["name"] for port in self.fast_path.query("port", "list"))

    def join(self):
        """Plugs both kernels in; returns when they reach one another."""
        for name in DEVICES:
            self.plug(name)
        self.reach()

    def reach(self):
        self.here.set_up("tap0", "10.1.0.1")
        self.here.wait_ping(self.there)

    def statistics(self, name):
        text = self.switch.vsctl("get", "Interface", name, "statistics")
        return {key: int(value) for key, value in re.findall(r"(\w+)=(\d+)", text)}


def private_node(case):
    """Makes a test case of a function of a Node, in a network namespace of its own."""
    @private_network
    @functools.wraps(case)
    def run_case(scene):
        node = Node(scene)
        try:
            node.start()
            case(node)
        finally:
            node.switch.stop()
    return run_case


@private_node
def packets_pass_and_are_counted(node):
    node.join()
    node.here.ping(node.there, count=20)
    node.there.ping(node.here, size=1472)
    for sender, receiver in (node.here, node.there), (node.there, node.here):
        if sender.iperf(receiver) < 1000000:
            raise Failure("less than a megabyte in a second")

    def counters_agree():
        port = node.fast_path.query("stats", "veth")[0]
        seen = node.statistics("veth")
        return all(seen[f"{way}_{unit}"] == port[f"{way}_{unit}"] for way in ("rx", "tx") for unit in ("packets", "bytes"))
    wait_until(counters_agree, 20, "Open vSwitch tells other counters than the fast path")


@private_node
def restarted_fast_path_is_found_again(node):
    node.join()
    for _ in range(2):
        node.fast_path.kill()
        for name in DEVICES:
            node.await_link(name, "down")
        node.here.run(f"! busybox ping -q -c 1 -W 1 {node.there.address}")
        node.fast_path.start()
        for name in DEVICES:
            node.await_link(name, "up")
        node.reach()


@private_node
def killed_open_vswitch_leaves_its_ports(node):
    node.join()
    node.switch.kill_daemon()
    if node.ports() != sorted(DEVICES):
        raise Failure(f"the fast path has the ports {node.ports()}")
    node.switch.start_daemon()
    for name in DEVICES:
        node.await_link(name, "up")
    node.here.wait_ping(node.there)
    node.switch.appctl("exit")
    node.switch.daemon.wait(20)
    if node.ports():
        raise Failure(f"though Open vSwitch ended in an orderly way, there are ports: {node.ports()}")


@private_node
def ports_come_and_go_with_interfaces(node):
    node.join()
    node.fast_path.vnode("port", "add", "old", "dpdk=net_null0")
    node.plug("old", "port=old", device="anything")
    node.switch.vsctl("del-port", "br0", "old")
    node.switch.vsctl("del-port", "br0", "veth")
    if node.ports() != ["old", "tap"]:
        raise Failure(f"the fast path has the ports {node.ports()}")
    node.plug("veth")
    node.here.wait_ping(node.there)
    node.fast_path.vnode("port", "del", "veth")
    wait_until(lambda: "veth" in node.ports(), 20, "the driver has not added its port again")
    node.here.wait_ping(node.there)


@private_node
def hanging_fast_path_holds_nobody_up(node):
    node.join()
    node.fast_path.process.send_signal(signal.SIGSTOP)
    begin = time.monotonic()
    for name in DEVICES:
        node.switch.vsctl("del-port", "br0", name)
    node.switch.appctl("ofproto/list")
    if time.monotonic() - begin > HANG_SECONDS_MAX:
        raise Failure(f"removing the ports took {time.monotonic() - begin:.1f} s")
    node.fast_path.process.send_signal(signal.SIGCONT)
    wait_until(lambda: not node.ports(), 20, f"the ports are still there: {node.ports()}")
    node.join()


if __name__ == "__main__":
    run_cases([packets_pass_and_are_counted, restarted_fast_path_is_found_again,
               killed_open_vswitch_leaves_its_ports, ports_come_and_go_with_interfaces,
               hanging_fast_path_holds_nobody_up])
