#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Rules that change, and move, while frames flow through them as fast as they arrive: numbered frames, of which none may be
lost, doubled or out of order."""
from frames import ethernet, ipv4, udp
from harness import Failure, wait_until
from offload_lab import WAIT_SECONDS, run_scenarios

CHANGES = 20
TOGGLES = 20
FRAMES_BETWEEN = 2000  # at least, between one change and the next
FRAME = ethernet("b", "a", ipv4("10.0.0.1", "10.0.0.2", udp(1, 2, bytes(40), has_checksum=False)))
NUMBERED_SIZE = len(FRAME) + 16
FLOW = "in_port=1,udp"


def check_runs(sent, runs, receivers):
    """'runs': (first, last, guest), sorted. They have to be all numbers up to 'sent' once, at these receivers in turn."""
    expected = 0
    for first, last, _ in runs:
        if first != expected:
            raise Failure(f"after frame {expected - 1} comes {first}, in {runs}")
        expected = last + 1
    if expected != sent:
        raise Failure(f"{sent} frames were sent, {expected} arrived: {runs}")
    if [guest for _, _, guest in runs] != receivers:
        raise Failure(f"the frames should go to {receivers} in turn, and went as {runs}")


def openflow_counts(run, packets, size):
    return f"n_packets={packets}, n_bytes={size}," in run.flow_counters()[0]


def datapath_counts(run, packets, size):
    """But for the frame for which the flow was made."""
    flows = run.switch.appctl("dpctl/dump-flows", "netdev@ovs-netdev")
    return f"packets:{packets - 1}, bytes:{size - len(FRAME)}," in flows


def check_counters(run, sent, flow_counts):
    """The ports, and the flow by 'flow_counts' if there is such a function, count the whole stream and the frame before it."""
    packets, size = sent + 1, sent * NUMBERED_SIZE + len(FRAME)
    if flow_counts:
        wait_until(lambda: flow_counts(run, packets, size), WAIT_SECONDS,
                   f"there were {packets} frames, {size} bytes, and the flow counts something else")

    def ports_agree():
        counters = run.port_counters()
        sums = [sum(values) for values in zip(*(counters[name] for name in counters))]
        return sums == [packets, size, packets, size]
    wait_until(ports_agree, WAIT_SECONDS, lambda: f"there were {packets} frames, {size} bytes, and ports count {run.port_counters()}")


def output_changes(run):
    """From b to c and back: whatever has been sent when Open vSwitch's datapath has changed, nothing sent later goes the old way.

    What is compared is the datapath's count. See Run.forget_flows() for what Open vSwitch may make of it.
    """
    run.bridge("abc", flows=f"{FLOW} actions=output:2")
    run.onload("a", FRAME, "b")
    run.await_rules("a>b")
    run.start_stream("a", FRAME)
    receivers = ["b"]
    for change in range(CHANGES):
        run.guests.await_stream(FRAMES_BETWEEN)
        receivers.append("bc"[(change + 1) % 2])
        old, new = receivers[-2:]
        run.ofctl("mod-flows", f"{FLOW} actions=output:{'abc'.index(new) + 1}")
        run.await_rules(f"a>{new}")
        sent, _, _ = run.guests.report()
        run.guests.await_stream(FRAMES_BETWEEN)
        late = [last for _, last, guest in run.guests.report()[2] if guest == old and last >= sent]
        if late:
            raise Failure(f"when {sent} frames were sent all had to go to {new}, but {old} got frame {late}")
    sent, _, runs = run.guests.stop_stream()
    check_runs(sent, runs, receivers)
    check_counters(run, sent, datapath_counts)


def rewriting_changes(run):
    """The output stays, what is done to the frames changes: they all arrive, in order, whichever way they went.

    The ports count them all, the flow does not: when a rule that was offloaded becomes one that cannot be, Open vSwitch 3.1 forgets the
    rule's counters, and with them what it had not asked for yet, and what it forwards itself until it looks at the flow again.
    """
    run.bridge("ab", flows=f"{FLOW} actions=output:2")
    run.onload("a", FRAME, "b")
    run.await_rules("a>b")
    run.start_stream("a", FRAME)
    for change in range(CHANGES):
        run.guests.await_stream(FRAMES_BETWEEN)
        # Every other one of them stays onload.
        run.ofctl("mod-flows", f"{FLOW} actions=" + (f"mod_nw_tos:{4 * change + 4}," if change % 2 else "") + "output:2")
        run.await_rules(*["a>b"] * (1 - change % 2))
    sent, _, runs = run.guests.stop_stream()
    check_runs(sent, runs, ["b"])
    check_counters(run, sent, None)


def offload_off_and_on(run):
    """`vnode offload off` and `on`, under Open vSwitch's traffic."""
    run.bridge("ab", flows=f"{FLOW} actions=output:2")
    run.onload("a", FRAME, "b")
    run.await_rules("a>b")
    run.start_stream("a", FRAME)
    for toggle in range(TOGGLES):
        run.guests.await_stream(FRAMES_BETWEEN)
        if run.has_fast_path:
            mode, state = (("off", "onload"), ("on", "offloaded"))[toggle % 2]
            run.side.fast_path.vnode("offload", mode)
            wait_until(lambda: [rule["state"] for rule in run.rules()] == [state], WAIT_SECONDS, f"the rule is not {state}")
    sent, _, runs = run.guests.stop_stream()
    check_runs(sent, runs, ["b"])
    check_counters(run, sent, openflow_counts)


if __name__ == "__main__":
    run_scenarios([output_changes, rewriting_changes, offload_off_and_on], parallel=False)
