# SPDX-License-Identifier: Apache-2.0
"""A whole node as its user sees it: vnode-manager, the daemons that it starts, and the command line.

    def case(scene, node):
        node.start()
        node.vnode("deploy", "-t", node.write(text))
        ...

    if __name__ == "__main__":
        run_node_cases([case])

Each case has a node of its own, in a network namespace and with a /run that nobody else sees, and has to leave nothing that runs.
"""
import contextlib
import functools
import glob
import json
import os
import select
import shutil
import signal
import socket
import subprocess
import time

from harness import Failure, build_path, run_cases, wait_until
from network import enter_private_network, run
from slices import NetnsNode, driver_path, enter_private_run
from switch_host import make_switch  # noqa: F401  where to find the following
from openvswitch import Driver

READY_SECONDS_MAX = 60
RUN = "/run/vnode"
DAEMONS = ("ovs-vswitchd", "vnode-fastpath", "ovsdb-server")

# Two namespaces on a learning switch.
PAIR = """name: pair
nodes:
  a: {kind: netns, interfaces: {eth0: {address: 10.9.0.1/24}}}
  b: {kind: netns, interfaces: {eth0: {address: 10.9.0.2/24}}}
  sw: {kind: switch}
links: [[a, sw], [b, sw]]
"""

# Two namespaces on one wire, past Open vSwitch.
WIRE = """name: wire
nodes:
  a: {kind: netns, interfaces: {eth0: {address: 10.8.0.1/24}}}
  b: {kind: netns, interfaces: {eth0: {address: 10.8.0.2/24}}}
links: [[a, b]]
"""


class ManagedNode:
    def __init__(self, scene):
        self.scene = scene
        self.manager = None
        self.driver = Driver(driver_path(), None)
        self.state = scene.path("state")
        self.config = scene.path("vnode.yml")
        for name in DAEMONS:
            scene.logs.append(f"{self.state}/log/{name}.log")
        self.configure()

    def configure(self, more=""):
        with open(self.config, "w", encoding="utf-8") as file:
            file.write(f"run: {RUN}\nstate: {self.state}\nvswitch: {{driver: {self.driver.path}}}\n{more}")

    def start(self):
        """Starts the manager; returns when it says that all is ready."""
        notify = self.scene.listen("notify", socket.SOCK_DGRAM)
        try:
            self.manager = self.scene.start("manager", self.command(), {"NOTIFY_SOCKET": notify.getsockname()})
            self.await_ready(notify)
        finally:
            os.unlink(notify.getsockname())
            notify.close()
        return self

    def await_ready(self, notify):
        deadline = time.monotonic() + READY_SECONDS_MAX
        end = os.pidfd_open(self.manager.pid)
        said = b""
        try:
            while b"READY=1" not in said.split(b"\n"):
                ready = select.select([notify, end], [], [], max(0, deadline - time.monotonic()))[0]
                if not ready:
                    raise Failure(f"vnode-manager is not ready after {READY_SECONDS_MAX} s")
                if notify not in ready:
                    raise Failure("vnode-manager ended before it was ready")
                said = notify.recv(4096)
        finally:
            os.close(end)

    def command(self, *words):
        return [build_path("manager/vnode-manager"), "--config", self.config, *words]

    def kill(self):
        """What a crash does."""
        self.manager.kill()
        self.manager.wait()

    def stop(self):
        """The manager alone."""
        self.manager.terminate()
        if self.manager.wait(20):
            raise Failure(f"vnode-manager ended with status {self.manager.returncode} after SIGTERM")

    def take_down(self):
        done = subprocess.run(self.command("--down"), stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120,
                              check=False)
        if done.returncode:
            raise Failure(f"the node cannot be taken down: {done.stderr}")

    def write(self, text, name="slice.vn.yml"):
        path = self.scene.path(name)
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)
        return path

    def vnode_words(self, *words):
        return [build_path("cli/vnode"), "--manager", f"{RUN}/manager.sock", "--socket", f"{RUN}/fastpath.sock", *words]

    def vnode(self, *words, code=0, says=""):
        """Runs the command line; checks its exit code, and that standard error has 'says' in it."""
        done = subprocess.run(self.vnode_words(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=180, check=False)
        if done.returncode != code or says not in done.stderr:
            raise Failure(f"'vnode {' '.join(words)}' ended with status {done.returncode}: {done.stderr} {done.stdout}")
        return done.stdout

    def json(self, *words, **options):
        return json.loads(self.vnode("--format", "json", *words, **options))

    def deploy(self, text, **options):
        return self.vnode("deploy", "-t", self.write(text), **options)

    def state_of(self, name):
        """A slice's state; "" when there is no such slice."""
        return next((entry["state"] for entry in self.json("list") if entry["slice"] == name), "")

    def await_state(self, name, state, seconds=30):
        wait_until(lambda: self.state_of(name) == state, seconds, lambda: f"slice {name} is {self.state_of(name)}, not {state}")

    def pids(self):
        """Of the daemons, by name."""
        return {daemon["name"]: daemon["pid"] for daemon in self.json("usage")["daemons"]}

    def vsctl(self, *words):
        return run(f"ovs-vsctl --db=unix:{RUN}/db.sock --timeout=30 {' '.join(words)}")

    def everything(self):
        """What slices have left."""
        folders = [os.path.join(top, "slices", name) for top in (RUN, self.state) if os.path.exists(os.path.join(top, "slices"))
                   for name in os.listdir(os.path.join(top, "slices"))]
        folders += [path for where in ("sockets/", "libvirt/log/qemu/", "libvirt/lib/qemu/domain-") for path in glob.glob(f"{RUN}/{where}*")]
        interfaces = [line.split(":")[1].split("@")[0].strip() for line in run("ip -o link show").splitlines()]
        return {"namespaces": run("ip netns list").split(), "bridges": self.vsctl("list-br").split(), "folders": folders,
                "ports": [port["name"] for port in self.json("port", "list")], "rules": self.json("rule", "list"),
                "interfaces": [name for name in interfaces if name not in ("lo", "ovs-netdev", "ovs-system")],
                "machines": sorted(self.machines()), "slices": [entry["slice"] for entry in self.json("list")]}

    @staticmethod
    def machines():
        """The process of each machine that libvirt in the manager has started, by name; whether or not it still runs."""
        pids = {}
        for path in glob.glob(f"{RUN}/libvirt/run/qemu/*.pid"):
            name = os.path.basename(path).removesuffix(".pid")
            with contextlib.suppress(FileNotFoundError, ValueError), open(path, encoding="ascii") as file:
                pids[name] = int(file.read())
        pids.pop("driver", None)  # the manager itself
        return pids

    def check_nothing_left(self):
        def left():
            return {key: value for key, value in self.everything().items() if value}
        # The kernel removes a namespace's interfaces on its own, and does not tell when it has.
        wait_until(lambda: not left(), 10, lambda: f"something is left: {left()}")

    @staticmethod
    def written_pid(name):
        """Of a daemon, as its file says; 0: there is none."""
        try:
            with open(f"{RUN}/{name}.pid", encoding="ascii") as file:
                return int(file.read().split()[0])
        except (FileNotFoundError, IndexError):
            return 0

    def close(self):
        """Ends all that runs, however the case ended."""
        if self.manager and self.manager.poll() is None:
            self.kill()
        for pid in [*map(self.written_pid, DAEMONS), *self.machines().values()]:
            try:
                process = os.pidfd_open(pid) if pid else None
            except ProcessLookupError:
                process = None
            if process is None:
                continue
            signal.pidfd_send_signal(process, signal.SIGKILL)
            select.select([process], [], [], 10)
            os.close(process)
        shutil.rmtree(RUN, ignore_errors=True)
        for name in run("ip netns list").split():
            run(f"ip netns del {name}", check=False)
        for line in run("ip -o link show").splitlines():  # Open vSwitch's own outlive it when it is killed
            if line.split(":")[1].strip().startswith("vn"):
                run(f"ip link del {line.split(':')[1].split('@')[0].strip()}", check=False)
        self.driver.remove()


def pair_of(node, text=PAIR):
    """The two namespaces of PAIR or WIRE, with the face of other namespaces of tests."""
    name = "pair" if text == PAIR else "wire"
    network = "10.9.0" if text == PAIR else "10.8.0"
    return (NetnsNode(node.scene, f"{name}.a", f"{network}.1"), NetnsNode(node.scene, f"{name}.b", f"{network}.2"))


def run_node_cases(cases):
    enter_private_run()
    enter_private_network()
    run_cases([on_node(case) for case in cases])


def on_node(case):
    @functools.wraps(case)
    def run_case(scene):
        node = ManagedNode(scene)
        try:
            case(scene, node)
        finally:
            node.close()
    return run_case
