# SPDX-License-Identifier: Apache-2.0
"""The switches under test. Each joins two guests, on one core of its own, and tells its busy cycles.

A switch connects to the guests' sockets. It can be paused (SIGSTOP), so that several are up in
one run and only the one under test has the core.

    rules: "port"   all that comes in by one port goes out of the other
           "udp"    a rule for each UDP source and destination port
"""
import json
import os
import re
import signal
import subprocess
import time

import openvswitch
from harness.system import BenchError, Readiness, built, installed

CONTROL_CORE = 0
SWITCH_CORE = 1


def key_of(switch):
    """The name of a switch, or of a kind of switches, as a part of file names and on command lines."""
    return switch.name.replace(", ", "-").replace(" ", "-")


class Switch:
    name = ""
    memory_mib = 0  # of hugepages
    round_settings = {"nap": 0}  # what rounds of load with this switch need (bench/loadgen/command.h) ...
    warm_up_settings = {"nap": 0}  # ... and rounds before it has all flows

    @property
    def key(self):
        return key_of(self)

    def __init__(self, system, sockets, huge, frame_size_max, tso=False):
        self.system = system
        self.sockets = sockets
        self.huge = huge
        self.frame_size_max = frame_size_max
        self.tso = tso  # whether guests send packets that are yet to be cut up
        self.processes = []

    def start(self):
        """Starts it, with both guests plugged in and no rule."""

    def set_rules(self, kind, n_flows):
        """Replaces all rules. For 'udp': rules for flows 0 to n_flows - 1 in each direction."""

    def clear_cycles(self):
        """Sets the counters to 0."""

    def busy_cycles(self):
        """(busy cycles, packets received) since clear_cycles()."""

    def is_warm(self):
        """Whether the last round ran without setting flows up."""
        return True

    def pause(self):
        for process in self.processes:
            process.send_signal(signal.SIGSTOP)

    def resume(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)

    def stop(self):
        for process in reversed(self.processes):
            self.system.stop(process)
        self.processes = []


def flow_ports(flow):
    """UDP source and destination port of a flow, as bench/loadgen/traffic.h has them."""
    return 1024 + flow % 1024, 1024 + flow // 1024


class FastPath(Switch):
    name = "vnode"
    memory_mib = 512
    options = ("--rules-max=2000000",)
    core = SWITCH_CORE
    port_match, udp_match = "", "udp"

    def start(self):
        self.socket = self.system.path(f"{self.key}.sock")
        self.log = f"{self.key}.log"
        command = [built("fastpath/vnode-fastpath"), f"--cores={self.core}", f"--socket={self.socket}",
                   *self.options]
        if not self.huge:
            command.append("--no-huge")
        readiness = Readiness(self.system.path(f"{self.key}-ready"))
        # A folder of its own for DPDK, which at its start waits for every process in there, paused ones too.
        folder = self.system.path(f"{self.key}-dpdk")
        os.makedirs(folder, exist_ok=True)
        process = self.system.start(command, log=self.log, environment={"NOTIFY_SOCKET": readiness.path,
                                                                        "RUNTIME_DIRECTORY": folder})
        self.processes = [process]
        is_ready = readiness.wait(process, 20)
        readiness.close()
        if not is_ready:
            raise BenchError("vnode-fastpath has ended, or is not ready after 20 s: "
                             + self.system.log_tail(self.log))
        for i, path in enumerate(self.sockets):
            self.vnode("port", "add", f"vm{i}", f"vhost={path}")

    def vnode(self, *words, text=None):
        done = subprocess.run([built("cli/vnode"), "--socket", self.socket, *words], input=text,
                              capture_output=True, text=True, check=False)
        if done.returncode:
            raise BenchError(f"vnode {' '.join(words)}: {done.stderr.strip()}")
        return done.stdout

    def set_rules(self, kind, n_flows):
        self.vnode("rule", "del", "--all")
        if kind == "port":
            self.vnode("rule", "add", f"in=vm0 {self.port_match} actions=output:vm1")
            self.vnode("rule", "add", f"in=vm1 {self.port_match} actions=output:vm0")
            return
        lines = []
        for flow in range(n_flows):
            source, destination = flow_ports(flow)
            match = f"{self.udp_match} l4_src={source} l4_dst={destination}"
            lines += [f"in=vm0 {match} actions=output:vm1\n", f"in=vm1 {match} actions=output:vm0\n"]
        self.vnode("rule", "add", "-f", "-", text="".join(lines))

    def ask(self, *words):
        """What 'vnode' answers, as data."""
        return json.loads(self.vnode(*words, "--format", "json"))

    def _perf(self):
        workers = self.ask("perf")["workers"]
        return (sum(worker["busy_cycles"] for worker in workers), sum(worker["packets"] for worker in workers))

    def clear_cycles(self):
        self.before = self._perf()

    def busy_cycles(self):
        return tuple(now - then for now, then in zip(self._perf(), self.before))


class OpenVSwitch(Switch):
    name = "ovs"
    memory_mib = 1024
    flow_limit = 2500000
    hour_ms = 3600000
    pmd_core = SWITCH_CORE
    driver = None  # without it, its ports are dpdkvhostuserclient
    slices = ()  # of the first ports, in their order

    def start(self):
        self.revalidators_paused = False
        self.ovs = openvswitch.OpenVSwitch(self.system, self.key, core=CONTROL_CORE, pmd_core=self.pmd_core,
                                           huge=self.huge, driver=self.driver, settings=self.settings(),
                                           own_network=os.geteuid() == 0)
        self.ovs.start()
        self.processes += [self.ovs.server, self.ovs.daemon]
        self.ovs.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev", "fail-mode=secure")
        mtu = 9000 if self.tso else self.frame_size_max - 18
        for i, path in enumerate(self.sockets):
            slice_name = self.slices[i] if i < len(self.slices) else None
            self.ovs.vsctl(*self.ovs.add_port("br0", f"vm{i}", path, i + 1, mtu, slice_name=slice_name))

    def settings(self):
        """What is set in its database before it starts."""
        # A paused switch must find its flows again, so that only the first round sets them up.
        return [f"userspace-tso-enable={str(self.tso).lower()}", f"max-idle={self.hour_ms}",
                f"flow-limit={self.flow_limit}"]

    def set_rules(self, kind, n_flows):
        # Copying both ports to a register makes Open vSwitch match them exactly in each flow that it
        # caches: one OpenFlow rule has the cost of rules for every pair of ports, without their set-up.
        move = ("move:NXM_OF_UDP_SRC[]->NXM_NX_REG0[0..15],move:NXM_OF_UDP_DST[]->NXM_NX_REG0[16..31],"
                if kind == "udp" else "")
        match = "udp," if kind == "udp" else ""
        # Each port's neighbour is its peer: 1 and 2, 3 and 4.
        self.replace_flows([f"{match}in_port={i},actions={move}output:{(i - 1 ^ 1) + 1}"
                            for i in range(1, len(self.sockets) + 1)])

    def replace_flows(self, flows):
        """Sets the OpenFlow rules, and forgets what was decided by others."""
        if self.revalidators_paused:
            self.ovs.appctl("revalidator/resume")
        self.ovs.ofctl("replace-flows", "br0", "-", text="".join(f"{flow}\n" for flow in flows))
        self.ovs.appctl("revalidator/purge")
        # Revalidation would share a core with the guests, and lowers the limit of flows when it takes long.
        self.ovs.appctl("upcall/set-flow-limit", str(self.flow_limit))
        self.ovs.appctl("revalidator/pause")
        self.revalidators_paused = True

    def clear_cycles(self):
        self.ovs.appctl("dpif-netdev/pmd-stats-clear")

    def busy_cycles(self):
        statistics = self.ovs.pmd_statistics()
        return int(statistics["processing cycles"]), int(statistics["packets received"])

    def is_warm(self):
        statistics = self.ovs.pmd_statistics()
        return statistics["miss with success upcall"] + statistics["miss with failed upcall"] == 0

    def stop(self):
        self.resume()
        self.ovs.stop()
        super().stop()


class TestPmd(Switch):
    name = "testpmd"
    memory_mib = 384

    def start(self):
        # testpmd's own output would wait in its buffer for the next 4 KiB.
        command = ["stdbuf", "--output=L", installed("dpdk-testpmd", "dpdk-dev"), "-l", f"{CONTROL_CORE},{SWITCH_CORE}", "--no-pci",
                   "--no-telemetry", "-m", "320"]
        command += ["--in-memory"] if self.huge else ["--no-huge", "--no-shconf"]
        for i, path in enumerate(self.sockets):
            command += ["--vdev", f"net_vhost{i},iface={path},client=1"]
        # A frame of the largest size has to fit into one buffer, or testpmd would walk chains.
        command += ["--", "--interactive", "--forward-mode=io", "--record-core-cycles", "--auto-start",
                    "--total-num-mbufs=16384", f"--mbuf-size={max(2176, self.frame_size_max + 192)}"]
        process = self.system.start(command, log="testpmd.log", stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    bufsize=0)
        self.processes = [process]
        self._read_until(lambda text: "testpmd>" in text)

    def _read_until(self, is_complete):
        text = ""
        while not is_complete(text):
            part = self.processes[0].stdout.read(4096)
            if not part:
                raise BenchError("testpmd has ended: " + self.system.log_tail("testpmd.log"))
            text += part.decode(errors="replace")
        return text

    def command(self, line):
        """Sends a command; what it prints. The prompt that ends it comes behind the command's echo."""
        self.processes[0].stdin.write(line.encode() + b"\n")
        return self._read_until(lambda text: text.rstrip(" ").endswith("testpmd>")
                                and line in text and "testpmd>" in text.split(line, 1)[1])

    def set_rules(self, kind, n_flows):
        if kind != "port":
            raise BenchError("testpmd has no rules")

    def clear_cycles(self):
        self.command("clear fwd stats all")

    def busy_cycles(self):
        found = re.search(r"total cycles=(\d+) / total io packets=(\d+)", self.command("show fwd stats all"))
        return (int(found.group(1)), int(found.group(2))) if found else (0, 0)


def settle(switch):
    """Gives a switch that was just resumed the time to run its timers, of which nobody else is told."""
    switch.resume()
    time.sleep(0.02)
