#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
from frames import *
from offload_lab import run_scenarios


def forwarding(run):
    run.bridge("ab", flows="in_port=1 actions=output:2")
    frame = ethernet("b", "a", ipv4("10.0.0.1", "10.0.0.2", udp(1, 2, b"hello")))
    run.onload("a", frame, "b")
    run.await_rules("a>b")
    run.offloaded("a", [frame] * 9, "b")


def forwarding2(run):
    forwarding(run)

if __name__ == "__main__":
    run_scenarios([forwarding, forwarding2])
