# SPDX-License-Identifier: Apache-2.0
"""What the demo sees while traffic runs: rates, the path that packets take, CPU of each part, the guests' own counters."""
import os
import time

from node import SLICE

TICKS = os.sysconf("SC_CLK_TCK")


def cpu_seconds(pid):
    """CPU time of a process (proc(5)), 0 when it is not there."""
    try:
        with open(f"/proc/{pid}/stat", encoding="utf-8") as file:
            fields = file.read().rpartition(")")[2].split()
    except OSError:
        return 0
    return (int(fields[11]) + int(fields[12])) / TICKS


class Meter:
    """Differences of counters between two looks."""

    def __init__(self, node, receiver):
        self.node = node
        self.receiver = f"{SLICE}.{receiver}.eth0"
        self.start = time.monotonic()
        pids = {daemon["name"]: daemon["pid"] for daemon in node.ask("usage")["daemons"]}
        self.daemons = {"vswitch": pids["ovs-vswitchd"], "fastpath": pids["vnode-fastpath"]}
        self.machines = node.machines(SLICE)
        self.last = self.look()

    def look(self):
        flows = self.node.ask("flows", "--slice", SLICE)
        return {"time": time.monotonic(), "bytes": self.node.ask("stats", self.receiver)[0]["tx_bytes"],
                "offloaded": sum(flow["packets"] for flow in flows), "onload": sum(flow["onload_packets"] for flow in flows),
                "guests": sum(map(cpu_seconds, self.machines)),
                **{who: cpu_seconds(pid) for who, pid in self.daemons.items()}}

    def sample(self):
        now, last = self.look(), self.last
        seconds = now["time"] - last["time"]
        offloaded, onload = (max(0, now[path] - last[path]) for path in ("offloaded", "onload"))
        self.last = now
        return {"seconds": round(now["time"] - self.start, 2),
                "mbps": round((now["bytes"] - last["bytes"]) * 8 / seconds / 1e6, 1),
                "offloaded": round(offloaded / (offloaded + onload), 3) if offloaded + onload else None,
                **{f"{who}_cpu": round(100 * (now[who] - last[who]) / seconds, 1) for who in ("vswitch", "fastpath", "guests")}}


def tcp_counters(node, name):
    """The TCP counters that the kernel of a node keeps (RFC 4022): sums since it booted."""
    lines = [line.split() for line in node.vnode("exec", f"{SLICE}:{name}", "--", "cat", "/proc/net/snmp").splitlines()
             if line.startswith("Tcp:")]
    values = dict(zip(lines[0][1:], map(int, lines[1][1:])))
    return {key: values[key] for key in ("RetransSegs", "InErrs")}


def drops(node):
    """Packets that the fast path has dropped, by reason."""
    return {each["reason"]: each["packets"] for each in node.ask("drops") if each["packets"]}
