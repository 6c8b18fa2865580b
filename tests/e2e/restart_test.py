#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Guests and the fast path that end, by kill or by request, and come back: is traffic back, with nobody else restarted?"""
import os

from harness import Failure, run_cases
from pair import Pair


def restart_guest(pair):
    pair.wait_traffic()
    guest = pair.guests["b"]
    guest.kill()
    guest.start()
    pair.finish_boot("b")
    pair.wait_traffic()
    pair.iperf("a")
    pair.iperf("b")


def guest_restarts_as_server(scene):
    restart_guest(Pair(scene, qemu_serves=True).start())


def guest_restarts_as_client(scene):
    restart_guest(Pair(scene, qemu_serves=False).start())


def restart_fast_path(pair):
    pair.wait_traffic()
    pair.fast_path.kill()
    pair.start_fast_path()
    pair.wait_traffic()
    pair.iperf("a")
    pair.iperf("b")


def fast_path_is_killed_qemu_serves(scene):
    restart_fast_path(Pair(scene, qemu_serves=True).start())


def fast_path_is_killed_qemu_connects(scene):
    restart_fast_path(Pair(scene, qemu_serves=False).start())


def fast_path_ends_cleanly(scene):
    pair = Pair(scene, qemu_serves=False).start()
    pair.wait_traffic()
    pair.fast_path.stop()
    left = [name for name in os.listdir(scene.directory) if name == "control" or name.endswith(".sock")]
    if left:
        raise Failure(f"vnode-fastpath left behind: {left}")
    pair.start_fast_path()
    pair.wait_traffic()


if __name__ == "__main__":
    run_cases([guest_restarts_as_server, guest_restarts_as_client, fast_path_is_killed_qemu_serves,
               fast_path_is_killed_qemu_connects, fast_path_ends_cleanly])
