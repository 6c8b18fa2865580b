#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What depends on Open vSwitch noticing that a flow is used, though its packets pass elsewhere: idle timeouts, ageing of stations."""
import re
import time

from frames import ethernet, ipv4, udp
from harness import Failure, wait_until
from offload_lab import run_scenarios

IDLE_SECONDS = 2
AGEING_SECONDS = 15  # Open vSwitch takes no less


def datagram(to, source, port=2):
    return ethernet(to, source, ipv4("10.0.0.1", "10.0.0.2", udp(1, port, b"tick")))


def send_for(run, seconds, *sends):
    """Sends each of (sender, frame, receivers) ten times a second. That takes time by its nature; nothing is waited for."""
    for _ in range(seconds * 10):
        for sender, frame, receivers in sends:
            run.offloaded(sender, frame, receivers)
        time.sleep(0.1)


def idle_timeouts(run):
    """A flow lives while its packets pass the fast path, and goes when they stop; a sibling that is not used goes at once."""
    run.bridge("ab", flows=f"""
        idle_timeout={IDLE_SECONDS},udp,tp_dst=1 actions=output:2
        idle_timeout={IDLE_SECONDS},udp,tp_dst=2 actions=output:2""")
    run.onload("a", datagram("b", "a", 1), "b")
    run.onload("a", datagram("b", "a", 2), "b")
    run.await_rules("a>b", "a>b")
    send_for(run, 3 * IDLE_SECONDS, ("a", datagram("b", "a", 1), "b"))
    flows = run.flow_counters()
    if len(flows) != 1 or "tp_dst=1 " not in flows[0]:
        raise Failure(f"the flow that is used should be left, and there are {flows}")
    last = time.monotonic()
    run.offloaded("a", datagram("b", "a", 1), "b")
    run.n_gone = 1
    run.await_counted()
    wait_until(lambda: not run.flow_counters(), 3 * IDLE_SECONDS, "the flow outlives its timeout")
    if time.monotonic() - last < IDLE_SECONDS - 0.1:  # Open vSwitch's clock has a coarse tick
        raise Failure(f"the flow ended {time.monotonic() - last:.1f} s after its last frame")
    run.await_rules()
    # Gone means gone: what comes now finds nothing.
    run.onload("a", datagram("b", "a", 1))
    run.n_gone = sum(run.n_sent.values())


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
