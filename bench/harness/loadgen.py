# SPDX-License-Identifier: Apache-2.0
"""Programs that take commands, a line each, and answer each with a line of JSON: the load generator, and bench/mover."""
import json
import subprocess

from harness.system import BenchError, built


class Program:
    """Such a program; 'name' is what messages call it."""

    def __init__(self, system, command, name, core=0):
        self.system = system
        self.name = name
        self.log = f"{name.replace(' ', '-')}.log"
        self.process = system.start(command, core=core, log=self.log, stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                    text=True, bufsize=1)

    def command(self, line):
        """Sends a command line; returns the answer, a dictionary."""
        self.begin(line)
        return self.finish()

    def begin(self, line):
        """Sends a command line, without waiting for the answer."""
        try:
            self.process.stdin.write(line + "\n")
        except BrokenPipeError:
            pass  # finish() finds out

    def finish(self):
        """Waits for the answer to what was begun; returns it."""
        answer = self.process.stdout.readline()
        if not answer:
            raise BenchError(f"the {self.name} has ended: {self.system.log_tail(self.log)}")
        result = json.loads(answer)
        if "error" in result:
            raise BenchError(f"{self.name}: {result['error']}")
        return result

    def stop(self):
        self.system.stop(self.process)


class LoadGenerator(Program):
    """'n_guests' guests on sockets that switches connect to; self.sockets are their paths."""

    def __init__(self, system, name, frame_size_max=1518, huge=True, n_guests=2, core=0, options=()):
        self.sockets = [system.path(f"{name}-{i}.sock") for i in range(n_guests)]
        command = [built("bench/loadgen/loadgen"), f"--cpu={core}",
                   f"--send-size={frame_size_max}", f"--receive-size={frame_size_max}", *options]
        if not huge:
            command.append("--no-huge")
        super().__init__(system, command + self.sockets, f"load generator {name}", core)

    def connect(self, seconds=20):
        self.command(f"connect timeout={seconds}")

    def round(self, **settings):
        """One round with these settings (bench/loadgen/command.h lists them); returns its result."""
        self.begin_round(**settings)
        return self.finish()

    def begin_round(self, **settings):
        """Starts a round; finish() returns its result."""
        self.begin("round " + " ".join(f"{key}={value}" for key, value in settings.items()))
