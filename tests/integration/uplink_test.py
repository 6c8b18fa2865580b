#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Uplinks: kernels on both sides of the fast path, through every driver that needs no hardware."""
import threading

from fast_path import FastPath
from harness import Failure, run_cases, wait_until
from network import Here, Namespace, private_network
from uplinks import Pair, add, port, private_pair


@private_pair()
def tap_to_af_packet(pair):
    pair.here.ping(pair.there)
    pair.there.ping(pair.here, size=1472)
    for sender, receiver in (pair.here, pair.there), (pair.there, pair.here):
        if sender.iperf(receiver) < 1000000:
            raise Failure("less than a megabyte in a second")


@private_network
def jumbo_frames(scene):
    fast_path = FastPath(scene).start()
    sides = [Namespace(scene, f"up{i}", f"10.1.0.{i + 1}", mtu=9000) for i in range(2)]
    for i in range(2):
        add(fast_path, f"veth{i}",
            f"net_af_packet{i},iface=up{i},blocksz=65536,framesz=16384,framecnt=256")
    if port(fast_path, "veth0")["mtu"] != 9000:
        raise Failure(f"the port's MTU is not 9000: {port(fast_path, 'veth0')}")
    fast_path.join("veth0", "veth1")
    sides[0].wait_ping(sides[1])
    sides[0].ping(sides[1], size=8972)
    sides[1].ping(sides[0], size=8972)
    sides[0].iperf(sides[1])
    fast_path.stop()


@private_network
def af_xdp(scene):
    fast_path = FastPath(scene).start()
    sides = [Namespace(scene, f"up{i}", f"10.1.0.{i + 1}") for i in range(2)]
    for i in range(2):
        add(fast_path, f"veth{i}", f"net_af_xdp{i},iface=up{i}")
    fast_path.join("veth0", "veth1")
    sides[0].wait_ping(sides[1])
    sides[0].ping(sides[1], size=1472)
    sides[0].ping(sides[1], size=8000)  # in fragments; af_packet would join them, whatever the MTU
    sides[0].iperf(sides[1])
    # It is killed: libxdp keeps 80 bytes of each port for good, which a leak check would tell.


@private_network
def memif_between_uplinks(scene):
    """tap - fast path - memif - fast path - af_packet: frames go from uplink to uplink without a copy of ours."""
    pair = Pair(scene)
    socket = scene.path("memif")
    add(pair.fast_path, "m0", f"net_memif0,role=server,id=0,socket-abstract=no,socket={socket}")
    add(pair.fast_path, "m1", f"net_memif1,role=client,id=0,socket-abstract=no,socket={socket}")
    wait_until(lambda: port(pair.fast_path, "m0")["up"], 20, "memif does not connect")
    pair.fast_path.vnode("rule", "del", "--all")
    pair.fast_path.join("tap", "m0")
    pair.fast_path.join("m1", "veth")
    pair.here.wait_ping(pair.there)
    pair.here.ping(pair.there, size=1472)
    # It is killed: the driver frees its listener while DPDK's interrupt thread still knows it (22.11).


@private_pair()
def several_queues(pair):
    """A tap with four queues, of which the kernel uses one for each flow."""
    add(pair.fast_path, "wide", "net_tap1,iface=tap1", "queues=4")
    side = Namespace(pair.scene, "up1", "10.2.0.2")
    add(pair.fast_path, "veth1", "net_af_packet1,iface=up1,qpairs=2", "queues=2")
    here = Here(pair.scene)
    here.set_up("tap1", "10.2.0.1")
    pair.fast_path.join("wide", "veth1")
    here.wait_ping(side)
    for stream in range(8):
        here.run(f"busybox ping -q -c 2 -i 0.05 -W 3 -s {100 + stream} 10.2.0.2")
    here.iperf(side)


@private_network
def ports_come_and_go_under_traffic(scene):
    """Adding and removing ports loses nothing on the others; and nothing is left of them in the end."""
    pair = Pair(scene)
    pair.here.wait_ping(pair.there)
    result = []
    pinging = threading.Thread(target=lambda: result.append(pair.here.run(
        f"busybox ping -q -c 200 -i 0.02 -W 3 {pair.there.address}", check=False)))
    pinging.start()
    for _ in range(4):
        for device in "net_tap7,iface=tap7", "net_null0", "net_ring0":
            add(pair.fast_path, "guest", device)
            pair.fast_path.vnode("rule", "add", "in=guest", "actions=output:tap")
            pair.fast_path.vnode("port", "del", "guest")
    pinging.join()
    if "200 packets received" not in result[0]:
        raise Failure(result[0])
    if port(pair.fast_path, "guest"):
        raise Failure("a port that was removed is still there")
    pair.here.run("! ip link show tap7 2>/dev/null")
    pair.fast_path.stop()
    pair.here.run("! ip link show tap0 2>/dev/null")


@private_pair()
def link_and_mistakes_are_told(pair):
    pair.here.run("ip link set up0 down")
    wait_until(lambda: not port(pair.fast_path, "veth")["up"], 5, "the link is not reported down")
    pair.here.run("ip link set up0 up")
    wait_until(lambda: port(pair.fast_path, "veth")["up"], 5, "the link is not reported up")
    for device, word in (("net_tap0,iface=tap0", "another port"), ("net_nonsense", "net_nonsense"),
                         ("net_af_packet5,iface=none", "none"), ("0000:ff:1f.7", "0000:ff:1f.7")):
        try:
            add(pair.fast_path, "wrong", device)
        except Failure as failure:
            if word not in str(failure):
                raise
        else:
            raise Failure(f"{device} was accepted")
    pair.here.wait_ping(pair.there)


@private_pair()
def rates_are_limited(pair):
    """The kernel behind the tap loses what the tap's queue does not hold, and TCP adapts to that."""
    most = 40000000 / 8
    pair.fast_path.vnode("port", "set", "tap", "rate=40Mbit")
    arrived = pair.here.iperf(pair.there)
    if not most * 0.6 < arrived < most * 1.1:
        raise Failure(f"{arrived} bytes came in within a second, and not {most}")
    if not pair.fast_path.query("port", "show", "tap")["stats"]["holds"]:
        raise Failure("the port was never held")
    pair.fast_path.vnode("port", "set", "tap", "rate=none", "rate_out=40Mbit")
    arrived = pair.there.iperf(pair.here)
    if not most * 0.3 < arrived < most * 1.4:  # a bucket of 200 ms; and TCP begins far too fast, and loses much at once
        raise Failure(f"{arrived} bytes went out within a second, and not {most}")
    if not pair.fast_path.query("port", "show", "tap")["stats"]["drops"]["tx-rate"]:
        raise Failure("nothing was dropped")


if __name__ == "__main__":
    run_cases([tap_to_af_packet, rates_are_limited, jumbo_frames, af_xdp, memif_between_uplinks, several_queues,
               ports_come_and_go_under_traffic, link_and_mistakes_are_told])
