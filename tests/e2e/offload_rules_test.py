#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Pipelines, of which the fast path can take some flows and not others: drops, tables, groups, meters, connection tracking,
tunnels, a controller. What stays onload has to be right all the same, beside what is offloaded."""
import os
import re
import struct

from frames import ethernet, ipv4, mac_text, tag, tcp, udp, vxlan
from harness import Failure, wait_until
from offload_lab import WAIT_SECONDS, run_scenarios
import network

HERE = os.path.dirname(os.path.abspath(__file__))


def datagrams(to, source="a", receiver="b", port=1000, n=10):
    return [ethernet(receiver, source, ipv4("10.0.0.1", "10.0.0.2", udp(port, to, bytes(i * 7)))) for i in range(n)]


def drops_and_tables(run):
    """Rules of several tables are one for the datapath, and every table counts."""
    run.bridge("abc", flows="""
        table=0,priority=9,udp,tp_dst=1 actions=drop
        table=0,priority=8,in_port=1 actions=set_field:7->metadata,resubmit(,1)
        table=0,priority=8,in_port=2 actions=learn(table=2,priority=3,eth_dst=eth_src,output:in_port),resubmit(,2)
        table=1,priority=5,metadata=7,udp,tp_dst=2 actions=mod_dl_dst:52:54:00:00:00:78,resubmit(,2)
        table=1,priority=5,metadata=7,udp,tp_dst=3 actions=resubmit(,2),output:2
        table=2,priority=1 actions=output:3
        table=2,priority=2,tcp actions=drop""")
    vectors = [("a", datagrams(1), ""), ("a", datagrams(2), "c"), ("a", datagrams(3), "bc"), ("a", datagrams(4), "")]
    for sender, frames, receivers in vectors:
        run.onload(sender, frames[0], receivers)
    run.await_rules("a>drop", "a>c", "a>b,c", "a>drop")
    for sender, frames, receivers in vectors:
        run.offloaded(sender, frames, receivers)
    # What b sends makes a flow for what is sent to b, and what a sends there finds that from then on.
    run.forget_flows()
    run.onload("b", datagrams(5, "b", "a", n=1), "c")
    run.await_rules("b>c")
    run.offloaded("b", datagrams(5, "b", "a"), "c")
    run.onload("a", datagrams(3)[0], "bb")
    run.await_rules("b>c", "a>b,b")
    for frame in datagrams(3):  # Open vSwitch outputs a burst, and then once more; the fast path frame by frame
        run.offloaded("a", frame, "bb")
    run.drops = ["rule"]


def groups(run):
    """All buckets: offloaded, each frame as its bucket makes it. One bucket by a hash: that takes recirculation."""
    run.bridge("abcd")
    run.ofctl("add-groups", "-", text=f"""\
group_id=1,type=all,bucket=output:2,bucket=mod_dl_dst:{mac_text('x')},output:3,bucket=push_vlan:0x8100,set_field:4103->vlan_vid,output:4
group_id=2,type=select,bucket=weight:1,output:2,bucket=weight:1,output:3
group_id=3,type=indirect,bucket=mod_nw_dst:10.9.9.9,output:4
""")
    run.flows("""
        in_port=1,udp,tp_dst=1 actions=group:1
        in_port=1,udp,tp_dst=2 actions=group:2
        in_port=1,udp,tp_dst=3 actions=group:3""")
    run.onload("a", datagrams(1)[0], "bcd")
    run.onload("a", datagrams(3)[0], "d")
    run.await_rules("a>b,c,d", "a>d")
    for port in range(8):
        run.onload_anywhere("a", datagrams(2, port=port, n=1), "bc")
    run.await_rules("a>b,c,d", "a>d")
    run.offloaded("a", datagrams(1), "bcd")
    run.offloaded("a", datagrams(3), "d")
    run.more.append(lambda: sorted(re.sub(r"duration=[\d.]*s", "", line)
                                   for line in run.ofctl("dump-group-stats").splitlines() if "group_id" in line))


def meters(run):
    """A meter that everything passes, and one that no frame of this size can: onload, beside flows that are not."""
    run.bridge("ab")
    run.ofctl("add-meter", "meter=1,kbps,burst,band=type=drop,rate=1000000,burst_size=1000000")
    run.ofctl("add-meter", "meter=2,kbps,burst,band=type=drop,rate=1,burst_size=1")
    run.flows("""
        in_port=1,udp,tp_dst=1 actions=meter:1,output:2
        in_port=1,udp,tp_dst=2 actions=meter:2,output:2
        in_port=1,udp,tp_dst=3 actions=output:2""")
    large = [ethernet("b", "a", ipv4("10.0.0.1", "10.0.0.2", udp(1000, 2, bytes(1000 + i)))) for i in range(10)]
    run.onload("a", datagrams(3)[0], "b")
    for frame in datagrams(1):
        run.onload("a", frame, "b")
    for frame in large:
        run.onload("a", frame)
    run.await_rules("a>b")
    run.offloaded("a", datagrams(3), "b")
    run.more.append(lambda: re.sub(r"duration:\S*|xid=\S*", "", run.ofctl("meter-stats")))


def connections(run):
    """Connection tracking in two zones, with address translation in one of them: onload, beside flows that are not."""
    run.bridge("abcd", flows="""
        table=0,priority=9,in_port=1,udp,tp_dst=9 actions=output:4
        table=0,priority=5,in_port=1,tcp,tp_dst=80 actions=ct(table=1,zone=5)
        table=0,priority=5,in_port=2,tcp,tp_src=80 actions=ct(table=1,zone=5)
        table=0,priority=5,in_port=1,tcp,tp_dst=81 actions=ct(commit,zone=6,nat(src=192.0.2.1)),output:3
        table=0,priority=5,in_port=3,tcp,tp_src=81 actions=ct(table=2,zone=6,nat)
        table=1,priority=9,ct_state=+trk+inv actions=output:4
        table=1,priority=8,in_port=1,tcp,ct_state=+trk+new actions=ct(commit,zone=5,exec(set_field:7->ct_mark)),output:2
        table=1,priority=7,in_port=1,ct_state=+trk+est,ct_mark=7 actions=output:2
        table=1,priority=7,in_port=2,ct_state=+trk+est actions=output:1
        table=2,priority=9,ct_state=+trk+est actions=output:1
        table=2,priority=1 actions=drop""")
    run.onload("a", datagrams(9)[0], "d")
    run.await_rules("a>d")

    def forth(port, *words):
        return ethernet("b", "a", ipv4("10.0.0.1", "10.0.0.2", tcp(1000, port, *words)))

    def back(port, to, *words):
        return ethernet("a", "b", ipv4("10.0.0.2", to, tcp(port, 1000, *words)))
    broken = bytearray(forth(80, "A", 101, 201, b"hello"))
    broken[-4] ^= 1
    for sender, frame, receiver in [
            ("b", back(80, "10.0.0.1", "SA", 900, 800), "d"),  # of no connection
            ("a", forth(80, "S", 100, 0), "b"), ("b", back(80, "10.0.0.1", "SA", 200, 101), "a"),
            ("a", forth(80, "A", 101, 201), "b"), ("a", forth(80, "A", 101, 201, b"hello"), "b"),
            ("a", bytes(broken), "d"),
            ("b", back(80, "10.0.0.1", "A", 201, 106, b"answer"), "a"), ("b", back(80, "10.0.0.1", "FA", 207, 106), "a"),
            ("a", forth(81, "S", 100, 0), "c"), ("c", back(81, "192.0.2.1", "SA", 200, 101), "a"),
            ("a", forth(81, "A", 101, 201, b"hello"), "c"), ("c", back(81, "192.0.2.1", "A", 201, 106, b"odd"), "a"),
            ("c", back(81, "192.0.2.7", "SA", 1, 1), "")]:
        run.onload(sender, frame, receiver)
    run.has_wrong_checksums = True
    run.await_rules("a>d")
    run.offloaded("a", datagrams(9), "d")
    run.more.append(lambda: sorted(run.switch.appctl("dpctl/dump-conntrack", "netdev@ovs-netdev").splitlines()))


def controller(run):
    """A bridge with no flow of its own: all are made by a learning switch in os-ken."""
    run.bridge("abc", flows="")
    manager = run.side.scene.start(f"{run.side.name}-controller", [
        "osken-manager", "--ofp-listen-host", "127.0.0.1", "--ofp-tcp-listen-port", "6653",
        os.path.join(HERE, "learning_controller.py")])
    try:
        run.switch.vsctl("set-controller", "br0", "tcp:127.0.0.1:6653", "--", "set", "Controller", "br0",
                         "connection_mode=out-of-band", "inactivity_probe=0", "max_backoff=1000")
        wait_until(lambda: manager.poll() is not None or "CONTROLLER" in run.ofctl("dump-flows"), WAIT_SECONDS,
                   "the controller has added no flow")
        if manager.poll() is not None:
            raise Failure(f"os-ken ended with status {manager.returncode}")
        for sender, receiver, receivers in ("a", "b", "bc"), ("b", "a", "a"), ("a", "b", "b"):
            run.onload(sender, datagrams(1, sender, receiver)[0], receivers)
            run.forget_flows()
        # These came back from the controller. The next ones make flows for the datapath.
        run.onload("a", datagrams(1, "a", "b")[0], "b")
        run.onload("b", datagrams(1, "b", "a")[0], "a")
        run.await_rules("a>b", "b>a")
        run.offloaded("a", datagrams(1, "a", "b"), "b")
        run.offloaded("b", datagrams(1, "b", "a"), "a")
        run.forget_flows()
        run.onload("c", datagrams(1, "c", "a")[0], "a")
        run.forget_flows()
        run.onload("c", datagrams(1, "c", "a")[0], "a")
        run.await_rules("c>a")
        run.offloaded("c", datagrams(1, "c", "a"), "a")
    finally:
        manager.terminate()
        manager.wait()


def outer(source, to, frame, port=50000):
    """A VXLAN packet from or to the tunnel's end in Open vSwitch, which is bridge br1."""
    addresses = ("172.31.1.2", "172.31.1.1") if source == "d" else ("172.31.1.1", "172.31.1.2")
    return ethernet(to, source, ipv4(*addresses, udp(port, 4789, vxlan(77, frame), has_checksum=False), fragment=0x4000))


def tunnels(run):
    """VXLAN: what a sends leaves by another bridge, on which d is the wire. Into the tunnel is offloaded; out of it is not."""
    run.bridge("d", "br1", flows="""
        in_port=LOCAL actions=output:4
        in_port=4 actions=LOCAL""")
    run.bridge("ab", flows="""
        in_port=1,udp,tp_dst=1 actions=output:10
        in_port=10 actions=output:1
        in_port=1,udp,tp_dst=2 actions=output:2""")
    network.run("ip addr add 172.31.1.1/24 dev br1 && ip link set br1 up")
    run.switch.vsctl("add-port", "br0", "vx", "--", "set", "Interface", "vx", "type=vxlan", "options:remote_ip=172.31.1.2",
                     "options:key=77", "ofport_request=10")
    wait_until(lambda: "172.31.1.0/24" in run.switch.appctl("ovs/route/show"), WAIT_SECONDS, "no route")
    run.switch.appctl("tnl/arp/set", "br1", "172.31.1.2", mac_text("d"))
    run.onload("a", datagrams(1)[0], "d")
    run.onload("a", datagrams(2)[0], "b")
    run.await_rules("a>d", "a>b")
    run.offloaded("a", datagrams(1), "d")
    run.offloaded("a", datagrams(2), "b")
    for frame in datagrams(7, "b", "a"):
        run.onload("d", outer("d", "52:54:00:00:ff:01", frame), "a")
    run.await_rules("a>d", "a>b")
    # The outer UDP port is a hash of the inner packet. rte_flow does not say which, so the fast path has its own.
    def without_port(frame):
        is_outer = frame[36:38] == struct.pack("!H", 4789)
        if is_outer and not 32768 <= struct.unpack("!H", frame[34:36])[0] < 61001:
            raise Failure(f"the outer UDP port is not one that Open vSwitch would take: {frame.hex()}")
        return frame[:34] + bytes(2) + frame[36:] if is_outer else frame
    if len({frame[34:36] for frame in run.guests.received["d"][1:]}) != 1:
        raise Failure("frames of one flow have several outer UDP ports")
    run.normalise = without_port
    run.n_again = run.n_expected["d"] + run.n_expected["a"]  # both bridges count


if __name__ == "__main__":
    run_scenarios([drops_and_tables, groups, meters, connections, controller, tunnels])
