# SPDX-License-Identifier: Apache-2.0
"""Rounds of the same load on several switches in turns, and what is made of the figures.

Cores of shared hosts drift by a factor of two within seconds. So rounds are short, the switches take turns, and
a figure is the best of all its rounds; two switches are compared by the median, over all turns, of the
ratio between neighbouring rounds.
"""
import json
import statistics
from dataclasses import dataclass, field, replace

from harness.switches import settle
from harness.system import BenchError, built

WARM_UP_SECONDS = 0.5
WARM_UP_ROUNDS = 300


@dataclass(frozen=True)
class Case:
    packet_bytes: object  # a number, or "imix"
    flows: int
    rules: str            # "port" or "udp"
    direction: str = "both"
    payload: str = "fresh"  # or "still": bench/loadgen/traffic.h
    offload: str = "none"   # or "tso"

    def __str__(self):
        return f"{self.label()}, {self.direction}"

    def label(self):
        size = "IMIX" if self.packet_bytes == "imix" else f"{self.packet_bytes} B"
        return (f"{size}{' TSO' if self.offload == 'tso' else ''}, {self.payload}, "
                f"{self.flows} flows, {self.rules}")

    def settings(self):
        return {"size": self.packet_bytes, "flows": self.flows, "direction": self.direction, "verify": 0,
                "payload": self.payload, "offload": self.offload}


@dataclass
class Lane:
    """One switch with its load generator, and its figures of the current case."""
    switch: object
    generator: object
    rounds: list = field(default_factory=list)    # each: load generator's result + "cycles"
    floors: list = field(default_factory=list)    # cycles of memcpy, measured directly before and after each round
    one_flow: list = field(default_factory=list)  # cycles with one flow, the same
    latencies: list = field(default_factory=list)

    def settings(self, case, **settings):
        """Settings of a round: those of the case, then 'settings', then what the switch needs."""
        return {**case.settings(), **settings, **self.switch.round_settings}


def warm_up(lane, case):
    """Rounds until the switch has all flows: the cost of setting flows up is not that of forwarding."""
    clean = 0  # packets that found their flow, since the last one that did not
    for _ in range(WARM_UP_ROUNDS):
        lane.switch.clear_cycles()
        result = lane.generator.round(**{"seconds": WARM_UP_SECONDS, "rate": 0, "window": "auto", **case.settings(),
                                         **lane.switch.warm_up_settings})
        clean = clean + result["received"] if lane.switch.is_warm() else 0
        if clean >= 3 * case.flows:
            return
    raise BenchError(f"{lane.switch.name} still sets flows up after {WARM_UP_ROUNDS * WARM_UP_SECONDS:.0f} s: {case}")


def measure(lane, case, seconds, **settings):
    """One round; the busy cycles for each packet become its "cycles"."""
    # For caches and sleeping threads.
    lane.generator.round(**lane.settings(case, seconds=0.02, window="auto", rate=0))
    lane.switch.clear_cycles()
    result = lane.generator.round(**lane.settings(case, seconds=seconds, **settings))
    cycles, packets = lane.switch.busy_cycles()
    result["cycles"] = cycles / packets if packets else None
    return result


def measure_floor(lane, case):
    """Cycles of the best memcpy of such packets, now; None for mixed sizes, and beside other switches than ours."""
    system = lane.switch.system
    if case.packet_bytes == "imix" or lane.switch.name != "vnode":
        return None
    path = system.path("memcpy.json")
    system.run([built("bench/memcpy/memcpy-bench"), "--rounds=1", f"--size={case.packet_bytes}",
                f"--payload={case.payload}", f"--json={path}"])
    with open(path, encoding="ascii") as file:
        return next(line["cycles_per_packet"] for line in map(json.loads, file) if line["floor"])


def run_case(lanes, case, n_rounds, seconds, progress):
    """All rounds of one case; fills the lanes."""
    for lane in lanes:
        settle(lane.switch)
        lane.rounds, lane.latencies, lane.floors, lane.one_flow = [], [], [], []
        lane.switch.set_rules(case.rules, case.flows)
        progress(f"{lane.switch.name} warms up")
        warm_up(lane, case)
        check_bytes(lane, case)
        lane.switch.pause()
    for number in range(n_rounds):
        for lane in lanes:
            progress(f"round {number + 1} of {n_rounds}: {lane.switch.name}")
            settle(lane.switch)
            floors = [measure_floor(lane, case)]
            lane.rounds.append(measure(lane, case, seconds, rate=0, window="auto"))
            floors.append(measure_floor(lane, case))
            lane.floors.append(statistics.mean(floors) if all(floors) else None)
            if case.flows > 1 and case.rules == "port":  # the same rule for one flow: what many flows cost
                lane.one_flow.append(measure(lane, replace(case, flows=1), seconds, rate=0, window="auto")["cycles"])
            lane.switch.pause()
    # The latency of all at one rate: half of what the slowest of them carries.
    n_senders = 2 if case.direction == "both" else 1
    rate = min(max(r["mpps"] for r in lane.rounds) for lane in lanes) * 1e6 / n_senders / 2
    for number in range(max(1, n_rounds // 3)):
        for lane in lanes:
            progress(f"latency {number + 1}: {lane.switch.name}")
            settle(lane.switch)
            lane.latencies.append(measure(lane, case, seconds, rate=int(rate), window=0))
            lane.switch.pause()


def check_bytes(lane, case):
    """One round in which each byte is compared."""
    result = lane.generator.round(**lane.settings(case, seconds=0.05, rate=0, window="auto", verify=1))
    if result["damaged"] or not result["received"]:
        raise BenchError(f"{lane.switch.name} delivered {result['received']} packets, {result['damaged']} of them "
                         f"changed: {case}")


def summarize(lane, case, references):
    """The figures of one switch in one case, a dictionary; 'references': prefix of the ratios -> lane that they are to."""
    with_cycles = [r["cycles"] for r in lane.rounds if r["cycles"]]
    best = max(lane.rounds, key=lambda r: r["mpps"])
    result = {
        "bench": "v2v", "switch": lane.switch.name, "packet_bytes": case.packet_bytes, "flows": case.flows,
        "rules": case.rules, "direction": case.direction, "payload": case.payload, "offload": case.offload,
        "mpps": round(best["mpps"], 4), "gbps": round(best["gbps"], 4),
        "busy_cycles_per_packet": round(min(with_cycles), 1) if with_cycles else None,
        "busy_cycles_per_packet_median": round(statistics.median(with_cycles), 1) if with_cycles else None,
        "lost": sum(r["lost"] for r in lane.rounds), "reordered": sum(r["reordered"] for r in lane.rounds),
        "p50_us": min(r["p50_us"] for r in lane.latencies), "p99_us": min(r["p99_us"] for r in lane.latencies),
        "latency_rate": lane.latencies[0]["rate"],
        "latency_lost": sum(r["lost"] for r in lane.latencies),
        "generator_cycles_per_packet": min(r["generator_cycles_per_packet"] for r in lane.rounds),
        "rounds": len(lane.rounds),
    }
    floors = [(floor, r["cycles"]) for floor, r in zip(lane.floors, lane.rounds) if floor and r["cycles"]]
    if floors:
        result["memcpy_cycles"] = min(floor for floor, _ in floors)
        result["memcpy_share_best"] = round(result["memcpy_cycles"] / min(with_cycles), 3)
        result["memcpy_share_median"] = round(statistics.median(floor / cycles for floor, cycles in floors), 3)
    with_one = [(r["cycles"], one) for r, one in zip(lane.rounds, lane.one_flow) if r["cycles"] and one]
    if with_one:
        result["one_flow_ratio_best"] = round(min(with_cycles) / min(one for _, one in with_one), 3)
        result["one_flow_ratio_median"] = round(statistics.median(cycles / one for cycles, one in with_one), 3)
    for prefix, reference in references.items():
        ratios = [own["cycles"] / other["cycles"] for own, other in zip(lane.rounds, reference.rounds)
                  if own["cycles"] and other["cycles"]]
        if ratios and reference is not lane:
            best_other = min(r["cycles"] for r in reference.rounds if r["cycles"])
            result[f"{prefix}_ratio_best"] = round(min(with_cycles) / best_other, 3)
            result[f"{prefix}_ratio_median"] = round(statistics.median(ratios), 3)
    return result
