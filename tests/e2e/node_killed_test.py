#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""A node with two machines, and everybody is killed: each daemon, a machine's QEMU, the manager at rest. What is not killed goes on."""
import os
import signal

from harness import Failure, wait_until
from managed_guests import BACK_SECONDS_MAX, Guest, lost, run_node_cases, slice_of_machines

ECHO_SECONDS = 0.04
ECHOES = 100
RUN_UP_ECHOES = 20  # before somebody is killed
BACK_SECONDS_FASTPATH_MAX = 5  # on a machine that others use, too: the aim is 1 s on one that is idle
ECHOES_FASTPATH = 200  # more than that


def kill(pid):
    os.kill(pid, signal.SIGKILL)


def packets_of(node, port):
    return next(entry["rx_packets"] for entry in node.json("stats") if entry["name"] == port)


class Pair:
    """The machines a and b; all their rules are offloaded."""

    def __init__(self, node):
        self.node = node
        self.a, self.b = Guest(node, "vms:a"), Guest(node, "vms:b")
        node.start()
        node.deploy(slice_of_machines(2, "offload: {mode: on}\n"))
        self.a.reach("10.7.0.2")
        self.boots = self.boots_now()

    def boots_now(self):
        return {guest.name: guest.boot() for guest in (self.a, self.b)}

    def check_no_restart(self):
        if self.boots_now() != self.boots:
            raise Failure(f"machines were started again: {self.boots} became {self.boots_now()}")

    def seconds_without_echoes(self, strike, n=ECHOES):
        """For how long 'strike' interrupts what a has sent to b."""
        before = packets_of(self.node, "vms.a.eth0")
        ping = self.a.ping("10.7.0.2", n, ECHO_SECONDS)
        wait_until(lambda: packets_of(self.node, "vms.a.eth0") >= before + RUN_UP_ECHOES, 60, "no echoes are sent")
        strike()
        return lost(ping) * ECHO_SECONDS

    def strike_daemon(self, name, n):
        """Kills a daemon amid echoes; returns for how long there were none."""
        pid = self.node.pids()[name]
        seconds = self.seconds_without_echoes(lambda: kill(pid), n)
        wait_until(lambda: self.node.pids()[name] not in (0, pid), 20, f"{name} is not started again")
        self.node.await_state("vms", "running", BACK_SECONDS_MAX)
        self.a.reach("10.7.0.2")
        self.check_no_restart()
        print(f"# {name} was killed: no echoes for {seconds:.2f} s")
        return seconds


def killed_daemons_restart_no_machine(scene, node):
    pair = Pair(node)
    for name, seconds_max, n in (("ovs-vswitchd", 0, ECHOES), ("ovsdb-server", 0, ECHOES),
                                 ("vnode-fastpath", BACK_SECONDS_FASTPATH_MAX, ECHOES_FASTPATH)):
        seconds = pair.strike_daemon(name, n)
        if seconds > seconds_max:
            raise Failure(f"{name} was killed, and there were no echoes for {seconds:.2f} s")
    killed_managers_disturb_no_machine(pair)
    killed_machines_start_again(pair)
    node.vnode("destroy", "vms")
    node.check_nothing_left()


def killed_managers_disturb_no_machine(pair):
    def strike():
        pair.node.kill()
        pair.node.start()

    before = pair.node.pids(), pair.node.machines()
    seconds = pair.seconds_without_echoes(strike)
    pair.node.await_state("vms", "running", BACK_SECONDS_MAX)
    after = pair.node.pids(), pair.node.machines()
    if seconds or after != before:
        raise Failure(f"the manager was killed, and there were no echoes for {seconds:.2f} s; {before} became {after}")
    pair.check_no_restart()


def killed_machines_start_again(pair):
    daemons, pid = pair.node.pids(), pair.b.pid()
    kill(pid)
    wait_until(lambda: pair.b.pid() not in (0, pid), BACK_SECONDS_MAX, "machine vms.b is not started again")
    pair.a.reach("10.7.0.2", BACK_SECONDS_MAX)
    pair.node.await_state("vms", "running", BACK_SECONDS_MAX)
    boots = pair.boots_now()
    if boots["vms:a"] != pair.boots["vms:a"] or boots["vms:b"] == pair.boots["vms:b"] or pair.node.pids() != daemons:
        raise Failure(f"vms:b was killed: {pair.boots} became {boots}, {daemons} became {pair.node.pids()}")


if __name__ == "__main__":
    run_node_cases([killed_daemons_restart_no_machine])
