# SPDX-License-Identifier: Apache-2.0
"""A node beside any other of the machine: vnode-manager with settings of its own, and the command line as a user types it."""
import contextlib
import fcntl
import glob
import json
import os
import shutil
import socket
import subprocess

HERE = os.path.dirname(os.path.abspath(__file__))
ROOT = os.path.dirname(HERE)
BUILD = os.environ.get("VNODE_BUILD", os.path.join(ROOT, "build"))
SLICE_FILE = os.path.join(HERE, "demo.vn.yml")
SLICE = "demo"
READY_SECONDS_MAX = 60
COMMAND_SECONDS_MAX = 120


class DemoError(Exception):
    """A sentence for the user."""


def built(path):
    return os.path.join(BUILD, path)


def vnode_words(*words):
    return [built("cli/vnode"), *words]


def is_at(file, path):
    """Whether an open file is the one at 'path'."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), os.stat(path))
    except FileNotFoundError:
        return False


class Node:
    """Its folders bear its name; 'Error' is what it raises; 'vswitch': settings of Open vSwitch that are not the defaults."""

    def __init__(self, name=SLICE, Error=DemoError, vswitch=None):
        self.name = name
        self.vswitch = vswitch or {}
        self.Error = Error
        self.run, self.state = f"/run/vnode-{name}", f"/var/lib/vnode-{name}"
        self.config = f"{self.state}/vnode.yml"
        self.command = [built("manager/vnode-manager"), "--config", self.config]
        self.environment = {**os.environ, "VNODE_MANAGER": f"{self.run}/manager.sock", "VNODE_SOCKET": f"{self.run}/fastpath.sock"}
        self.manager = None

    @contextlib.contextmanager
    def alone(self):
        """Nobody else has this node meanwhile; who dies lets go of it. The file is not in the node's folders, which come and go."""
        path = f"{self.run}.lock"
        with self._lock(path) as lock:
            lock.truncate(0)
            print(os.getpid(), file=lock, flush=True)
            try:
                yield
            finally:
                os.unlink(path)

    def _lock(self, path):
        while True:
            lock = open(path, "a+", encoding="ascii")
            try:
                fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                with lock:
                    lock.seek(0)
                    pid = lock.read().strip() or "PID"
                raise self.Error(f"Another {self.name} runs already, as process {pid}; wait for its end, or end it by 'kill -INT {pid}'.") from None
            if is_at(lock, path):
                return lock
            lock.close()  # its holder has just removed it

    def is_there(self):
        """Whether somebody has left it running, or its files."""
        return os.path.exists(self.config)

    def write_settings(self):
        # DPDK takes drivers only from folders into which nobody but root can write: a copy of its own.
        os.makedirs(self.state, 0o755, exist_ok=True)
        os.chmod(self.state, 0o755)
        driver = shutil.copy(built("pmd/librte_net_vnode.so"), self.state)
        with open(self.config, "w", encoding="utf-8") as file:
            json.dump({"run": self.run, "state": f"{self.state}/state", "vswitch": {"driver": driver, **self.vswitch}}, file, indent=2)

    def start(self):
        """Starts the manager, which starts the daemons; returns when all are ready."""
        self.end()  # what a demo that was killed has left
        self.write_settings()
        path = f"{self.state}/notify"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as notify:
            notify.bind(path)
            notify.settimeout(READY_SECONDS_MAX)
            with open(f"{self.state}/manager.log", "ab") as log:
                # A session of its own: Ctrl-C is for the demo, which takes everything down in order.
                self.manager = subprocess.Popen(self.command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                                                start_new_session=True, env={**os.environ, "NOTIFY_SOCKET": path})
            try:
                while b"READY=1" not in notify.recv(4096).split(b"\n"):
                    pass
            except TimeoutError:
                raise self.Error(f"vnode-manager was not ready within {READY_SECONDS_MAX} s:\n{self.log_tail()}") from None
            finally:
                os.unlink(path)

    def log_tail(self):
        with open(f"{self.state}/manager.log", encoding="utf-8", errors="replace") as file:
            return "".join(file.readlines()[-10:])

    def vnode(self, *words, seconds=COMMAND_SECONDS_MAX):
        """Runs the command line; returns what it prints."""
        done = subprocess.run(vnode_words(*words), stdin=subprocess.DEVNULL, capture_output=True, text=True, env=self.environment,
                              timeout=seconds, check=False)
        if done.returncode:
            raise self.Error(f"'vnode {' '.join(words)}' failed: {(done.stderr or done.stdout).strip()}")
        return done.stdout

    def ask(self, *words):
        return json.loads(self.vnode("--format", "json", *words))

    def machines(self, slice_name):
        """Process ids of a slice's machines: libvirt keeps them in files."""
        pids = []
        for path in glob.glob(f"{self.run}/libvirt/run/qemu/{slice_name}.*.pid"):
            with open(path, encoding="ascii") as file:
                pids.append(int(file.read()))
        return pids

    def begin(self, *words):
        """Starts a command that takes its time."""
        return subprocess.Popen(vnode_words(*words), stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.PIPE,
                                text=True, env=self.environment, start_new_session=True)

    def deploy(self, file):
        """Shows what the command itself shows."""
        if subprocess.run(vnode_words("deploy", "-t", file), stdin=subprocess.DEVNULL, env=self.environment,
                          timeout=COMMAND_SECONDS_MAX, check=False).returncode:
            raise self.Error(f"The slice could not be deployed. The manager's log ends so:\n{self.log_tail()}")

    def end(self):
        """Takes everything down, whoever started it; nothing is left but an error."""
        if self.is_there():
            done = subprocess.run([*self.command, "--down"], stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False,
                                  timeout=COMMAND_SECONDS_MAX, start_new_session=True)
            if done.returncode:
                raise self.Error(f"Node {self.name} could not be taken down: {done.stderr.strip()}\nIts files are in {self.state}.")
        if self.manager:
            self.manager.wait(COMMAND_SECONDS_MAX)
            self.manager = None
        for folder in (self.run, self.state):
            shutil.rmtree(folder, ignore_errors=True)


def tell_what_to_try(node):
    sudo = "sudo " if "SUDO_USER" in os.environ else ""
    print(f"""
The slice is still there. What to try next:

  alias vnode="{sudo}{built("cli/vnode")} --manager {node.run}/manager.sock --socket {node.run}/fastpath.sock"
  vnode inspect demo
  vnode console demo:a             # Ctrl-] leaves it
  vnode exec demo:a -- ping -c 3 10.0.0.3
  vnode flows --watch              # in another terminal
  vnode offload on --slice demo    # and off
  vnode usage

Take it all down:  ./run demo --end""")
