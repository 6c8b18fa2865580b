#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Bridges that switch by themselves (NORMAL): learning, VLANs, broadcast and multicast, mirrors; and what is in the frames."""
import re

from frames import (BROADCAST, IGMP, arp_request, checksum, ethernet, icmp6_echo, ipv4, ipv4_fragments, ipv6,
                    ipv6_fragments, raw, tag, tcp, udp)
from harness import wait_until
from offload_lab import WAIT_SECONDS, run_scenarios

# Without LOCAL a flooded frame goes to ports of the fast path only, and may be offloaded.
NORMAL = "actions=NORMAL"


def datagrams(to, source, *tags, n=10):
    """From station to station."""
    return [ethernet(to, source, ipv4("10.0.0.1", "10.0.0.2", udp(1, 2, bytes(i * 7))), *tags) for i in range(n)]


def spare_local(run, bridge="br0"):
    run.ofctl("mod-port", bridge, "no-flood", "-OOpenFlow10", bridge=bridge)  # later versions have no such flag


def stations_are_learned(run):
    run.bridge("abcd", flows=NORMAL)
    run.onload("a", datagrams("b", "a", n=1), "bcd")  # b is unknown, and LOCAL is no port of the fast path
    run.await_rules()
    run.onload("b", datagrams("a", "b", n=1), "a")
    run.await_rules("a>b", "b>a")
    run.offloaded("a", datagrams("b", "a"), "b")
    run.offloaded("b", datagrams("a", "b"), "a")
    # Station a moves to where c is.
    run.forget_flows()
    run.onload("c", datagrams("b", "a", n=1), "b")
    run.onload("b", datagrams("a", "b", n=1), "c")
    run.await_rules("b>c", "c>b")
    run.offloaded("b", datagrams("a", "b"), "c")
    run.offloaded("c", datagrams("b", "a"), "b")
    # Forgetting them all, as the spanning tree does when it changes: what is flooded to LOCAL, too, is not offloaded any more.
    run.forget_flows()
    run.switch.appctl("fdb/flush", "br0")
    run.await_rules()
    run.onload("a", datagrams("b", "a", n=1), "bcd")
    run.more.append(lambda: run.switch.appctl("fdb/stats-show", "br0"))


def floods(run):
    run.bridge("abcd", flows=NORMAL)
    spare_local(run)
    vectors = [("a", datagrams(to, "a"), "bcd") for to in ("x", "01:00:5e:01:02:03", "33:33:00:00:00:01")]
    vectors.append(("b", datagrams(BROADCAST, "b"), "acd"))
    # To the addresses of the spanning tree nothing is sent on.
    vectors.append(("c", datagrams("01:80:c2:00:00:00", "c"), ""))
    for sender, frames, receivers in vectors:
        run.onload(sender, frames[0], receivers)
    run.await_rules("a>b,c,d", "a>b,c,d", "a>b,c,d", "b>a,c,d", "c>drop")
    for sender, frames, receivers in vectors:
        run.offloaded(sender, frames, receivers)
    # Of ARP Open vSwitch looks at the addresses inside, and does not try to offload that.
    for i in range(10):
        run.onload("b", ethernet(BROADCAST, "b", arp_request("b", "10.0.0.2", f"10.0.0.{i}")), "acd")
    run.drops = ["rule"]


def groups_of_receivers(run):
    """IGMP snooping: c joins a group, and only c receives what is sent there."""
    run.bridge("abcd", flows=NORMAL, settings=["mcast_snooping_enable=true",
                                               "other_config:mcast-snooping-disable-flood-unregistered=true"])
    spare_local(run)
    frames = [ethernet("01:00:5e:01:01:01", "a", ipv4("10.0.0.1", "239.1.1.1", udp(1, 2, bytes(i)), ttl=1)) for i in range(10)]
    body = b"\x16\0\0\0\xef\x01\x01\x01"
    report = body[:2] + checksum(body).to_bytes(2, "big") + body[4:]
    run.onload("a", frames[0])
    run.await_rules("a>drop")
    run.offloaded("a", frames)
    run.forget_flows()
    run.onload("c", ethernet("01:00:5e:01:01:01", "c", ipv4("10.0.0.3", "239.1.1.1", raw(IGMP, report), ttl=1)))
    wait_until(lambda: "239.1.1.1" in run.switch.appctl("mdb/show", "br0"), WAIT_SECONDS, "the report was not heard")
    run.onload("a", frames[0], "c")
    run.await_rules("a>c")
    run.offloaded("a", frames, "c")
    run.drops = ["rule"]
    run.more.append(lambda: re.sub(r"\d+\n", "\n", run.switch.appctl("mdb/show", "br0")))  # without the age


def access_and_trunk_ports(run):
    run.bridge("abcd", flows=NORMAL, port={"a": ["tag=10"], "b": ["tag=10"], "c": ["trunks=10,20"], "d": ["tag=20"]})
    spare_local(run)
    vectors = [
        ("a", datagrams(BROADCAST, "a"), "bc"),
        ("b", datagrams("a", "b"), "a"),
        ("c", datagrams("a", "c", tag(10, 3)), "a"),
        ("c", datagrams(BROADCAST, "c", tag(20)), "d"),
        ("d", datagrams("c", "d"), "c"),
        ("a", datagrams("b", "a", tag(0, 5)), "b"),
        ("c", datagrams("a", "c", tag(30)), ""),
        ("c", datagrams("a", "c"), ""),
        ("a", datagrams("b", "a", tag(10)), ""),
    ]
    for sender, frames, receivers in vectors:
        run.onload(sender, frames[0], receivers)
    run.await_rules("a>b,c", "b>a", "c>a", "c>d", "d>c", "a>b", "c>drop", "c>drop", "a>drop")
    for sender, frames, receivers in vectors:
        run.offloaded(sender, frames, receivers)
    for frame in datagrams("d", "c", tag(20), tag(99)):  # the fast path does not match what kind a second tag is
        run.onload("c", frame, "d")
    run.drops = ["rule"]


def mirrors(run):
    """A mirror's copy is one more output: it is offloaded, and counted."""
    run.bridge("abcd", flows=NORMAL)
    spare_local(run)
    run.switch.vsctl("--", "--id=@d", "get", "Port", "d", "--", "--id=@m", "create", "Mirror", "name=m", "select-all=true",
                     "output-port=@d", "--", "set", "Bridge", "br0", "mirrors=@m")
    run.onload("a", datagrams("b", "a", n=1), "bcd")
    run.onload("b", datagrams("a", "b", n=1), "ad")
    run.await_rules("a>b,d", "b>a,d")
    run.offloaded("a", datagrams("b", "a"), "bd")
    run.offloaded("b", datagrams("a", "b"), "ad")
    run.more.append(lambda: run.switch.vsctl("get", "Mirror", "m", "statistics"))


def six(run):
    """IPv6 by OpenFlow: by address, protocol, port. Open vSwitch does not try to offload what matches ICMPv6's fields."""
    def frames(part, to="fd00::2"):
        return [ethernet("b", "a", ipv6("fd00::1", to, part(bytes(i * 9)))) for i in range(10)]

    def solicitation(target):
        body = b"\x87" + bytes(7) + bytes.fromhex(target) + b"\1\1\x52\x54\0\0\0\x61"
        return ethernet("33:33:ff:00:00:02", "a", ipv6("fd00::1", "ff02::1:ff00:2", (58, body, 2, True), hops=255))
    run.bridge("abcd", flows="""
        priority=9,in_port=1,icmp6,icmp_type=135,nd_target=fd00::2 actions=output:3
        priority=8,in_port=1,icmp6,icmp_type=128 actions=output:2
        priority=7,in_port=1,tcp6,tp_dst=80 actions=output:3
        priority=6,in_port=1,udp6,ipv6_dst=fd00:1::/32 actions=output:4
        priority=5,in_port=1,ipv6 actions=drop""")
    vectors = [(frames(lambda data: tcp(1, 80, "A", 1, 1, data)), "c"),
               (frames(lambda data: udp(1, 53, data), "fd00:1::2"), "d"),
               (frames(lambda data: udp(1, 53, data)), "")]
    for _ in range(3):
        run.onload("a", solicitation("fd000000000000000000000000000002"), "c")
    for frame in frames(lambda data: icmp6_echo(1, 1, data)):
        run.onload("a", frame, "b")
    run.await_rules()
    for packets, receivers in vectors:
        run.onload("a", packets[0], receivers)
    run.await_rules("a>c", "a>d", "a>drop")
    for packets, receivers in vectors:
        run.offloaded("a", packets, receivers)
    run.drops = ["rule"]


def fragments(run):
    """As Open vSwitch sees them by default: a fragment has no ports, not even the first."""
    run.bridge("abcd", flows="""
        priority=9,in_port=1,udp,tp_dst=7 actions=output:2
        priority=8,in_port=1,ip,ip_frag=first actions=output:3
        priority=8,in_port=1,ip,ip_frag=later actions=output:4
        priority=9,in_port=1,udp6,tp_dst=7 actions=output:2
        priority=8,in_port=1,ipv6,ip_frag=first actions=output:3
        priority=8,in_port=1,ipv6,ip_frag=later actions=output:4""")
    part = udp(1, 7, bytes(range(250)) * 4)
    four = [ethernet("b", "a", packet) for packet in ipv4_fragments("10.0.0.1", "10.0.0.2", part, 400)]
    six_ = [ethernet("b", "a", packet) for packet in ipv6_fragments("fd00::1", "fd00::2", part, 400)]
    whole = [ethernet("b", "a", ipv4("10.0.0.1", "10.0.0.2", part)), ethernet("b", "a", ipv6("fd00::1", "fd00::2", part))]
    for frame in whole:
        run.onload("a", frame, "b")
    for first, later, _ in four, six_:
        run.onload("a", first, "c")
        run.onload("a", later, "d")
    run.await_rules("a>b", "a>b", "a>c", "a>c", "a>d", "a>d")
    for frame in whole:
        run.offloaded("a", [frame] * 5, "b")
    for first, later, last in four, six_:
        run.offloaded("a", first, "c")
        run.offloaded("a", [later, last], "d")


if __name__ == "__main__":
    run_scenarios([stations_are_learned, floods, groups_of_receivers, access_and_trunk_ports, mirrors, six, fragments])
