# SPDX-License-Identifier: Apache-2.0
"""Guests that send the frames they are told to and keep what they receive: the process frame_guest."""
import os
import select
import subprocess
import time

import switch_host  # noqa: F401  where to find the following
import child
from harness import Failure, build_path

WAIT_SECONDS = 60  # for whatever takes a moment, on a busy machine


class FrameGuests:
    """'names': a letter each. Their sockets lie in 'folder'."""

    def __init__(self, scene, folder, names):
        os.mkdir(folder)
        self.paths = {name: os.path.join(folder, name + ".sock") for name in names}
        self.received = {name: [] for name in names}  # frames
        self.up = set()
        self.rest = b""
        self.process = child.start(
            scene, [build_path("tests/e2e/frame_guest"), *(f"{name}={path}" for name, path in self.paths.items())],
            stdin=subprocess.PIPE)
        self._read(lambda line: line == ["ready"])

    def tell(self, *words):
        self.process.stdin.write(" ".join(words) + "\n")
        self.process.stdin.flush()

    def send(self, name, frames):
        self.tell("send", name, *(frame.hex() for frame in frames))
        self._read(lambda line: line[0] == "sent")

    def await_up(self, names, up=True):
        """Returns when a switch is connected to all of them; or with 'up' unset, to none."""
        self._read_until(lambda: set(names) <= self.up if up else not set(names) & self.up,
                         f"the switch has {'not connected to' if up else 'not let go of'} all of {names}")

    def await_frames(self, counts):
        """Returns when each guest has received as many frames, altogether, as 'counts' says."""
        self._read_until(lambda: all(len(self.received[name]) >= n for name, n in counts.items()),
                         lambda: f"there should have arrived {dict(counts)} frames, and there arrived "
                         f"{ {name: len(frames) for name, frames in self.received.items()} }")

    def n_received(self, names):
        return {name: len(self.received[name]) for name in names}

    def await_any(self, names, before):
        """Returns when one of them has received more than n_received() said 'before'."""
        self._read_until(lambda: self.n_received(names) != before, f"none of {names} received anything")

    def start_stream(self, name, frame, window=128):
        self.tell("stream", name, str(window), frame.hex())

    def report(self):
        """Of the stream: (frames sent, frames received, [(first, last, guest)...] sorted)."""
        runs = []

        def take(line):
            if line[0] == "run":
                runs.append((int(line[2]), int(line[3]), line[1]))
            return line[0] == "stream"
        self.tell("report")
        _, sent, received = self._read(take)
        return int(sent), int(received), sorted(runs)

    def await_stream(self, n):
        """Returns when that many more frames of the stream have arrived."""
        _, begin, _ = self.report()
        self._poll_stream(lambda sent, received: received >= begin + n, f"the stream stands still after {begin} frames")

    def stop_stream(self):
        """Returns the final report, when nothing more is under way."""
        self.tell("stop")
        self._read(lambda line: line[0] == "sent")
        # Frames may be lost, or doubled. The one is known when none has come for long, of the other nobody can be certain.
        self._poll_stream(lambda sent, received: received >= sent, None)
        return self.report()

    def _poll_stream(self, condition, failure):
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            sent, received, _ = self.report()
            if condition(sent, received):
                return
            if time.monotonic() > deadline:
                if failure is None:
                    return
                raise Failure(failure)
            time.sleep(0.005)

    def _take(self, line):
        if line[0] == "frame":
            self.received[line[1]].append(bytes.fromhex(line[2]))
        elif line[0] == "up":
            self.up.add(line[1])
        elif line[0] == "down":
            self.up.discard(line[1])

    def _read_until(self, condition, failure):
        deadline = time.monotonic() + WAIT_SECONDS
        while not condition():
            if not self._read_line(deadline):
                raise Failure(failure() if callable(failure) else failure)

    def _read(self, wanted):
        """Reads up to a line that 'wanted' is true for, and returns that."""
        deadline = time.monotonic() + WAIT_SECONDS
        while True:
            line = self._read_line(deadline)
            if not line:
                raise Failure("the guests do not answer")
            if wanted(line):
                return line

    def look(self):
        """Takes note of what has come in unasked."""
        while self._read_line(0):
            pass

    def _read_line(self, deadline):
        """The words of the next line; None when the deadline passes before there is one."""
        while b"\n" not in self.rest:
            if not select.select([self.process.stdout], [], [], max(0, deadline - time.monotonic()))[0]:
                return None
            piece = os.read(self.process.stdout.fileno(), 1 << 16)
            if not piece:
                raise Failure(f"the guests ended: {self.process.stderr.read()}")
            self.rest += piece
        text, self.rest = self.rest.split(b"\n", 1)
        line = text.decode().split()
        self._take(line)
        return line
