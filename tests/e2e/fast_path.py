# SPDX-License-Identifier: Apache-2.0
"""vnode-fastpath as a process under test, driven through the command line tool as a user would."""
import json
import os
import socket
import subprocess

from harness import Failure, build_path

START_SECONDS_MAX = 30
STOP_SECONDS_MAX = 10
CORE = 0  # the worker's


class FastPath:
    def __init__(self, scene):
        self.scene = scene
        self.process = None
        self.control = scene.path("control")
        scene.checks.append(self.check_log)

    def start(self):
        """Starts it; returns when it says that it is ready."""
        notify = self.scene.listen("notify", socket.SOCK_DGRAM)
        try:
            notify.settimeout(START_SECONDS_MAX)
            self.process = self.scene.start(
                "fastpath",
                [build_path("fastpath/vnode-fastpath"), "--socket", self.control, "--cores", str(CORE), "--no-huge"],
                {"NOTIFY_SOCKET": notify.getsockname()})
            while b"READY=1" not in notify.recv(4096).split(b"\n"):
                pass
        except TimeoutError:
            raise Failure(f"vnode-fastpath is not ready after {START_SECONDS_MAX} s") from None
        finally:
            os.unlink(notify.getsockname())
            notify.close()
        return self

    def kill(self):
        """What a crash does: no clean-up at all."""
        self.process.kill()
        self.process.wait()

    def stop(self):
        """SIGTERM; fails unless it ends with status 0."""
        self.process.terminate()
        status = self.process.wait(STOP_SECONDS_MAX)
        if status != 0:
            raise Failure(f"vnode-fastpath ended with status {status} after SIGTERM")

    def check_log(self):
        """Fails if the log has a warning or an error: in these tests nothing happens that deserves one."""
        with open(self.scene.log("fastpath"), encoding="utf-8") as log:
            bad = [line for line in log if line.startswith(("warning:", "error:"))]
        if bad:
            raise Failure("the fast path's log says: " + "".join(bad))

    def check_drops(self, expected):
        """Fails if packets were dropped for a reason that is not expected."""
        drops = {entry["reason"]: entry["packets"] for entry in self.query("drops") if entry["packets"]}
        bad = {reason: packets for reason, packets in drops.items() if reason not in expected}
        if bad:
            raise Failure(f"packets were dropped: {bad}")

    def vnode(self, *arguments):
        """Runs the command line tool; returns what it prints."""
        command = [build_path("cli/vnode"), "--socket", self.control, *arguments]
        result = subprocess.run(command, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=30,
                                check=False)
        if result.returncode:
            raise Failure(f"'{' '.join(command)}' ended with status {result.returncode}: {result.stderr}")
        return result.stdout

    def query(self, *arguments):
        return json.loads(self.vnode("--format", "json", *arguments))

    def add_port(self, name, path, server):
        """A vhost-user port. 'server': the fast path listens, else it connects to QEMU."""
        self.vnode("port", "add", name, f"vhost={path}" + (",server=1" if server else ""))

    def join(self, one, other):
        """Rules both ways: all that comes from one port goes to the other."""
        self.vnode("rule", "add", f"in={one}", f"actions=output:{other}")
        self.vnode("rule", "add", f"in={other}", f"actions=output:{one}")
