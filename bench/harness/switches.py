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
import shutil
import signal
import socket
import subprocess
import time

from harness.system import BenchError, Readiness, built, installed, wait_for, wait_for_end

CONTROL_CORE = 0
SWITCH_CORE = 1


class Switch:
    name = ""
    memory_mib = 0  # of hugepages

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

    def start(self):
        self.socket = self.system.path("vnode.sock")
        command = [built("fastpath/vnode-fastpath"), f"--cores={SWITCH_CORE}", f"--socket={self.socket}",
                   "--rules-max=2000000"]
        if not self.huge:
            command.append("--no-huge")
        readiness = Readiness(self.system.path("vnode-ready"))
        process = self.system.start(command, log="vnode.log", environment={"NOTIFY_SOCKET": readiness.path})
        self.processes = [process]
        is_ready = readiness.wait(process, 20)
        readiness.close()
        if not is_ready:
            raise BenchError("vnode-fastpath has ended, or is not ready after 20 s: "
                             + self.system.log_tail("vnode.log"))
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
            self.vnode("rule", "add", "in=vm0", "actions=output:vm1")
            self.vnode("rule", "add", "in=vm1", "actions=output:vm0")
            return
        lines = []
        for flow in range(n_flows):
            source, destination = flow_ports(flow)
            match = f"udp l4_src={source} l4_dst={destination}"
            lines += [f"in=vm0 {match} actions=output:vm1\n", f"in=vm1 {match} actions=output:vm0\n"]
        self.vnode("rule", "add", "-f", "-", text="".join(lines))

    def _perf(self):
        workers = json.loads(self.vnode("perf", "--format", "json"))["workers"]
        return (sum(worker["busy_cycles"] for worker in workers), sum(worker["packets"] for worker in workers))

    def clear_cycles(self):
        self.before = self._perf()

    def busy_cycles(self):
        return tuple(now - then for now, then in zip(self._perf(), self.before))


class OpenVSwitch(Switch):
    name = "ovs"
    memory_mib = 1024
    daemon = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
    flow_limit = 2500000
    hour_ms = 3600000
    revalidators_paused = False

    def start(self):
        run = self.system.path("ovs")
        shutil.rmtree(run, ignore_errors=True)
        os.mkdir(run)
        os.chmod(run, 0o755)
        self.environment = {name: run for name in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR")}
        self.database = f"unix:{run}/db.sock"
        self.vswitchd = f"{run}/vswitchd.ctl"
        installed(self.daemon, "openvswitch-switch-dpdk")
        subprocess.run([installed("ovsdb-tool", "openvswitch-common"), "create", f"{run}/conf.db",
                        "/usr/share/openvswitch/vswitch.ovsschema"], check=True)
        server = self.system.start(["ovsdb-server", f"{run}/conf.db", f"--remote=p{self.database}",
                                    f"--unixctl={run}/ovsdb.ctl"], core=CONTROL_CORE, log="ovsdb.log",
                                   environment=self.environment)
        # inotify would tell of the socket's file, which is there before anyone listens behind it.
        wait_for(lambda: self._accepts(f"{run}/db.sock"), 10, "ovsdb-server")
        self._configure()
        daemon = self.system.start([self.daemon, self.database, f"--unixctl={self.vswitchd}", "--no-chdir"],
                                   core=CONTROL_CORE, log="ovs.log", environment=self.environment)
        self.processes = [server, daemon]
        self._wait_for_daemon(daemon, 60)
        self.vsctl("--timeout=30", "add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev",
                   "fail-mode=secure")
        for i, path in enumerate(self.sockets):
            mtu = 9000 if self.tso else self.frame_size_max - 18
            self.vsctl("--timeout=30", "add-port", "br0", f"vm{i}", "--", "set", "Interface", f"vm{i}",
                       "type=dpdkvhostuserclient", f"options:vhost-server-path={path}",
                       f"mtu_request={mtu}", f"ofport_request={i + 1}")

    @staticmethod
    def _accepts(path):
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(path) == 0

    def _wait_for_daemon(self, daemon, seconds):
        """The database tells when the daemon has written there that it is up."""
        waiting = self.system.start(["ovs-vsctl", f"--db={self.database}", "wait-until", "Open_vSwitch", ".",
                                     "dpdk_initialized=true"], log="ovs-wait.log", environment=self.environment)
        first = wait_for_end([waiting, daemon], seconds)
        if first is not waiting or waiting.wait():
            raise BenchError(f"ovs-vswitchd has ended, or is not ready after {seconds} s: "
                             + self.system.log_tail("ovs.log") + self.system.log_tail("ovs-wait.log"))
        self.system.stop(waiting)

    def _configure(self):
        extra = "--no-pci --no-telemetry"
        if not self.huge:
            extra += " --no-huge --legacy-mem -m 512"
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:dpdk-init=true",
                   f"other_config:dpdk-lcore-mask={1 << CONTROL_CORE:#x}",
                   f"other_config:pmd-cpu-mask={1 << SWITCH_CORE:#x}", f'other_config:dpdk-extra="{extra}"',
                   *(["other_config:dpdk-socket-mem=768"] if self.huge else []),
                   f"other_config:userspace-tso-enable={str(self.tso).lower()}",
                   "other_config:n-revalidator-threads=1", "other_config:n-handler-threads=1",
                   # A paused switch must find its flows again, so that only the first round sets them up.
                   f"other_config:max-idle={self.hour_ms}", f"other_config:flow-limit={self.flow_limit}")

    def vsctl(self, *words):
        return self._run("ovs-vsctl", f"--db={self.database}", *words)

    def appctl(self, *words):
        return self._run("ovs-appctl", "-t", self.vswitchd, *words)

    def _run(self, *command):
        done = subprocess.run(command, capture_output=True, text=True, check=False,
                              env={**os.environ, **self.environment})
        if done.returncode:
            raise BenchError(f"{' '.join(command)}: {done.stderr.strip()} {self.system.log_tail('ovs.log')}")
        return done.stdout

    def set_rules(self, kind, n_flows):
        # Copying both ports to a register makes Open vSwitch match them exactly in each flow that it
        # caches: one OpenFlow rule has the cost of rules for every pair of ports, without their set-up.
        move = ("move:NXM_OF_UDP_SRC[]->NXM_NX_REG0[0..15],move:NXM_OF_UDP_DST[]->NXM_NX_REG0[16..31],"
                if kind == "udp" else "")
        match = "udp," if kind == "udp" else ""
        flows = "".join(f"{match}in_port={i},actions={move}output:{3 - i}\n" for i in (1, 2))
        path = self.system.path("ovs-flows")
        with open(path, "w", encoding="ascii") as file:
            file.write(flows)
        if self.revalidators_paused:
            self.appctl("revalidator/resume")
        self._run("ovs-ofctl", "replace-flows", f"unix:{self.system.path('ovs')}/br0.mgmt", path)
        self.appctl("revalidator/purge")
        # Revalidation would share a core with the guests, and lowers the limit of flows when it takes long.
        self.appctl("upcall/set-flow-limit", str(self.flow_limit))
        self.appctl("revalidator/pause")
        self.revalidators_paused = True

    def _statistics(self):
        text = self.appctl("dpif-netdev/pmd-stats-show")
        section = re.search(rf"core_id {SWITCH_CORE}:\n(.*?)(?=\npmd|\nmain|\Z)", text, re.DOTALL).group(1)
        return {key.strip(): float(value) for key, value
                in re.findall(r"^\s*([^:\n]+): ([\d.]+)", section, re.MULTILINE)}

    def clear_cycles(self):
        self.appctl("dpif-netdev/pmd-stats-clear")

    def busy_cycles(self):
        statistics = self._statistics()
        return int(statistics["processing cycles"]), int(statistics["packets received"])

    def is_warm(self):
        statistics = self._statistics()
        return statistics["miss with success upcall"] + statistics["miss with failed upcall"] == 0

    def stop(self):
        for process in self.processes:
            process.send_signal(signal.SIGCONT)
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


SWITCHES = (FastPath, OpenVSwitch, TestPmd)


def settle(switch):
    """Gives a switch that was just resumed the time to run its timers, of which nobody else is told."""
    switch.resume()
    time.sleep(0.02)
