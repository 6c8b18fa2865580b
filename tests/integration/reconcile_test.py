#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Slices on a real fast path, real Open vSwitch and real namespaces: what is wished is there, and works; changes disturb nothing else."""
import contextlib
import os
import re
import resource
import time

import child
from harness import Failure, wait_until
from network import Namespace, run
from slices import NetnsNode, run_slice_cases

OWN_SECONDS_MAX = 1.0  # for eight nodes
A = "a: {kind: netns, interfaces: {eth0: {address: 10.0.0.1/24}}}"
B = "b: {kind: netns, interfaces: {eth0: {address: 10.0.0.2/24}}}"


def slice_file(nodes, links, name="demo", rest=""):
    return (f"name: {name}\nnodes:\n" + "".join(f"  {node}\n" for node in nodes)
            + "links:\n" + "".join(f"  - {link}\n" for link in links) + rest)


SWITCH = slice_file([A, B, "sw: {kind: switch}"], ["[a, sw]", "[b, sw]"])
DIRECT = slice_file([A, B], ["[a, b]"])


def exchange(scene, *names):
    """Two nodes, at 10.0.0.1 and 10.0.0.2, reach one another, by TCP, too."""
    a, b = (NetnsNode(scene, name, f"10.0.0.{i}") for i, name in enumerate(names, 1))
    a.wait_ping(b)
    a.ping(b, size=1472)
    a.send(b)


def expect(what, wanted):
    if what != wanted:
        raise Failure(f"{what} instead of {wanted}")


def undisturbed(steps):
    """The steps are none but that all bridges are looked after."""
    others = [step for step in steps if not step.startswith(": setting up ")]
    if others:
        raise Failure(f"what was right is disturbed: {others}")


def on_a_switch(scene, node):
    node.deploy(SWITCH)
    exchange(scene, "demo.a", "demo.b")
    undisturbed(node.deploy(SWITCH))
    # The fast path notices a little later that a link is up.
    wait_until(lambda: set(node.states(SWITCH).values()) == {"running"}, 20, lambda: node.states(SWITCH))


def on_a_direct_link(scene, node):
    node.deploy(DIRECT)
    exchange(scene, "demo.a", "demo.b")
    expect(node.bridges(), [])
    expect(len(node.rules()), 2)
    undisturbed(node.deploy(DIRECT))


def through_two_switches(scene, node):
    node.deploy(slice_file([A, B, "one: {kind: switch}", "two: {kind: switch}"], ["[a, one]", "[one, two]", "[two, b]"]))
    exchange(scene, "demo.a", "demo.b")


def kernel_has_vlans():
    made = run("ip link add link lo name probe type vlan id 1 && ip link del probe || echo none", check=False)
    return "none" not in made


@contextlib.contextmanager
def outside(scene, vlan=None):
    """A machine behind the interface up0 of this one, 10.0.0.2, in a VLAN if need be."""
    there = Namespace(scene, "up0", "10.9.0.2" if vlan else "10.0.0.2")
    if vlan:
        there.run(f"ip link add link eth0 name v type vlan id {vlan} && ethtool -K v tx off")
        there.run("ip addr add 10.0.0.2/24 dev v && ip link set v up")
        there.address = "10.0.0.2"
    try:
        yield there
    finally:
        run("ip link del up0")


def connector(vlan=None, switch=False, name="demo"):
    up = "up: {kind: connector, device: up0" + (f", vlan: {vlan}" if vlan else "") + "}"
    if switch:
        return slice_file([A, up, "sw: {kind: switch}"], ["[a, sw]", "[up, sw]"], name=name)
    return slice_file([A, up], ["[a, up]"], name=name)


def through_a_connector(scene, node):
    """By a switch and directly, all of a device and a VLAN of it."""
    for vlan in (None, 7) if kernel_has_vlans() else (None,):
        with outside(scene, vlan) as there:
            for switch in True, False:
                text = connector(vlan, switch)
                node.deploy(text)
                a = NetnsNode(scene, "demo.a", "10.0.0.1")
                a.wait_ping(there)
                a.ping(there, size=1472)
                a.send(there)
                undisturbed(node.deploy(text))
            node.remove("demo")
            expect([name for name in node.interfaces() if name.startswith("vn")], [])


def slices_share_a_device(scene, node):
    """But neither a VLAN of it, nor all of it; a kernel without VLANs says so, and the claim stays until the slice goes."""
    with outside(scene):
        for name, vlan in ("demo", 7), ("red", 8):
            if kernel_has_vlans():
                node.deploy(connector(vlan, name=name))
            else:
                expect(node.refused("deploy", node.write(connector(vlan, name=name))),
                       "Connector up: this kernel has no VLANs; 'modprobe 8021q' may bring them.")
        expect(node.refused("deploy", node.write(connector(7, name="green"))),
               "Connector up cannot have VLAN 7 of up0: demo.up has it; take another one.")
        sentence = node.refused("deploy", node.write(connector(name="green")))
        expect(re.sub("(demo|red).up", "SOMEBODY", sentence),
               "Connector up cannot have all of up0: SOMEBODY has it, or a VLAN of it; take a VLAN that is free.")
        node.remove("demo", "red")
        node.deploy(connector(name="green"))
        expect(node.refused("deploy", node.write(connector(7))),
               "Connector up cannot have VLAN 7 of up0: green.up has it; take another one.")
        node.remove("green", "demo")
    expect(node.refused("deploy", node.write(connector())), "Connector up: this machine has no interface up0.")


def changes_disturb_nothing_else(scene, node):
    """A node comes, a link moves between switch and direct, a rate changes, a node stops: the others go on."""
    node.deploy(SWITCH)
    a = NetnsNode(scene, "demo.a", "10.0.0.1")
    program = child.start(scene, [*a.shell, "echo there; exec sleep infinity"])
    child.await_word(program, "there")
    ports = node.ports()
    three = slice_file([A, B, "c: {kind: netns, interfaces: {eth0: {address: 10.0.0.3/24}}}", "sw: {kind: switch}"],
                       ["[a, sw]", "{endpoints: [b, sw], rate: 100Mbit}", "[c, sw]"])
    steps = node.deploy(three)
    if any(step.startswith(("a:", "b:")) for step in steps):
        raise Failure(f"nodes that have not changed are disturbed: {steps}")
    expect({name: port["id"] for name, port in node.ports().items() if name in ports},
           {name: port["id"] for name, port in ports.items()})
    exchange(scene, "demo.a", "demo.b")
    expect([(port["rate"], port["rate_out"]) for _, port in sorted(node.ports().items())],
           [(0, 0), (100000000, 100000000), (0, 0)])
    undisturbed(node.deploy(three))
    moved = slice_file([A, "b: {kind: netns, interfaces: {eth0: {address: 10.0.0.2/24}}}", "sw: {kind: switch}"],
                       ["[a, b]"])
    for text in moved, SWITCH, moved:
        node.deploy(text)
        exchange(scene, "demo.a", "demo.b")
    expect(node.ports()["demo.a.eth0"]["id"], ports["demo.a.eth0"]["id"])
    node.deploy(moved.replace("[a, b]", "{endpoints: [a, b], rate: 50Mbit}"))
    expect([(port["rate"], port["rate_out"]) for port in node.ports().values()], [(50000000, 0)] * 2)
    node.deploy(moved)
    expect([(port["rate"], port["rate_out"]) for port in node.ports().values()], [(0, 0)] * 2)
    node.deploy(moved, "b")
    expect((node.namespaces(), sorted(node.ports()), node.rules()), (["demo.a"], ["demo.a.eth0"], []))
    expect(node.states(moved, "b")["b"], "stopped")
    node.deploy(moved)
    exchange(scene, "demo.a", "demo.b")
    expect(program.poll(), None)


def a_node_moves_to_another_switch(scene, node):
    """And back: Open vSwitch closes a device and opens another one, which gets what the first one held. In one of the orders b's interface
    there changes its name, too."""
    nodes = [A, B, "c: {kind: netns}", "s1: {kind: switch}", "s2: {kind: switch}"]

    for order in ("[b, s2]", "[a, {}]", "[c, s1]"), ("[a, {}]", "[b, s2]", "[c, s1]"):
        node.deploy(slice_file(nodes, [link.format("s1") for link in order]))
        ids = {name: port["id"] for name, port in node.ports().items()}
        for switch in "s2", "s1", "s2":
            undisturbed(node.deploy(slice_file(nodes, [link.format(switch) for link in order])))
            expect({name: port["id"] for name, port in node.ports().items()}, ids)
            if switch == "s2":
                exchange(scene, "demo.a", "demo.b")
    with open(node.scene.log("ovs"), encoding="utf-8") as log:
        expect([line for line in log if "is held by another" in line], [])


MACHINES = slice_file(["a: {kind: vm, interfaces: {eth0: {address: 10.0.0.1/24, queues: 2}}}", "b: {kind: vm}",
                       "sw: {kind: switch}"], ["[a, sw]", "[b, sw]"],
                      rest="offload: {mode: auto, promote: 2kpps, demote: 10pps, hold: 5s}\nbudget: {rules: 100}\n")


def machines_run_stop_and_return(scene, node):
    node.deploy(MACHINES)
    expect(node.machines(), ["demo.a", "demo.b"])
    expect(sorted(node.ports()), ["demo.a.eth0", "demo.b.eth0"])
    with open(os.path.join(node.run_folder, "fake", "demo.a"), encoding="utf-8") as file:
        told = file.read()
    mac, socket = told.splitlines()[1].split()
    if f"vnode.name=a vnode.if=eth0,{mac},1500,10.0.0.1/24" not in told:
        raise Failure(f"the machine is told: {told}")
    port = node.ports()["demo.a.eth0"]
    expect((port["path"], port["queues_max"], port["slice"], port["mtu"]), (socket, 2, "demo", 1500))
    settings = node.everything()["settings"][0]
    expect([settings[key] for key in ("slice", "mode", "promote", "demote", "hold_ms", "rules_max")],
           ["demo", "auto", 2000, 10, 5000, 100])
    expect(node.states(MACHINES), {"a": "starting", "b": "starting", "sw": "running"})
    undisturbed(node.deploy(MACHINES))
    os.unlink(os.path.join(node.run_folder, "fake", "demo.b"))
    expect(node.states(MACHINES)["b"], "failed")
    expect([step for step in node.deploy(MACHINES) if "machine" in step], ["b: starting machine"])
    expect([step for step in node.deploy(MACHINES, "a") if "machine" in step], ["a: stopping machine"])
    expect((node.machines(), sorted(node.ports())), (["demo.b"], ["demo.a.eth0", "demo.b.eth0"]))
    larger = MACHINES.replace("b: {kind: vm}", "b: {kind: vm, memory: 512MiB}")
    expect([step for step in node.deploy(larger) if "machine" in step],
           ["b: stopping machine", "a: starting machine", "b: starting machine"])


def daemons_come_and_go(scene, node):
    """What the fast path has lost is put back, machines and namespaces are left alone; Open vSwitch finds its own again."""
    text = slice_file([A, B, "c: {kind: netns, interfaces: {eth0: {address: 10.0.0.3/24}}}", "d: {kind: netns}", "m: {kind: vm}",
                       "sw: {kind: switch}"], ["[a, sw]", "[b, sw]", "[c, d]", "[m, sw]"])
    node.deploy(text)
    exchange(scene, "demo.a", "demo.b")
    before = node.everything()
    node.fast_path.kill()
    sentence = node.refused("deploy", node.write(text))
    if node.fast_path.control not in sentence:
        raise Failure(f"the sentence about a fast path that is not there: {sentence}")
    node.fast_path.start()
    steps = node.deploy(text)
    undisturbed(step for step in steps if not step.startswith(": making "))
    expect(node.everything(), before)
    exchange(scene, "demo.a", "demo.b")
    node.switch.kill_daemon()
    node.switch.start_daemon()
    exchange(scene, "demo.a", "demo.b")
    undisturbed(node.deploy(text))
    expect(node.everything(), before)


def others_are_left_alone(scene, node):
    """What has a name that a slice needs is named, and stays as it is, and so does all else."""
    run("ip netns add demo.a")
    sentence = node.refused("deploy", node.write(SWITCH))
    node.remove("demo")
    expect(sentence, "The network namespace demo.a is there already and is not ours; remove it with "
                     "'ip netns del demo.a', or rename node a.")
    expect(node.namespaces(), ["demo.a"])
    run("ip netns del demo.a")

    node.fast_path.vnode("port", "add", "demo.a.eth0", "dpdk=net_null0")
    sentence = node.refused("deploy", node.write(SWITCH))
    node.remove("demo")
    expect(sentence, "The fast path has a port demo.a.eth0 already that is not slice demo's; remove it with "
                     "'vnode port del', or rename node a.")
    expect(list(node.ports()), ["demo.a.eth0"])
    node.fast_path.vnode("port", "del", "demo.a.eth0")

    node.deploy(SWITCH)
    bridge = node.bridges()[0]
    node.remove("demo")
    node.switch.vsctl("add-br", bridge, "--", "set", "Bridge", bridge, "datapath_type=netdev")
    sentence = node.refused("deploy", node.write(SWITCH))
    node.remove("demo")
    expect(sentence, f"Bridge {bridge} is there already and is not ours; rename it.")
    expect(node.bridges(), [bridge])
    node.switch.vsctl("del-br", bridge)

    node.deploy(DIRECT)
    host = [name for name in node.interfaces() if name.startswith("vn")][0]
    node.remove("demo")
    run(f"ip link add {host} type veth peer name other")
    sentence = node.refused("deploy", node.write(DIRECT))
    node.remove("demo")
    if f"needs the name {host} for an interface of this machine" not in sentence:
        raise Failure(sentence)
    if host not in node.interfaces():
        raise Failure(f"{host} is gone")
    run(f"ip link del {host}")


def two_slices_side_by_side(scene, node):
    """Each is removed without the other's noticing."""
    other = SWITCH.replace("name: demo", "name: demo2")
    node.deploy(SWITCH)
    node.deploy(other)
    expect(node.reconcile("list"), ["demo", "demo2"])
    exchange(scene, "demo2.a", "demo2.b")
    before = node.everything()
    node.remove("demo")
    exchange(scene, "demo2.a", "demo2.b")
    node.deploy(SWITCH)
    expect(node.everything(), before)
    exchange(scene, "demo.a", "demo.b")


def eight_nodes_take_no_second(scene, node):
    """Of our own work: how long Open vSwitch and the fast path take, with who knows what beside them, is only told."""
    for kind in "vm", "netns":
        text = slice_file([f"n{i}: {{kind: {kind}}}" for i in range(8)] + ["sw: {kind: switch}"],
                          [f"[n{i}, sw]" for i in range(8)])
        for what, act in (("deployed", lambda: node.deploy(text)), ("again", lambda: node.deploy(text)),
                          ("asked", lambda: node.states(text)), ("removed", lambda: node.remove("demo"))):
            before, begin = own_seconds(), time.monotonic()
            act()
            own = own_seconds() - before
            print(f"# 8 {kind}: {what} in {time.monotonic() - begin:.3f} s, {own:.3f} s of it at work")
            if own > OWN_SECONDS_MAX:
                raise Failure(f"{what}: {own:.2f} s of work")


def own_seconds():
    """CPU time of all reconcilers so far, and of what they ran."""
    usage = resource.getrusage(resource.RUSAGE_CHILDREN)
    return usage.ru_utime + usage.ru_stime


if __name__ == "__main__":
    run_slice_cases([on_a_switch, on_a_direct_link, through_two_switches, through_a_connector, slices_share_a_device, changes_disturb_nothing_else,
                     a_node_moves_to_another_switch, machines_run_stop_and_return, daemons_come_and_go, others_are_left_alone, two_slices_side_by_side,
                     eight_nodes_take_no_second])
