# SPDX-License-Identifier: Apache-2.0
"""A load generator process: guests on vhost-user sockets, and rounds of load between them."""
import json
import subprocess

from harness.system import BenchError, built


class LoadGenerator:
    """'n_guests' guests on sockets that switches connect to; self.sockets are their paths."""

    def __init__(self, system, name, frame_size_max=1518, huge=True, n_guests=2, core=0, options=()):
        self.system = system
        self.name = name
        self.sockets = [system.path(f"{name}-{i}.sock") for i in range(n_guests)]
        command = [built("bench/loadgen/loadgen"), f"--cpu={core}",
                   f"--send-size={frame_size_max}", f"--receive-size={frame_size_max}", *options]
        if not huge:
            command.append("--no-huge")
        self.process = system.start(command + self.sockets, core=core, log=f"loadgen-{name}.log",
                                    stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, bufsize=1)

    def command(self, line):
        """Sends a command line; returns the answer, a dictionary."""
        try:
            self.process.stdin.write(line + "\n")
            answer = self.process.stdout.readline()
        except BrokenPipeError:
            answer = ""
        if not answer:
            raise BenchError("the load generator has ended: "
                             + self.system.log_tail(f"loadgen-{self.name}.log"))
        result = json.loads(answer)
        if "error" in result:
            raise BenchError(f"load generator: {result['error']}")
        return result

    def connect(self, seconds=20):
        self.command(f"connect timeout={seconds}")

    def round(self, **settings):
        """One round with these settings (bench/loadgen/command.h lists them); returns its result."""
        return self.command("round " + " ".join(f"{key}={value}" for key, value in settings.items()))

    def stop(self):
        self.system.stop(self.process)
