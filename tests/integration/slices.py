# SPDX-License-Identifier: Apache-2.0
"""A node for tests of slices: a fast path, Debian's Open vSwitch with the driver, and the manager's reconciler as a program.

They start once and serve all cases, in a network namespace and with a /run that nobody else sees. Each case has to leave nothing:

    def case(scene, node):
        node.deploy(text)
        ...

    if __name__ == "__main__":
        run_slice_cases([case])
"""
import ctypes
import functools
import os
import subprocess

import child
from fast_path import FastPath
from harness import Failure, Scene, build_path, run_cases, wait_until
from network import Here, enter_private_network, run
from switch_host import make_switch  # and where to find the following
from openvswitch import Driver

SETTINGS = ("slice", "mode", "promote", "demote", "hold_ms", "ports", "rules_max", "masks_max", "operations_max")
TCP_BYTES = 1000000
CLONE_NEWNS = 0x00020000
MS_REC_PRIVATE = 0x4000 | 0x40000
_libc = ctypes.CDLL(None, use_errno=True)


def enter_private_run():
    """A /run of our own, for the names of network namespaces."""
    if (_libc.unshare(CLONE_NEWNS) or _libc.mount(None, b"/", None, MS_REC_PRIVATE, None)
            or _libc.mount(b"tmpfs", b"/run", b"tmpfs", 0, None)):
        raise OSError(ctypes.get_errno(), "no /run of our own can be had; are you root?")


def driver_path():
    """Debian's Open vSwitch does not load what was built with sanitizers: then it gets the driver of the build beside that one."""
    return os.path.join(os.environ["VNODE_BUILD"].removesuffix("-sanitizers"), "pmd/librte_net_vnode.so")


class NetnsNode(Here):
    """A node of a slice that is a namespace, with the face of the other namespaces of tests."""

    def __init__(self, scene, name, address):
        super().__init__(scene)
        self.shell = ("ip", "netns", "exec", name, "sh", "-c")
        self.address = address

    def send(self, other):
        """Sends some TCP to the other side, however long that takes."""
        server = other.serve_iperf()
        self.run(f"iperf3 -c {other.address} -n {TCP_BYTES}")
        server.wait(10)


class Node:
    """'options': of the reconciler. With real machines, their user needs to get at the files."""

    def __init__(self, scene, options=()):
        self.scene = scene
        self.options = options
        os.chmod(scene.directory, 0o755)
        self.fast_path = FastPath(scene)
        self.switch = make_switch(scene, driver=Driver(driver_path(), self.fast_path.control))
        self.run_folder, self.state_folder = scene.path("run"), scene.path("state")
        self.file = scene.path("slice.vn.yml")

    def start(self):
        self.fast_path.start()
        self.switch.start()

    def close(self):
        self.switch.stop()
        self.scene.close()

    def command(self, *words, crash=None):
        return [build_path("tests/integration/reconcile"), *self.options, *(("-c", str(crash)) if crash else ()),
                self.run_folder, self.state_folder, self.fast_path.control, self.switch.database, *words]

    def reconcile(self, *words, crash=None):
        """Runs the reconciler; returns the lines that it prints. Fails with its sentence."""
        done = subprocess.run(self.command(*words, crash=crash), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode != (-9 if crash else 0):
            raise Failure(f"{words}: status {done.returncode}: {done.stderr.strip()}")
        return done.stdout.splitlines()

    def refused(self, *words):
        """The sentence with which it fails."""
        done = subprocess.run(self.command(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True,
                              timeout=120, check=False)
        if done.returncode != 1:
            raise Failure(f"{words}: status {done.returncode}, but 1 was due: {done.stdout}")
        return done.stderr.strip()

    def write(self, text):
        with open(self.file, "w", encoding="utf-8") as file:
            file.write(text)
        return self.file

    def deploy(self, text, *stopped, crash=None):
        return self.reconcile("deploy", self.write(text), *stopped, crash=crash)

    def remove(self, *names):
        for name in names:
            self.reconcile("remove", name)

    def states(self, text, *stopped):
        """Each node's state."""
        lines = self.reconcile("states", self.write(text), *stopped)
        return dict(line.split(maxsplit=2)[:2] for line in lines)

    def ports(self):
        return {port["name"]: port for port in self.fast_path.query("port", "list")}

    def bridges(self):
        return self.switch.vsctl("list-br").split()

    def namespaces(self):
        return sorted(line.split()[0] for line in run("ip netns list").splitlines())

    def machines(self):
        folder = os.path.join(self.run_folder, "fake")
        return sorted(os.listdir(folder)) if os.path.exists(folder) else []

    def interfaces(self):
        return sorted(line.split(":")[1].split("@")[0].strip() for line in run("ip -o link show").splitlines())

    def rules(self):
        return [rule for rule in self.fast_path.query("rule", "list") if not isinstance(rule["id"], str)]

    def files(self):
        return sorted(os.path.join(folder, name) for top in ("run/slices", "run/sockets", "state/slices")
                      for folder, folders, names in os.walk(self.scene.path(top)) for name in folders + names)

    def everything(self):
        """What there is, in a form that can be compared."""
        return {"ports": sorted(self.ports()), "bridges": self.bridges(), "namespaces": self.namespaces(),
                "interfaces": self.interfaces(), "machines": self.machines(), "files": self.files(),
                "rules": sorted((rule["in"], rule["actions"][0]) for rule in self.rules()),
                "settings": [{key: entry[key] for key in SETTINGS} for entry in self.fast_path.query("slice", "list")
                             if entry["mode"] != "inherit" or entry["ports"] or entry["rules_max"]],
                "names": self.reconcile("list")}


def run_slice_cases(cases, options=()):
    enter_private_run()
    enter_private_network()
    node = Node(Scene(), options)
    try:
        node.start()
        run_cases([on_node(case, node) for case in cases])
    finally:
        node.close()


def on_node(case, node):
    """A test case of a function of a scene and the node, which it has to leave as it was."""
    @functools.wraps(case)
    def run_case(scene):
        scene.logs += node.scene.logs
        before = node.everything()
        try:
            case(scene, node)
        finally:
            for name in node.reconcile("list"):
                node.remove(name)
        after = node.everything()
        if after != before:
            raise Failure(f"something is left: {after}, and not as before: {before}")
        node.fast_path.check_log()
    return run_case
