#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A TCP stream between two machines on a switch survives that its rules move to the fast path and back, and does not notice."""
import json
import re

from managed_guests import Guest, run_node_cases, slice_of_machines  # and where to find the following
from harness import Failure, wait_until
from managed_node import RUN
from network import run

MOVES = 20
STREAM_SECONDS = 12
MOVE_SECONDS_MAX = 20
BUSY_PACKETS = 200  # by which the stream's rules are told from others


# What the guests' TCP sent again, and why. A loss probe goes out when an acknowledgement is late, as when the guest's own CPU was
# taken away; that it was needless the receiver says by a duplicate's acknowledgement.
COUNTERS = ("RetransSegs", "TCPLossProbes", "TCPFastRetrans", "TCPTimeouts", "TCPDSACKRecv")


def counters_of(*guests):
    tcp = [guest.tcp() for guest in guests]
    return {name: sum(counters[name] for counters in tcp) for name in COUNTERS}


def stream(server, client, meanwhile=lambda running: None):
    """TCP from the client to the server for a while; returns what the guests have counted, and the rate in bit/s."""
    before = counters_of(server, client)
    iperf = client.begin("iperf3", "-J", "-c", "10.7.0.2", "-t", str(STREAM_SECONDS))
    meanwhile(iperf)
    printed, errors = iperf.communicate(timeout=STREAM_SECONDS + 120)
    report = json.loads(printed) if printed else {"error": errors}
    if "error" in report:
        raise Failure(f"iperf3: {report['error']}")
    if any(not interval["sum"]["bytes"] for interval in report["intervals"]):
        raise Failure(f"the stream stood still for a second: {[i['sum']['bytes'] for i in report['intervals']]}")
    after = counters_of(server, client)
    return {name: after[name] - before[name] for name in COUNTERS}, report["end"]["sum_received"]["bits_per_second"]


def vswitch_drops():
    """Packets that Open vSwitch's ports of the fast path have dropped, and failed to send, as of now: not the bridge's own, which is down."""
    ports = run(f"ovs-appctl -t {RUN}/vswitchd.ctl dpctl/show --statistics").split("\n  port ")[1:]
    ports = [port for port in ports if "(dpdk" in port.partition("\n")[0]]
    if not ports:
        raise Failure("Open vSwitch has no ports of the fast path")
    return [int(number) for port in ports for number in re.findall(r"(?:errors|dropped):(\d+)", port)]


class Mover:
    """Moves the slice's rules to and fro while a stream runs."""

    def __init__(self, node):
        self.node = node

    def busy(self):
        """The stream's rules."""
        return [flow for flow in self.node.json("flows", "--slice", "vms")
                if flow["packets"] + flow["onload_packets"] > BUSY_PACKETS]

    def await_state(self, offloaded):
        def there():
            busy = self.busy()
            return busy and all((flow["state"] == "offloaded") == offloaded for flow in busy)
        wait_until(there, MOVE_SECONDS_MAX, lambda: f"the rules do not move: {self.busy()}")

    def __call__(self, iperf):
        self.await_state(False)
        for number in range(MOVES):
            offloaded = number % 2 == 0
            self.node.vnode("offload", "on" if offloaded else "off", "--slice", "vms")
            self.await_state(offloaded)
        if iperf.poll() is not None:
            raise Failure(f"the stream ended before {MOVES} moves were done")


def streams_survive_moves(scene, node):
    node.start()
    node.deploy(slice_of_machines(2, "offload: {mode: off}\n"))
    client, server = Guest(node, "vms:a"), Guest(node, "vms:b")
    client.reach("10.7.0.2")
    server.run("iperf3", "-s", "-D")
    still, still_rate = stream(server, client)
    before, dropped, lost_before = node.json("moves"), node.json("drops"), vswitch_drops()
    moved, moved_rate = stream(server, client, Mover(node))
    moves = {key: node.json("moves")[key] - before[key] for key in ("done", "back", "deadline")}
    print(f"# {STREAM_SECONDS} s of TCP: {still_rate / 1e6:.0f} Mbit/s without moves: {still}")
    print(f"# and {moved_rate / 1e6:.0f} Mbit/s with {MOVES} moves: {moved}; the fast path counted {moves}")
    if moves["done"] < MOVES // 2 or moves["back"] < MOVES // 2:
        raise Failure(f"the rules were to move {MOVES} times; the fast path counted {moves}")
    if node.json("drops") != dropped:
        raise Failure(f"the fast path has dropped packets: {dropped} became {node.json('drops')}")
    if vswitch_drops() != lost_before:
        raise Failure(f"Open vSwitch has dropped packets: {lost_before} became {vswitch_drops()}")
    # What nobody has lost, and was sent again nevertheless, was sent again needlessly: an emulated CPU was away. What overtakes others is asked for again.
    if moved["TCPFastRetrans"] > still["TCPFastRetrans"]:
        raise Failure(f"segments were overtaken: with moves {moved}, without {still}")
    node.vnode("destroy", "vms")
    node.check_nothing_left()


if __name__ == "__main__":
    run_node_cases([streams_survive_moves])
