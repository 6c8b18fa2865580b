# SPDX-License-Identifier: Apache-2.0
"""The evaluation with virtual machines: a slice of them on one switch for each port, TARGET behind it in a network namespace.

As long as each guest keeps its port, the slice grows from set-up to set-up ('vnode deploy') while its machines run on. iperf3 runs in each guest against a server of
its own in TARGET. What is measured is a window in which all streams run: bytes at TARGET's or the guests' ports, and CPU.
"""
import json
import os
import subprocess
import sys
import time
from contextlib import ExitStack

from harness.system import ROOT, BenchError, wait_for

from evaluation.cpu import HostCpu
from evaluation.matrix import OFFLOAD, PLAIN, SEND, Cell, check_path, port_of

sys.path.insert(0, os.path.join(ROOT, "demo"))
from node import Node  # noqa: E402

KIND = "vm"
SLICE = "eval"
MTU_MAX = 9000
SERVER_PORT = 5201  # of the first guest's server
START_SECONDS_MAX = 60
DEPLOY_SECONDS_MAX = 600  # of up to eight machines that boot at once, emulated
VSWITCH_MEMORY = "4GiB"  # at most: with an MTU of 9000, a port's packets take six times as much as with the usual one
MARGIN_SECONDS = 2  # of a stream, beside what is measured, and as many more as there are guests: emulated ones start slowly


def target_address(port):
    return f"10.3.255.{port + 1}"


def describe(guests, ports):
    """The slice file."""
    lines = [f"name: {SLICE}", "nodes:"]
    lines += [f"  vm{i + 1}: {{kind: vm, interfaces: {{eth0: {{address: 10.3.0.{i + 1}/16, mtu: {MTU_MAX}}}}}}}" for i in range(guests)]
    for port in range(ports):
        lines += [f"  target{port}: {{kind: netns, interfaces: {{eth0: {{address: {target_address(port)}/16, mtu: {MTU_MAX}}}}}}}",
                  f"  sw{port}: {{kind: switch}}"]
    lines += ["links:", *(f"  - [target{port}, sw{port}]" for port in range(ports)),
              *(f"  - [vm{i + 1}, sw{port_of(i, guests, ports)}]" for i in range(guests)), "offload: {mode: off}"]
    return "\n".join(lines) + "\n"


def grows(before, after):
    """Whether the set-up 'after', (guests, ports), has all guests of 'before' on the same ports."""
    return before[1] == after[1] and all(port_of(i, *before) == port_of(i, *after) for i in range(before[0]))


class Servers:
    """An iperf3 server in TARGET for each guest."""

    def __init__(self, run, guests, ports):
        self.run = run
        self.processes = []
        for i in range(guests):
            process = run.start(["ip", "netns", "exec", f"{SLICE}.target{port_of(i, guests, ports)}", "iperf3", "-s", "--forceflush",
                                 "-p", str(SERVER_PORT + i)], log="iperf3.log", stdout=subprocess.PIPE, text=True)
            self.processes.append(process)
            if not any("Server listening" in line for line in process.stdout):
                raise BenchError(f"iperf3 does not listen: {run.log_tail('iperf3.log')}")

    def __enter__(self):
        return self

    def __exit__(self, *_):
        for process in self.processes:
            self.run.stop(process)


class Setup:
    """The slice with some guests and ports."""

    def __init__(self, run, node, guests, ports):
        self.node, self.guests, self.ports = node, guests, ports
        file = run.path(f"{SLICE}.vn.yml")
        with open(file, "w", encoding="ascii") as text:
            text.write(describe(guests, ports))
        node.vnode("deploy", "-t", file, seconds=DEPLOY_SECONDS_MAX)
        self.mtu = MTU_MAX
        self.cpu = HostCpu(self._pids())
        # Both ends learn where the other one is, and so does the switch.
        for i in range(guests):
            self._in(f"vm{i + 1}", "ping", "-c", "1", "-w", "20", self._target_of(i))

    def _pids(self):
        """The manager, its daemons, and QEMU."""
        machines = self.node.machines(SLICE)
        if len(machines) != self.guests:
            raise BenchError(f"{len(machines)} of {self.guests} machines have a process id")
        return [self.node.manager.pid, *(daemon["pid"] for daemon in self.node.ask("usage")["daemons"]), *machines]

    def _in(self, name, *words):
        return self.node.vnode("exec", f"{SLICE}:{name}", "--", *words)

    def _target_of(self, guest):
        return target_address(port_of(guest, self.guests, self.ports))

    def set_mtu(self, mtu):
        for name in (*(f"vm{i + 1}" for i in range(self.guests)), *(f"target{port}" for port in range(self.ports))):
            self._in(name, "ip", "link", "set", "eth0", "mtu", str(mtu))
        self.mtu = mtu

    def _look(self, direction):
        """Counters: bytes that have arrived for each guest's stream, or all of them; packets; those of them that Open vSwitch got."""
        ports = {port["name"]: port for port in self.node.ask("stats")}
        counter = "rx_bytes" if direction == SEND else "tx_bytes"
        return {"time": time.monotonic(), "guests": [ports[f"{SLICE}.vm{i + 1}.eth0"][counter] for i in range(self.guests)],
                "arrived": sum(port["tx_bytes"] for name, port in ports.items()
                               if name.startswith(f"{SLICE}.target" if direction == SEND else f"{SLICE}.vm")),
                "came": sum(port["rx_packets"] for port in ports.values()),
                "onload": sum(port["to_vswitch"] for port in ports.values())}

    def _dropped(self):
        return sum(each["packets"] for each in self.node.ask("drops"))

    def measure(self, cell, seconds):
        """(Gbit/s, host's CPU, retransmissions, dropped packets)"""
        if self.mtu != cell.mtu:
            self.set_mtu(cell.mtu)
        self.node.vnode("offload", "on" if cell.path == OFFLOAD else "off", "--slice", SLICE)
        dropped = self._dropped()
        first = self._look(cell.direction)
        whole = seconds + MARGIN_SECONDS + self.guests
        with ExitStack() as streams:
            clients = [streams.enter_context(self._stream(i, cell.direction, whole)) for i in range(self.guests)]
            wait_for(lambda: self._all_run(clients, first, cell), START_SECONDS_MAX, f"all streams to run: {cell}")
            before = self._look(cell.direction)
            self.cpu.begin()
            time.sleep(seconds)
            percent, after = self.cpu.percent(), self._look(cell.direction)
            if any(client.poll() is not None for client in clients):
                raise BenchError(f"a stream ended while it was measured: {cell}: {self._report(clients)}")
            retransmits = self._report(clients)
        check_path(cell, 1 - (after["onload"] - before["onload"]) / (after["came"] - before["came"]))
        gbps = (after["arrived"] - before["arrived"]) * 8 / (after["time"] - before["time"]) / 1e9
        return gbps, percent, retransmits, self._dropped() - dropped

    def _stream(self, guest, direction, seconds):
        back = ["-R"] if direction != SEND else []
        return self.node.begin("exec", f"{SLICE}:vm{guest + 1}", "--", "iperf3", "-J", "-c", self._target_of(guest), "-p",
                               str(SERVER_PORT + guest), "-t", f"{seconds:.0f}", *back)

    def _all_run(self, clients, first, cell):
        """Whether each stream has moved more than greetings."""
        if any(client.poll() is not None for client in clients):
            raise BenchError(f"a stream ended before all ran: {cell}: {self._report(clients)}")
        now = self._look(cell.direction)
        return all(bytes_now - bytes_then > 200000 for bytes_now, bytes_then in zip(now["guests"], first["guests"]))

    def _report(self, clients):
        """The retransmissions of all streams, when they have ended."""
        total = 0
        for client in clients:
            output, errors = client.communicate(timeout=120)
            try:
                report = json.loads(output)
                if "error" in report:
                    raise BenchError(f"iperf3: {report['error']}")
                total += report["end"]["sum_sent"]["retransmits"]
            except (ValueError, KeyError) as error:
                raise BenchError(f"iperf3 in a guest: {(errors or output).strip()[-300:]}") from error
        return total


def evaluate(run, selection, options, results, progress):
    """All cells of the selection; a cell of this kind is one window."""
    paths = [path for path in selection.paths if path != PLAIN]
    node = Node(SLICE, BenchError, {"memory": VSWITCH_MEMORY})
    run.cleanups.append(node.end)
    progress("starting vnode-manager")
    node.start()
    before = None
    for guests, ports in selection.setups():
        progress(f"{guests} guests, {ports} ports: machines boot")
        if before and not grows(before, (guests, ports)):
            node.vnode("destroy", SLICE)
        before = (guests, ports)
        setup = Setup(run, node, guests, ports)
        with Servers(run, guests, ports):
            for direction, mtu in selection.loads():
                for path in paths:
                    cell = Cell(guests, ports, path, direction, mtu)
                    progress(str(cell))
                    results.add(cell, KIND, *setup.measure(cell, options.seconds))
