#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What depends on Open vSwitch noticing that a flow is used, though its packets pass elsewhere: idle timeouts, ageing of stations."""
import os
import re
import time

from frames import ethernet, ipv4, udp
from harness import Failure, wait_until
from offload_lab import WAIT_SECONDS, run_scenarios

IDLE_SECONDS = 3
AGEING_SECONDS = 15  # Open vSwitch takes no less


def datagram(to, source, port=2):
    return ethernet(to, source, ipv4("10.0.0.1", "10.0.0.2", udp(1, port, b"tick")))


def send_for(run, seconds, *sends):
    """Sends each of (sender, frame, receivers) ten times a second. That takes time by its nature; nothing is waited for."""
    for _ in range(seconds * 10):
        for sender, frame, receivers in sends:
            run.offloaded(sender, frame, receivers)
        time.sleep(0.1)


def listen_for_ends(run):
    """Returns the file to which all is written that Open vSwitch tells of flows that end."""
    log = run.side.scene.log(f"{run.side.name}-monitor")
    run.side.scene.start(f"{run.side.name}-monitor", ["ovs-ofctl", "-OOpenFlow15", "monitor", run.switch.management("br0"), "64",
                                                      "watch:"], run.switch.environment)
    wait_until(lambda: os.path.getsize(log), WAIT_SECONDS, "nobody listens")  # it writes down that there is no flow yet
    return log


def ended(log):
    """The flows that ended: their UDP port, and why, and the packets and bytes they had counted."""
    with open(log, encoding="utf-8") as file:
        return [(int(flow), reason, int(packets), int(size)) for flow, reason, packets, size in re.findall(
            r"FLOW_REMOVED.*tp_dst=(\d+) reason=(\w+) .*pkts(\d+) bytes(\d+)", file.read())]


def idle_timeouts(run):
    """A flow lives while its packets pass the fast path, and ends, with all of them counted, when they stop; its sibling that
    is not used ends meanwhile."""
    run.bridge("ab", flows="")
    log = listen_for_ends(run)
    run.flows(f"""
        send_flow_rem,idle_timeout={IDLE_SECONDS},udp,tp_dst=1 actions=output:2
        send_flow_rem,idle_timeout={IDLE_SECONDS},udp,tp_dst=2 actions=output:2
        priority=0 actions=drop""")
    run.onload("a", datagram("b", "a", 1), "b")
    run.onload("a", datagram("b", "a", 2), "b")
    run.await_rules("a>b", "a>b")
    send_for(run, 3 * IDLE_SECONDS, ("a", datagram("b", "a", 1), "b"))
    if ended(log) != [(2, "idle", 1, 60)]:
        raise Failure(f"the flow that is not used should have ended, and none else; there ended {ended(log)}")
    last = time.monotonic()
    run.offloaded("a", datagram("b", "a", 1), "b")
    wait_until(lambda: len(ended(log)) == 2, WAIT_SECONDS, "the flow outlives its timeout")
    if time.monotonic() - last < IDLE_SECONDS - 0.1:  # Open vSwitch's clock has a coarse tick
        raise Failure(f"the flow ended {time.monotonic() - last:.1f} s after its last frame")
    n_sent = run.n_sent["a"] - 1
    if ended(log)[1] != (1, "idle", n_sent, 60 * n_sent):
        raise Failure(f"the flow forwarded {n_sent} frames, and ended as {ended(log)[1]}")
    # Gone means gone: what comes now is dropped, and that is offloaded.
    run.await_rules("a>drop", "a>drop")
    run.offloaded("a", datagram("b", "a", 1))
    run.drops = ["rule"]
    run.n_gone = n_sent + 1  # counted by flows that are gone


def stations_age(run):
    """A station that is heard past Open vSwitch stays known. One that is silent is forgotten, and frames to it flooded."""
    run.bridge("abcd", flows="actions=NORMAL", settings=[f"other_config:mac-aging-time={AGEING_SECONDS}"])
    run.onload("a", datagram("x", "a"), "bcd")
    run.onload("b", datagram("a", "b"), "a")
    run.onload("c", datagram("a", "c"), "a")
    run.onload("a", datagram("b", "a"), "b")
    run.await_rules("a>b", "b>a", "c>a")
    send_for(run, AGEING_SECONDS + 1, ("b", datagram("a", "b"), "a"), ("a", datagram("b", "a"), "b"))
    run.await_counted()

    def stations():
        return re.findall(r"52:54:00:00:00:(\d\d)", run.switch.appctl("fdb/show", "br0"))
    wait_until(lambda: sorted(stations()) == ["61", "62"], AGEING_SECONDS, f"known are {stations()}, instead of a and b")
    run.offloaded("a", datagram("b", "a"), "b")
    run.onload("a", datagram("c", "a"), "bcd")


if __name__ == "__main__":
    run_scenarios([idle_timeouts, stations_age])
