# SPDX-License-Identifier: Apache-2.0
"""What the demo sees while traffic runs: rates, the path that packets take, CPU of each part, the guests' own counters."""
import time

from node import SLICE

NS = 1e9


class Meter:
    """Differences of counters between two looks."""

    def __init__(self, node, receiver):
        self.node = node
        self.receiver = f"{SLICE}.{receiver}.eth0"
        self.start = time.monotonic()
        self.last = self.look()

    def look(self):
        usage = self.node.ask("usage")
        ports = {port["name"]: port for port in self.node.ask("stats")}
        daemons = {daemon["name"]: daemon["cpu_time_ns"] for daemon in usage["daemons"]}
        return {"time": time.monotonic(), "vswitch": daemons["ovs-vswitchd"], "fastpath": daemons["vnode-fastpath"],
                "guests": sum(each["cpu_time_ns"] for each in usage["slices"]), "bytes": ports[self.receiver]["tx_bytes"],
                "came": sum(port["rx_packets"] for port in ports.values()),
                "onload": sum(port["to_vswitch"] for port in ports.values())}

    def sample(self):
        now, last = self.look(), self.last
        seconds = now["time"] - last["time"]
        came = now["came"] - last["came"]
        self.last = now
        return {"seconds": round(now["time"] - self.start, 2),
                "mbps": round((now["bytes"] - last["bytes"]) * 8 / seconds / 1e6, 1),
                "offloaded": round(1 - (now["onload"] - last["onload"]) / came, 3) if came else None,
                **{f"{who}_cpu": round(100 * (now[who] - last[who]) / NS / seconds, 1) for who in ("vswitch", "fastpath", "guests")}}


def tcp_counters(node, name):
    """The TCP counters that the kernel of a node keeps (RFC 4022): sums since it booted."""
    lines = [line.split() for line in node.vnode("exec", f"{SLICE}:{name}", "--", "cat", "/proc/net/snmp").splitlines()
             if line.startswith("Tcp:")]
    values = dict(zip(lines[0][1:], map(int, lines[1][1:])))
    return {key: values[key] for key in ("RetransSegs", "InErrs", "OutRsts")}


def drops(node):
    """Packets that the fast path has dropped, by reason."""
    return {each["reason"]: each["packets"] for each in node.ask("drops") if each["packets"]}
