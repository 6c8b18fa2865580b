#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules that change frames: the fast path's frames are those that Open vSwitch makes, to the last bit of their checksums."""
import struct

from frames import checksum, ethernet, icmp6_echo, icmp_echo, ipv4, ipv6, mac_text, pseudo_header, tag, tcp, udp
from offload_lab import run_scenarios

ADDRESS = {"a": "10.0.0.1", "b": "10.0.0.2", "x": "192.0.2.99"}
ADDRESS6 = {"a": "fd00::1", "b": "fd00::2", "x": "2001:db8::99"}
# Even, odd, long, and what a sum of ones' complements finds hard.
PAYLOADS = [b"", b"x", bytes(range(200)), b"\xff" * 64, b"\0" * 63, bytes(range(256)) * 5]


def frame4(part, **options):
    return ethernet("b", "a", ipv4(ADDRESS["a"], ADDRESS["b"], part, **options))


def frame6(part, **options):
    return ethernet("b", "a", ipv6(ADDRESS6["a"], ADDRESS6["b"], part, **options))


def rewrite(run, rules):
    """'rules': (match, actions, its frames), all from a to b. Every rule is to be offloaded."""
    run.bridge("ab", flows="\n".join(f"priority={index + 1},in_port=1,{match} actions={actions}"
                                     for index, (match, actions, _) in enumerate(rules)))
    for _, _, frames in rules:
        run.onload("a", frames[0], "b")
    run.await_rules(*["a>b"] * len(rules))
    for _, _, frames in rules:
        run.offloaded("a", frames, "b")


def datagrams(to, frame=frame4, **options):
    return [frame(udp(1000, to, payload), **options) for payload in PAYLOADS]


def segments(to, frame=frame4):
    return [frame(tcp(1000, to, "A", sequence, 77, payload)) for sequence, payload in enumerate(PAYLOADS)]


def addresses_and_ports(run):
    rewrite(run, [
        ("udp,tp_dst=1", f"mod_dl_src:{mac_text('x')},mod_dl_dst:{mac_text('y')},output:2", datagrams(1)),
        ("udp,tp_dst=2", f"mod_nw_src:{ADDRESS['x']},output:2", datagrams(2)),
        ("udp,tp_dst=3", f"mod_nw_dst:{ADDRESS['x']},output:2", datagrams(3)),
        ("tcp,tp_dst=4", f"mod_nw_src:{ADDRESS['x']},mod_nw_dst:198.51.100.7,output:2", segments(4)),
        ("udp,tp_dst=5", "mod_tp_src:4321,output:2", datagrams(5)),
        ("udp,tp_dst=6", "mod_tp_src:4321,mod_tp_dst:53,output:2", datagrams(6)),
        ("udp,tp_dst=11", "set_field:0x99/0xff->udp_dst,output:2", datagrams(11)),
        ("tcp,tp_dst=7", "mod_tp_src:4321,mod_tp_dst:80,output:2", segments(7)),
        ("udp,tp_dst=8", "dec_ttl,output:2", datagrams(8)),
        # What a router does, and what a NAT gateway does.
        ("tcp,tp_dst=9", f"mod_dl_src:{mac_text('r')},mod_dl_dst:{mac_text('s')},dec_ttl,output:2", segments(9)),
        ("tcp,tp_dst=10", f"mod_dl_dst:{mac_text('s')},mod_nw_dst:{ADDRESS['x']},mod_tp_dst:8080,dec_ttl,output:2",
         segments(10)),
        ("icmp", f"mod_nw_src:{ADDRESS['x']},dec_ttl,output:2", [frame4(icmp_echo(1, n, PAYLOADS[n])) for n in range(5)]),
    ])


def addresses_and_ports_of_ipv6(run):
    rewrite(run, [
        ("udp6,tp_dst=1", f"set_field:{ADDRESS6['x']}->ipv6_src,output:2", datagrams(1, frame6)),
        ("tcp6,tp_dst=2", f"set_field:{ADDRESS6['x']}->ipv6_dst,output:2", segments(2, frame6)),
        ("tcp6,tp_dst=3", f"set_field:{ADDRESS6['x']}->ipv6_src,set_field:fd99::3->ipv6_dst,output:2", segments(3, frame6)),
        ("udp6,tp_dst=4", "mod_tp_src:4321,mod_tp_dst:53,output:2", datagrams(4, frame6)),
        ("tcp6,tp_dst=5", "mod_tp_dst:80,output:2", segments(5, frame6)),
        ("udp6,tp_dst=6", f"mod_dl_dst:{mac_text('s')},dec_ttl,output:2", datagrams(6, frame6)),
        ("icmp6", f"set_field:{ADDRESS6['x']}->ipv6_src,dec_ttl,output:2",
         [frame6(icmp6_echo(1, n, PAYLOADS[n])) for n in range(5)]),
    ])


def tagged(to, *vlan_tags):
    return [ethernet("b", "a", ipv4(ADDRESS["a"], ADDRESS["b"], udp(1000, to, payload)), *vlan_tags) for payload in PAYLOADS]


def tags(run):
    rewrite(run, [
        ("vlan_tci=0,udp,tp_dst=1", "push_vlan:0x8100,set_field:4103->vlan_vid,output:2", datagrams(1)),
        ("vlan_tci=0,udp,tp_dst=2", "push_vlan:0x8100,set_field:4103->vlan_vid,set_field:5->vlan_pcp,output:2", datagrams(2)),
        ("vlan_tci=0,udp,tp_dst=3", "mod_vlan_vid:9,output:2", datagrams(3)),
        ("dl_vlan=20,udp,tp_dst=4", "strip_vlan,output:2", tagged(4, tag(20))),
        ("dl_vlan=20,udp,tp_dst=5", "mod_vlan_vid:21,output:2", tagged(5, tag(20, 3))),
        ("dl_vlan=20,udp,tp_dst=6", "mod_vlan_pcp:6,output:2", tagged(6, tag(20, 3))),
        ("dl_vlan=20,udp,tp_dst=7", f"strip_vlan,mod_nw_dst:{ADDRESS['x']},dec_ttl,output:2", tagged(7, tag(20))),
        ("dl_vlan=20,udp,tp_dst=8", f"mod_nw_dst:{ADDRESS['x']},mod_tp_dst:99,output:2", tagged(8, tag(20, 1))),
        ("dl_vlan=31", "push_vlan:0x88a8,set_field:4103->vlan_vid,output:2", tagged(9, tag(31))),
        # Of two tags Open vSwitch looks at the outer one, and at the kind of the second.
        ("dl_vlan=30", "strip_vlan,output:2", tagged(9, tag(30), tag(32))),
        ("dl_vlan=33", "mod_vlan_vid:34,output:2", tagged(9, tag(33, tpid=0x88a8), tag(32))),
        ("dl_vlan=35", "strip_vlan,output:2", tagged(9, tag(35, tpid=0x88a8), tag(32, 2, tpid=0x88a8))),
    ])


def sum_to_zero(frame_of):
    """Of the frames that frame_of(word) makes, the one whose covered bytes, as a rule leaves them, add up to all ones."""
    return frame_of(checksum(frame_of(0)[1]))[0]


def sums_that_are_zero(run):
    """Ones' complement has two zeroes, and a UDP checksum of zero means that there is none."""
    def datagram(word):
        payload = struct.pack("!H", word)
        left = pseudo_header(bytes((192, 0, 2, 99)), bytes((10, 0, 0, 2)), 17, 10) + struct.pack("!HHHH", 1000, 1, 10, 0)
        return frame4(udp(1000, 1, payload)), left + payload

    def segment(word):
        part = tcp(1000, 2, "A", 1, 0, struct.pack("!H", word))
        return frame4(part), pseudo_header(bytes((192, 0, 2, 99)), bytes((10, 0, 0, 2)), 6, len(part[1])) + part[1]

    def packet(word):
        frame = frame4(udp(1000, 3, b"!"), identifier=word)
        return frame, frame[14:22] + b"\x3f" + frame[23:24] + b"\0\0" + frame[26:34]

    def datagram6(word):
        payload = struct.pack("!H", word)
        left = pseudo_header(bytes(15) + b"\1", bytes.fromhex("fd000000000000000000000000000002"), 17, 10)
        return frame6(udp(1000, 5, payload)), left + struct.pack("!HHHH", 1000, 5, 10, 0) + payload
    none = [frame4(udp(1000, 4, payload, has_checksum=False)) for payload in PAYLOADS]
    rewrite(run, [
        ("udp,tp_dst=1", f"mod_nw_src:{ADDRESS['x']},output:2", [datagrams(1)[0], sum_to_zero(datagram)]),
        ("tcp,tp_dst=2", f"mod_nw_src:{ADDRESS['x']},output:2", [segments(2)[0], sum_to_zero(segment)]),
        ("udp,tp_dst=3", "dec_ttl,output:2", [datagrams(3)[0], sum_to_zero(packet)]),
        ("udp,tp_dst=4", f"mod_nw_src:{ADDRESS['x']},mod_tp_src:7,output:2", none),
        ("udp6,tp_dst=5", "set_field:::1->ipv6_src,output:2", [datagrams(5, frame6)[0], sum_to_zero(datagram6)]),
    ])


def several_outputs(run):
    """Each output has the frame as it is by then."""
    run.bridge("abcd", flows=f"""
        in_port=1,udp,tp_dst=1 actions=output:2,mod_dl_dst:{mac_text('s')},output:3,dec_ttl,output:4
        in_port=1,udp,tp_dst=2 actions=output:2,push_vlan:0x8100,set_field:4103->vlan_vid,output:3,strip_vlan,output:4
        in_port=1,tcp,tp_dst=3 actions=mod_nw_dst:{ADDRESS['x']},output:2,mod_nw_dst:198.51.100.7,mod_tp_dst:5,output:3
        in_port=1,udp,tp_dst=4 actions=output:2,in_port""")
    vectors = [(datagrams(1), "bcd"), (datagrams(2), "bcd"), (segments(3), "bc"), (datagrams(4), "ab")]
    for frames, receivers in vectors:
        run.onload("a", frames[0], receivers)
    run.await_rules("a>b,c,d", "a>b,c,d", "a>b,c", "a>a,b")
    for frames, receivers in vectors:
        run.offloaded("a", frames, receivers)


def what_only_open_vswitch_can_do(run):
    """Rewriting that stays onload: of parts of a field, and TTLs that run out."""
    run.bridge("ab", flows="""
        in_port=1,udp,tp_dst=1 actions=mod_nw_tos:184,output:2
        in_port=1,udp,tp_dst=2 actions=set_field:0.0.0.99/0.0.0.255->ip_src,output:2
        in_port=1,udp,tp_dst=4 actions=dec_ttl,output:2""")
    for to in 1, 2:
        for frame in datagrams(to):
            run.onload("a", frame, "b")
    run.onload("a", datagrams(4, ttl=1))
    run.await_rules()


if __name__ == "__main__":
    run_scenarios([addresses_and_ports, addresses_and_ports_of_ipv6, tags, sums_that_are_zero, several_outputs,
                   what_only_open_vswitch_can_do])
