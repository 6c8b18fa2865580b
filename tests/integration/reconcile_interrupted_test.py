#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The manager may die at any moment: the next call finishes what it has begun, or leaves nothing of it."""
import random
import signal
import subprocess

from harness import Failure
from network import run
from reconcile_test import A, B, slice_file
from slices import run_slice_cases

SEED = 4
KILLS = 12
# Something of each kind.
SLICE = slice_file([A, B, "c: {kind: netns}", "m: {kind: vm}", "up: {kind: connector, device: up0}", "one: {kind: switch}",
                    "two: {kind: switch}"], ["[a, one]", "[one, two]", "[b, two]", "[m, one]", "[c, up]"])
# Other kinds for some names, and links that have moved.
OTHER = slice_file([A, "b: {kind: vm}", "m: {kind: netns}", "up: {kind: connector, device: up1}", "one: {kind: switch}",
                    "c: {kind: switch}"], ["[a, b]", "[one, c]", "[m, one]", "[up, c]"])


def with_devices(case):
    """What the connectors connect to."""
    def run_case(scene, node):
        run("ip link add up0 type veth peer name up1")
        try:
            case(scene, node)
        finally:
            for name in node.reconcile("list"):
                node.remove(name)
            run("ip link del up0")
    run_case.__name__ = case.__name__
    return run_case


def expect_state(node, wanted, what):
    found = node.everything()
    different = {key: (found[key], wanted[key]) for key in wanted if found[key] != wanted[key]}
    if different:
        raise Failure(f"{what}: {different}")


def learn(node, text):
    """What a deployment that nobody interrupts makes, and in how many steps."""
    steps = node.deploy(text)
    return node.everything(), len(steps)


@with_devices
def deploying_is_finished_or_undone(scene, node):
    nothing = node.everything()
    wanted, n_steps = learn(node, SLICE)
    node.remove("demo")
    for step in range(1, n_steps + 1):
        node.deploy(SLICE, crash=step)
        node.deploy(SLICE)
        expect_state(node, wanted, f"finished after a crash before step {step}")
        node.remove("demo")
        node.deploy(SLICE, crash=step)
        node.remove("demo")
        expect_state(node, nothing, f"removed after a crash before step {step}")


@with_devices
def changes_are_finished_or_taken_back(scene, node):
    before, _ = learn(node, SLICE)
    steps = node.deploy(OTHER)
    after = node.everything()
    for step in range(1, len(steps) + 1):
        node.deploy(SLICE)
        expect_state(node, before, f"taken back after a crash before step {step}")
        node.deploy(OTHER, crash=step)
        if step % 2:
            node.deploy(OTHER)
            expect_state(node, after, f"finished after a crash before step {step}")


@with_devices
def removing_is_finished(scene, node):
    nothing = node.everything()
    node.deploy(SLICE)
    n_steps = len(node.reconcile("empty", "demo"))
    for step in range(1, n_steps + 1):
        node.deploy(SLICE)
        node.reconcile("empty", "demo", crash=step)
        node.remove("demo")
        expect_state(node, nothing, f"after a crash before step {step}")


@with_devices
def killed_at_any_moment(scene, node):
    nothing = node.everything()
    wanted, _ = learn(node, SLICE)
    chance = random.Random(SEED)
    for _ in range(KILLS):
        for words in ("remove", "demo"), ("deploy", node.write(SLICE)):
            process = subprocess.Popen(node.command(*words), stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL,
                                       stderr=subprocess.DEVNULL)
            try:
                process.wait(chance.uniform(0, 0.5))
            except subprocess.TimeoutExpired:
                process.send_signal(signal.SIGKILL)
                process.wait()
        if chance.random() < 0.5:
            node.deploy(SLICE)
            expect_state(node, wanted, "finished")
        else:
            node.remove("demo")
            expect_state(node, nothing, "removed")


if __name__ == "__main__":
    run_slice_cases([deploying_is_finished_or_undone, changes_are_finished_or_taken_back, removing_is_finished,
                     killed_at_any_moment])
