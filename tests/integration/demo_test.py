#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""One demo at a time: who has a node, keeps others off until it ends, in whatever way."""
import os
import subprocess
import sys

import child
from harness import Failure, run_cases

HOLD = "from node import Node; import sys; node = Node(sys.argv[1])\nwith node.alone(): print('mine', flush=True); sys.stdin.read()"


class Holder:
    """A process that has the node, until it is told to end."""

    def __init__(self, scene, name):
        self.name = name
        self.process = child.start(scene, [sys.executable, "-c", HOLD, name], stdin=subprocess.PIPE)
        self.has_it = child.await_word(self.process, "mine")

    def finish(self):
        return self.process.communicate(timeout=10)[1]

    def expect_alone(self):
        if not self.has_it:
            raise Failure(f"the node could not be had: {self.finish()}")
        if self.finish() or os.path.exists(f"/run/vnode-{self.name}.lock"):
            raise Failure("something is left")


def name_of(case):
    """No other node's."""
    return f"{case}-test-{os.getpid()}"


def a_second_one_is_refused(scene):
    name = name_of("second")
    first, second = Holder(scene, name), Holder(scene, name)
    errors = second.finish()
    if second.has_it or f"Another {name} runs already, as process {first.process.pid};" not in errors:
        raise Failure(f"beside the first: {errors}")
    first.expect_alone()
    Holder(scene, name).expect_alone()


def a_killed_one_is_followed(scene):
    name = name_of("killed")
    first = Holder(scene, name)
    first.process.kill()
    first.process.wait()
    Holder(scene, name).expect_alone()


if __name__ == "__main__":
    run_cases([a_second_one_is_refused, a_killed_one_is_followed])
