#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Misses go to the vSwitch and come back, whatever the vSwitch does in between."""
import json
import subprocess
import threading

import child
from harness import Failure, build_path, run_cases, wait_until
from uplinks import add, port, private_pair

PORTS = ["tap", "veth"]


class Peer:
    """A vSwitch that holds the representors of 'ports'; see vswitch_peer_main.c for the modes."""

    def __init__(self, pair, mode="hub", ports=PORTS):
        self.process = child.start(
            pair.scene, [build_path("tests/integration/vswitch_peer"), pair.fast_path.control, mode, *ports],
            stdin=subprocess.PIPE)
        self.ready = child.await_word(self.process, "ready\n")

    def finish(self):
        """Ends it; returns what it counted."""
        output, errors = self.process.communicate("", timeout=20)
        if self.process.returncode:
            raise Failure(f"vswitch_peer ended with status {self.process.returncode}: {output}{errors}")
        return json.loads(output)

    def kill(self):
        self.process.kill()
        self.process.communicate()


def new_peer(pair, mode="hub", ports=PORTS):
    """A peer, as soon as the fast path has noticed that the one before is gone, which nothing announces."""
    def attempt():
        peer = Peer(pair, mode, ports)
        if not peer.ready:
            peer.kill()
        return peer if peer.ready else None
    return wait_until(attempt, 10, "the representors are not given up")


def drops(pair, reason):
    """How many packets were dropped for 'reason', on all ports."""
    rows = pair.fast_path.query("drops")
    return sum(row["packets"] for row in rows if row["reason"] == reason)


@private_pair(rules=False)
def onload_traffic_passes(pair):
    peer = Peer(pair)
    pair.here.wait_ping(pair.there)
    pair.here.ping(pair.there, count=20)
    pair.there.ping(pair.here, size=1472)
    pair.here.iperf(pair.there)
    pair.there.iperf(pair.here)
    counts = peer.finish()
    # Where the cores are shared, the ring back may be full for a moment; TCP copes, and the account must be right.
    if (counts["received"] < 1000 or counts["received"] != counts["sent"] + counts["lost"]
            or counts["lost"] > counts["received"] / 100):
        raise Failure(f"the vSwitch counted {counts}")


@private_pair(rules=False)
def misses_without_vswitch_are_counted(pair):
    pair.here.run(f"! busybox ping -q -c 1 -W 1 {pair.there.address}")
    if not drops(pair, "no-rule"):
        raise Failure("nothing was dropped as no-rule")
    peer = Peer(pair)
    before = drops(pair, "no-rule")
    pair.here.wait_ping(pair.there)
    if drops(pair, "no-rule") != before:
        raise Failure("packets are dropped as no-rule in spite of the vSwitch")
    peer.finish()


@private_pair(rules=False)
def one_vswitch_at_a_time(pair):
    peer = Peer(pair)
    second = Peer(pair, "echo", ["veth"])
    errors = second.process.communicate()[1]
    if second.ready or "veth" not in errors or "another" not in errors:
        raise Failure(f"the second vSwitch was told: {errors}")
    pair.here.wait_ping(pair.there)
    peer.finish()


@private_pair(rules=False)
def killed_vswitch_is_replaced(pair):
    for _ in range(5):
        peer = new_peer(pair)
        pair.here.wait_ping(pair.there)
        traffic = threading.Thread(target=lambda: pair.here.run(
            f"busybox ping -q -c 30 -i 0.01 -W 1 {pair.there.address}", check=False))
        traffic.start()
        pair.here.ping(pair.there)
        peer.kill()
        traffic.join()
    new_peer(pair)
    pair.here.wait_ping(pair.there)
    pair.here.ping(pair.there)


@private_pair()
def scribbling_vswitch_harms_nobody(pair):
    """It writes rubbish into the rings while packets of other ports follow rules, and are all there."""
    for device in "net_null0", "net_null1":
        add(pair.fast_path, device, device + ",size=64")
    for _ in range(3):
        scribbler = Peer(pair, "scribble", ["net_null0", "net_null1", "tap", "veth"])
        if not scribbler.ready:
            raise Failure("the representors are not given up")
        pair.here.ping(pair.there, count=30)
        wait_until(lambda: drops(pair, "vswitch-ring-bad"), 10, "the rubbish was not noticed")
        scribbler.kill()
        new_peer(pair, "echo", ["net_null0"]).kill()
    pair.fast_path.vnode("rule", "del", "--all")
    new_peer(pair)
    pair.here.wait_ping(pair.there)


@private_pair(rules=False)
def port_is_removed_under_its_vswitch(pair):
    for _ in range(3):
        peer = new_peer(pair)
        pair.here.wait_ping(pair.there)
        pair.fast_path.vnode("port", "del", "veth")
        if port(pair.fast_path, "veth"):
            raise Failure("the port is still there")
        pair.here.run(f"busybox ping -q -c 3 -i 0.05 -W 1 {pair.there.address}", check=False)
        add(pair.fast_path, "veth", "net_af_packet0,iface=up0")
        peer.kill()
    new_peer(pair)
    pair.here.wait_ping(pair.there)


if __name__ == "__main__":
    run_cases([onload_traffic_passes, misses_without_vswitch_are_counted, one_vswitch_at_a_time,
               killed_vswitch_is_replaced, scribbling_vswitch_harms_nobody, port_is_removed_under_its_vswitch])
