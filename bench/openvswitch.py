# SPDX-License-Identifier: Apache-2.0
"""A private Open vSwitch: Debian's ovsdb-server and ovs-vswitchd-dpdk on a database and sockets of their own.

    switch = OpenVSwitch(host, huge=False, driver=Driver(path_of_the_driver, fast_path_socket))
    switch.start()
    switch.vsctl("add-br", "br0", "--", "set", "Bridge", "br0", "datapath_type=netdev")
    switch.vsctl(*switch.add_port("br0", "vm1", "/run/vm1.sock", 1))
    ...
    switch.stop()

'host' starts its processes and keeps its files, as bench/harness/system.py does: start(command, core, log, environment),
stop(process), path(name), log_tail(log); and Error is what is raised, with a sentence. With a driver, ports are ports of the fast path; without, they
are dpdkvhostuserclient. In both flavours it connects to the guest's socket. Benchmarks and tests share this.
"""
import os
import re
import select
import shutil
import socket
import subprocess
import tempfile
import time

DAEMON = "/usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
SCHEMA = "/usr/share/openvswitch/vswitch.ovsschema"
START_SECONDS_MAX = 90
# DPDK loads drivers only from folders into which nobody else can write, all the way up: not from /tmp.
PRIVATE_FOLDER = "/var/lib"


class Driver:
    """librte_net_vnode.so in a folder where DPDK accepts it."""

    def __init__(self, library, fast_path_socket):
        self.socket = fast_path_socket
        self.folder = tempfile.mkdtemp(prefix="vnode-driver-", dir=PRIVATE_FOLDER)
        os.chmod(self.folder, 0o755)
        self.path = os.path.join(self.folder, os.path.basename(library))
        shutil.copy(library, self.path)
        os.chmod(self.path, 0o644)

    def remove(self):
        shutil.rmtree(self.folder, ignore_errors=True)


class OpenVSwitch:
    """'pmd_core': where its PMD thread polls; 'core': where all its other threads are (None: anywhere).

    With 'own_network', which takes root, it is in a network namespace of its own, where its bridges' devices meet no others.
    """

    def __init__(self, host, name="ovs", core=0, pmd_core=1, huge=False, driver=None, settings=(),
                 memory_mib=768, own_network=False):
        self.host = host
        self.name = name
        self.core = core
        self.pmd_core = pmd_core
        self.huge = huge
        self.driver = driver
        self.settings = list(settings)  # of other_config: "key=value"
        self.memory_mib = memory_mib
        self.prefix = ["unshare", "--net"] if own_network else []
        self.run = host.path(name)
        self.environment = {key: self.run for key in ("OVS_RUNDIR", "OVS_LOGDIR", "OVS_DBDIR", "OVS_SYSCONFDIR",
                                                      # Where DPDK processes meet: not with others of the machine.
                                                      "RUNTIME_DIRECTORY")}
        self.database = f"unix:{self.run}/db.sock"
        self.control = f"{self.run}/vswitchd.ctl"
        self.log = f"{name}.log"
        self.server = self.daemon = None

    def start(self):
        """Starts both daemons with an empty database; returns when DPDK is initialized."""
        if not os.path.exists(DAEMON):
            raise self.host.Error(f"{DAEMON} is not there; install the Debian package openvswitch-switch-dpdk")
        shutil.rmtree(self.run, ignore_errors=True)
        os.mkdir(self.run)
        os.chmod(self.run, 0o755)
        self._check(["ovsdb-tool", "create", f"{self.run}/conf.db", SCHEMA])
        self.server = self.host.start(
            ["ovsdb-server", f"{self.run}/conf.db", f"--remote=p{self.database}", f"--unixctl={self.run}/ovsdb.ctl"],
            core=self.core, log=f"{self.name}-db.log", environment=self.environment)
        # inotify would tell of the socket's file, which is there before anyone listens behind it.
        self._wait(lambda: self._accepts(f"{self.run}/db.sock"), 20, "ovsdb-server")
        self._configure()
        self.start_daemon()

    def start_daemon(self):
        """Starts ovs-vswitchd alone, on the database that is there."""
        self.begin_daemon()
        self.wait_daemon()

    def begin_daemon(self):
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", "dpdk_initialized=false")
        self.daemon = self.host.start(
            [*self.prefix, DAEMON, self.database, f"--unixctl={self.control}", "--no-chdir", "-vdpdk:warn"], core=self.core,
            log=self.log, environment=self.environment)

    def wait_daemon(self, seconds=START_SECONDS_MAX):
        """The database tells when the daemon has written there that it is up."""
        waiting = self.host.start(["ovs-vsctl", f"--db={self.database}", "wait-until", "Open_vSwitch", ".",
                                   "dpdk_initialized=true"], core=self.core, log=f"{self.name}-wait.log",
                                  environment=self.environment)
        ends = {os.pidfd_open(process.pid): process for process in (waiting, self.daemon)}
        ended = select.select(list(ends), [], [], seconds)[0]
        good = [ends[end] for end in ended] == [waiting] and waiting.wait() == 0
        for end in ends:
            os.close(end)
        self.host.stop(waiting)
        if not good:
            raise self.host.Error(f"ovs-vswitchd has ended, or is not ready after {seconds} s: "
                                   + self.host.log_tail(self.log))

    def kill_daemon(self):
        """What a crash does."""
        self.daemon.kill()
        self.daemon.wait()

    def stop(self):
        for process in (self.daemon, self.server):
            if process:
                self.host.stop(process)
        self.server = self.daemon = None
        if self.driver:
            self.driver.remove()

    def _configure(self):
        extra = "--no-pci --no-telemetry"
        settings = [*self.settings, "dpdk-init=true", f"pmd-cpu-mask={1 << self.pmd_core:#x}",
                    "n-revalidator-threads=1", "n-handler-threads=1"]
        if self.core is not None:
            settings.append(f"dpdk-lcore-mask={1 << self.core:#x}")
        if self.huge:
            settings.append(f"dpdk-socket-mem={self.memory_mib}")
        else:
            extra += f" --no-huge --legacy-mem -m {self.memory_mib}"
        if self.driver:
            extra += f" -d{self.driver.path}"
            settings.append("hw-offload=true")
        self.vsctl("--no-wait", "init")
        self.vsctl("--no-wait", "set", "Open_vSwitch", ".", f'other_config:dpdk-extra="{extra}"',
                   *(f"other_config:{setting}" for setting in settings))

    def port_options(self, name, path, queues=1, slice_name=None):
        """The settings of an interface for the guest whose socket is 'path'; with a driver, whose port it is."""
        if not self.driver:
            return ["type=dpdkvhostuserclient", f"options:vhost-server-path={path}"]
        devargs = f"net_vnode_{name},vhost={path},fastpath={self.driver.socket}"
        if queues > 1:
            devargs += f",queues={queues}"
        if slice_name:
            devargs += f",slice={slice_name}"
        # Without interrupts Open vSwitch would look at the link every five seconds.
        return ["type=dpdk", f'options:dpdk-devargs="{devargs}"', f"options:n_rxq={queues}",
                "options:dpdk-lsc-interrupt=true"]

    def add_port(self, bridge, name, path, number, mtu=None, port=(), slice_name=None):
        """The words of ovs-vsctl that add a port; 'port': settings of the port, such as "tag=10"."""
        words = ["add-port", bridge, name, *port, "--", "set", "Interface", name,
                 *self.port_options(name, path, slice_name=slice_name), f"ofport_request={number}"]
        return words + ([f"mtu_request={mtu}"] if mtu else [])

    def vsctl(self, *words, seconds=60):
        return self._check(["ovs-vsctl", f"--db={self.database}", f"--timeout={seconds}", *words])

    def appctl(self, *words):
        return self._check(["ovs-appctl", "-t", self.control, *words])

    def ofctl(self, command, bridge, *words, text=None):
        """ovs-ofctl COMMAND on a bridge, with OpenFlow 1.3 and later."""
        return self._check(["ovs-ofctl", "-OOpenFlow15", command, self.management(bridge), *words], text)

    def management(self, bridge):
        """Where the bridge listens for OpenFlow."""
        return f"unix:{self.run}/{bridge}.mgmt"

    def pmd_statistics(self):
        """The counters of the PMD thread, such as "processing cycles"."""
        text = self.appctl("dpif-netdev/pmd-stats-show")
        section = re.search(rf"core_id {self.pmd_core}:\n(.*?)(?=\npmd|\nmain|\Z)", text, re.DOTALL).group(1)
        return {key.strip(): float(value) for key, value
                in re.findall(r"^\s*([^:\n]+): ([\d.]+)", section, re.MULTILINE)}

    def offload_statistics(self):
        """What its offload thread counts, such as "Inserted offloads"."""
        text = self.appctl("dpctl/offload-stats-show", "netdev@ovs-netdev")
        return {key.strip(): int(value) for key, value in re.findall(r"^\s*Total\s*([^:\n]+):\s*(\d+)", text,
                                                                      re.MULTILINE)}

    def _check(self, command, text=None):
        done = subprocess.run(command, capture_output=True, text=True, check=False, input=text,
                              env={**os.environ, **self.environment})
        if done.returncode:
            raise self.host.Error(f"{' '.join(command)}: {done.stderr.strip()} {self.host.log_tail(self.log)}")
        return done.stdout

    @staticmethod
    def _accepts(path):
        with socket.socket(socket.AF_UNIX) as connection:
            return connection.connect_ex(path) == 0

    def _wait(self, condition, seconds, what):
        deadline = time.monotonic() + seconds
        while not condition():
            if time.monotonic() > deadline:
                raise self.host.Error(f"waited {seconds} s in vain for {what}")
            time.sleep(0.005)
