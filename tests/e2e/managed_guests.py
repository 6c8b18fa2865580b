# SPDX-License-Identifier: Apache-2.0
"""Slices of real machines on a whole node (tests/integration/managed_node.py), and what their guests tell."""
import subprocess

import switch_host  # noqa: F401  where to find the following
import child
from managed_node import RUN, run_node_cases  # noqa: F401
from harness import Failure, wait_until

NAMES = "abcdefgh"
BACK_SECONDS_MAX = 120  # of machines that start again, on a machine that others use, too


def slice_of_machines(n, more="", name="vms"):
    """Machines a, b, ... with the addresses 10.7.0.1, 10.7.0.2, ... on a switch."""
    nodes = "".join(f"  {node}: {{kind: vm, memory: 256MiB, interfaces: {{eth0: {{address: 10.7.0.{i}/24}}}}}}\n"
                    for i, node in enumerate(NAMES[:n], 1))
    return (f"name: {name}\nnodes:\n{nodes}  sw: {{kind: switch}}\n"
            f"links: [{', '.join(f'[{node}, sw]' for node in NAMES[:n])}]\n{more}")


class Guest:
    def __init__(self, node, name):
        """'name': SLICE:NODE."""
        self.node = node
        self.name = name

    def run(self, *words):
        return self.node.vnode("exec", self.name, "--", *words)

    def begin(self, *words):
        """Starts a command that takes its time; its output comes when it has ended."""
        return child.start(self.node.scene, self.node.vnode_words("exec", self.name, "--", *words))

    def boot(self):
        """Tells one boot of the guest from the next."""
        return self.run("cat", "/proc/sys/kernel/random/boot_id").strip()

    def tcp(self):
        """Counters of the guest's TCP since it has booted: snmp's and netstat's, together."""
        lines = self.run("cat", "/proc/net/snmp", "/proc/net/netstat").splitlines()
        counters = {}
        for names, values in zip(lines[::2], lines[1::2]):
            if names.split()[0] in ("Tcp:", "TcpExt:"):
                counters.update(zip(names.split()[1:], map(int, values.split()[1:])))
        return counters

    def pid(self):
        return self.node.machines().get(self.name.replace(":", "."), 0)

    def reach(self, address, seconds=30):
        """Returns when an echo comes back: that a way is open is not announced."""
        def echo():
            done = subprocess.run(self.node.vnode_words("exec", self.name, "--", "ping", "-q", "-c", "1", "-W", "2", address),
                                  stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=60, check=False)
            return done.returncode == 0
        wait_until(echo, seconds, f"{self.name} does not reach {address}")

    def ping(self, address, count, interval):
        """Starts so many echoes; returns the process, for lost()."""
        return self.begin("ping", "-q", "-c", str(count), "-i", str(interval), "-W", "3", address)


def lost(ping, seconds=120):
    """How many of its echoes have not come back, when it has ended."""
    printed, errors = ping.communicate(timeout=seconds)
    words = next((line.split() for line in printed.splitlines() if "packets transmitted" in line), None)
    if not words:
        raise Failure(f"{ping.args}: {printed} {errors}")
    return int(words[0]) - int(words[3])
