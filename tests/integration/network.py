# SPDX-License-Identifier: Apache-2.0
"""Network namespaces for tests of uplinks. They vanish with the processes in them."""
import ctypes
import functools
import json
import subprocess

import child
from harness import Failure, wait_until

CLONE_NEWNET = 0x40000000
_libc = ctypes.CDLL(None, use_errno=True)


def private_network(case):
    """Makes a test case run, with all that it starts, in a network namespace of its own."""
    @functools.wraps(case)
    def run_case(scene):
        enter_private_network()
        case(scene)
    return run_case


def enter_private_network():
    """A new network namespace for the thread that calls, and all that it starts."""
    if _libc.unshare(CLONE_NEWNET):
        raise OSError(ctypes.get_errno(), "no network namespace can be made; are you root?")
    no_ipv6()
    run("ip link set lo up")


def no_ipv6():
    """Nothing is sent that the test has not asked for."""
    for scope in "all", "default":
        with open(f"/proc/sys/net/ipv6/conf/{scope}/disable_ipv6", "w", encoding="ascii") as setting:
            setting.write("1")


SHELL = ("sh", "-c")


def run(command, seconds=60, check=True, shell=SHELL):
    """Runs a shell command; returns what it prints. Fails if it ends with a status other than 0."""
    result = subprocess.run([*shell, command], stdin=subprocess.DEVNULL, stdout=subprocess.PIPE,
                            stderr=subprocess.STDOUT, text=True, timeout=seconds, check=False)
    if check and result.returncode:
        raise Failure(f"'{command}' ended with status {result.returncode}:\n{result.stdout}")
    return result.stdout


class Here:
    """The test's own namespace, with the same face as the others."""

    shell = SHELL
    address = None

    def __init__(self, scene):
        self.scene = scene

    def run(self, command, seconds=60, check=True):
        return run(command, seconds, check, self.shell)

    def set_up(self, interface, address, mtu=1500):
        self.address = address
        self.run(f"ip link set {interface} mtu {mtu} up && ip addr add {address}/24 dev {interface}")

    def ping(self, other, size=56, count=5):
        """Fails unless every echo comes back."""
        self.run(f"busybox ping -q -c {count} -i 0.05 -W 3 -s {size} {other.address}")

    def wait_ping(self, other, seconds=20):
        """Returns when the first echo comes back. That a way is open is not announced: all one can do is try."""
        wait_until(lambda: "1 packets received" in
                   self.run(f"busybox ping -q -c 1 -W 1 {other.address}", check=False),
                   seconds, f"no echo from {other.address}")

    def iperf(self, other, seconds=1):
        """Sends TCP to the other side, whose kernel checks every checksum. Returns the bytes that arrived."""
        server = other.serve_iperf()
        report = json.loads(self.run(f"iperf3 -J -c {other.address} -t {seconds}", seconds + 30, check=False))
        if "error" in report:
            raise Failure(f"iperf3 to {other.address}: {report['error']}")
        server.wait(10)
        return report["end"]["sum_received"]["bytes"]

    def serve_iperf(self):
        """An iperf3 server for one test; returns it when it listens."""
        server = child.start(self.scene, [*self.shell, "exec iperf3 -s -1 --forceflush"], stderr=subprocess.STDOUT)
        if not child.await_word(server, "Server listening"):
            raise Failure("iperf3 does not listen")
        return server


class Namespace(Here):
    """Another namespace, joined to the test's by a veth pair: eth0 inside, 'outside' out here."""

    def __init__(self, scene, outside, address, mtu=1500):
        super().__init__(scene)
        holder = child.start(scene, ["unshare", "-n", *SHELL, "echo there; exec sleep infinity"])
        if not child.await_word(holder, "there"):
            raise Failure(f"unshare: {holder.communicate()[1]}")
        self.shell = ("nsenter", "-t", str(holder.pid), "-n", *SHELL)
        run(f"ip link add {outside} type veth peer name eth0 netns {holder.pid}")
        # A kernel leaves checksums of what goes through a veth unfinished, which af_packet does not tell.
        run(f"ethtool -K {outside} tx off && ip link set {outside} mtu {mtu} up")
        self.run("ethtool -K eth0 tx off && echo 1 >/proc/sys/net/ipv6/conf/all/disable_ipv6")
        self.set_up("eth0", address, mtu)
