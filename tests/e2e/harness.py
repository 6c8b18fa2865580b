# SPDX-License-Identifier: Apache-2.0
"""What every end-to-end test needs: a directory, child processes, waiting, TAP output.

    def pings(scene):
        guest = Guest(scene, "a", [Nic("/path")])
        ...

    if __name__ == "__main__":
        run_cases([pings])

Each case gets a Scene of its own. Whatever the case started or created there is gone
when it ends, however it ends. A case fails by raising; the logs of its processes are then shown.
"""
import ctypes
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
import time
import traceback

LOG_LINES_SHOWN = 40
PR_SET_PDEATHSIG = 1
_libc = ctypes.CDLL(None)


def build_path(name):
    """The path of something that was built, such as "fastpath/vnode-fastpath"."""
    path = os.path.join(os.environ["VNODE_BUILD"], name)
    if not os.path.exists(path):
        raise FileNotFoundError(f"{path} is not built")
    return path


class Failure(Exception):
    """What a test expected did not happen."""


def wait_until(condition, seconds, what):
    """Returns what condition() returns as soon as that is true; fails after 'seconds'.

    For conditions that nothing announces. Where there is an event, wait for that. 'what' says what is missing; or a function does.
    """
    deadline = time.monotonic() + seconds
    while True:
        result = condition()
        if result:
            return result
        if time.monotonic() > deadline:
            raise Failure(f"waited {seconds} s in vain: {what() if callable(what) else what}")
        time.sleep(0.02)


class Scene:
    """The directory and the processes of one test case."""

    def __init__(self):
        self.directory = tempfile.mkdtemp(prefix="vnode-e2e-")
        self.processes = []
        self.logs = []
        self.checks = []  # functions called when the case has passed; they raise if something is wrong after all

    def path(self, name):
        return os.path.join(self.directory, name)

    def log(self, name):
        """The path of a log file that is shown if the case fails."""
        path = self.path(name + ".log")
        if path not in self.logs:
            self.logs.append(path)
        return path

    def start(self, name, command, environment=None):
        """Starts a process that ends with the scene; its output goes to the log 'name'."""
        with open(self.log(name), "ab") as log:
            process = subprocess.Popen(
                command, stdin=subprocess.DEVNULL, stdout=log, stderr=log,
                env=dict(os.environ, **(environment or {})),
                preexec_fn=lambda: _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL))
        self.processes.append(process)
        return process

    def listen(self, name, kind=socket.SOCK_STREAM):
        """A Unix socket bound to a path in the scene, on which a child can reach us."""
        listener = socket.socket(socket.AF_UNIX, kind)
        listener.bind(self.path(name))
        if kind == socket.SOCK_STREAM:
            listener.listen(1)
        return listener

    def show_logs(self):
        for path in self.logs:
            if os.path.exists(path):
                with open(path, encoding="utf-8", errors="replace") as log:
                    lines = log.read().splitlines()[-LOG_LINES_SHOWN:]
                print(f"# --- {os.path.basename(path)}")
                print("".join(f"# {line}\n" for line in lines), end="")

    def close(self):
        for process in reversed(self.processes):
            if process.poll() is None:
                process.kill()
            process.wait()
        shutil.rmtree(self.directory)


def run_cases(cases):
    """Runs the cases (functions of a Scene) and reports them as TAP; exits with the result."""
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(1))
    failed = False
    print(f"1..{len(cases)}", flush=True)
    for number, case in enumerate(cases, 1):
        scene = Scene()
        try:
            case(scene)
            for check in scene.checks:
                check()
            print(f"ok {number} - {case.__name__}", flush=True)
        except Exception:  # whatever it is, it is this case's result
            failed = True
            print(f"not ok {number} - {case.__name__}")
            print("".join(f"# {line}\n" for line in traceback.format_exc().splitlines()), end="")
            scene.show_logs()
            sys.stdout.flush()
        finally:
            scene.close()
    sys.exit(1 if failed else 0)
