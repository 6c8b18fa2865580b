#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vnode-manager with its daemons: slices come and go, and everybody is killed."""
import json
import os
import select
import signal
import socket
import subprocess
import time

import child
from harness import Failure, wait_until
from managed_node import DAEMONS, PAIR, RUN, WIRE, pair_of, run_node_cases

BACK_SECONDS_MAX = 5  # of traffic, on a machine that others use, too; docs/architecture.md has what is measured
INSPECT_MS_MAX = 50


def slices_come_and_go(scene, node):
    node.start()
    file = node.write(PAIR)
    plan = node.json("plan", "-t", file)
    if [change["item"] for change in plan["changes"] if change["kind"] == "node"] != ["a", "b", "sw"] or node.json("list"):
        raise Failure(f"the plan is {plan}, the slices are {node.json('list')}")
    node.vnode("deploy", "-t", file)
    a, b = pair_of(node)
    a.wait_ping(b)
    slice_ = node.json("inspect", "pair")
    if slice_["state"] != "running" or [entry["state"] for entry in slice_["nodes"]] != ["running"] * 3:
        raise Failure(f"the slice is {slice_}")
    if node.json("plan", "-t", file)["changes"]:
        raise Failure("there are changes to what has just been deployed")
    node.vnode("deploy", "-t", file)
    node.deploy(PAIR.replace("links:", "  c: {kind: netns}\nlinks:").replace("[b, sw]]", "[b, sw], [c, sw]]"))
    a.ping(b)
    if node.vnode("exec", "pair:c", "--", "echo", "hello", "there") != "hello there\n":
        raise Failure("exec does not print what the command does")
    node.vnode("exec", "c", "--slice", "pair", "--", "sh", "-c", "exit 7", code=7)
    node.vnode("exec", "pair:sw", "--", "true", code=1, says="Node pair:sw is a switch")
    node.vnode("console", "pair:a", code=1, says="only machines have a console")
    node.vnode("stop", "c", "--slice", "pair")
    node.vnode("exec", "pair:c", "--", "true", code=1, says="Node pair:c is stopped; 'vnode start' starts it.")
    node.vnode("restart", "pair:b")
    a.wait_ping(b)
    events = [json.loads(line)["event"] for line in node.vnode("--format", "json", "events", "--slice", "pair").splitlines()]
    for event in ("slice-running", "slice-changed", "node-stopped"):
        if event not in events:
            raise Failure(f"{event} is not among the events: {events}")
    node.vnode("destroy", "-t", file)
    node.check_nothing_left()
    node.stop()


def what_cannot_be_is_refused(scene, node):
    node.vnode("list", code=3, says="start vnode-manager")
    for words, sentence in ((["--bogus"], "--bogus is no option, or lacks its value; see --help."),
                            (["--config"], "--config is no option, or lacks its value; see --help."),
                            (["now"], "now is not understood; see --help."),
                            (["--check", "--down"], "--check and --down exclude each other; see --help.")):
        done = subprocess.run(node.command(*words), capture_output=True, text=True, check=False, timeout=20)
        if done.returncode != 2 or sentence not in done.stderr:
            raise Failure(f"vnode-manager {words}: status {done.returncode}: {done.stderr}")
    node.configure("capacity: {overcommit: 1, reserv: 1GiB}\n")
    done = subprocess.run(node.command(), capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 2 or f"{node.config}:4:27: capacity has no key 'reserv'; did you mean 'reserve'?" not in done.stderr:
        raise Failure(f"status {done.returncode}: {done.stderr}")
    node.configure("fastpath: {program: /nonexistent/program}\n")
    done = subprocess.run(node.command(), capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 1 or "Name it in the setting fastpath.program" not in done.stderr:
        raise Failure(f"status {done.returncode}: {done.stderr}")
    node.configure("capacity: {overcommit: 1}\n")
    node.start()
    done = subprocess.run(node.command(), capture_output=True, text=True, check=False, timeout=20)
    if done.returncode != 1 or "Another manager" not in done.stderr:
        raise Failure(f"status {done.returncode}: {done.stderr}")
    cpus = os.cpu_count() + 1
    node.deploy(f"name: big\nnodes: {{a: {{kind: vm, cpu: {cpus}}}}}\n", code=4,
                says=f"Slice big needs {cpus} CPUs, 1 more than there is left: of {cpus - 1}, no other slice has any.")
    node.deploy("name: bad\nnodes: {a: {kind: what}}\n", code=2, says="slice.vn.yml:2:19: nodes.a has to be vm")
    node.deploy("name: bad\nnodes: {a: {kind: connector, device: nothere}, b: {kind: netns}}\nlinks: [[a, b]]\n", code=1,
                says="nothere")
    node.vnode("deploy", "--reserve", "-t", node.write(PAIR))
    node.vnode("exec", "pair:a", "--", "true", code=1, says="Node pair:a does not run yet; 'vnode inspect' tells more.")
    node.vnode("exec", "pair:x", "--", "true", code=1, says="Slice pair has no node x; 'vnode inspect pair' shows its nodes.")
    node.vnode("destroy", "pair")
    node.vnode("inspect", "nothing", code=1, says="There is no slice nothing.")
    node.vnode("start", "nothing:a", code=1, says="There is no slice nothing.")
    node.check_nothing_left()


def killed_managers_disturb_nothing(scene, node):
    node.start()
    node.deploy(PAIR)
    a, b = pair_of(node)
    a.wait_ping(b)
    before = node.pids()
    echo = child.start(scene, [*a.shell, f"busybox ping -q -c 60 -i 0.05 -W 3 {b.address}"])
    node.kill()
    node.start()
    if node.pids() != before or sorted(before) != sorted(DAEMONS):
        raise Failure(f"the daemons were {before} and are {node.pids()}")
    node.await_state("pair", "running")
    node.stop()
    node.start()
    printed = echo.communicate(timeout=30)[0]
    if "60 packets received" not in printed:
        raise Failure(f"while the manager was away: {printed}")
    node.vnode("destroy", "pair")
    node.check_nothing_left()


def deploys_that_were_killed_are_finished(scene, node):
    node.start()
    request = {"id": 1, "method": "deploy", "params": {"spec": PAIR}}
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{RUN}/manager.sock")
        connection.sendall(json.dumps(request).encode() + b"\n")
        if b'"progress"' not in connection.recv(4096):
            raise Failure("a deploy makes no progress")
        node.kill()
    node.start()
    node.await_state("pair", "running")
    a, b = pair_of(node)
    a.wait_ping(b)
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{RUN}/manager.sock")
        connection.sendall(b'{"id": 1, "method": "destroy", "params": {"slice": "pair"}}\n')
        node.kill()
    node.start()
    if node.state_of("pair"):  # it was killed before it had read that
        node.await_state("pair", "running")
        node.vnode("destroy", "pair")
    node.check_nothing_left()


class Echoes:
    """Echoes every 20 ms from one node of each pair to the other, and for how long there were none."""

    def __init__(self, scene, pairs):
        self.pings = {child.start(scene, [*a.shell, f"exec busybox ping -i 0.02 {b.address}"]): way
                      for way, (a, b) in pairs.items()}
        self.last = dict.fromkeys(pairs, time.monotonic())
        self.longest = dict.fromkeys(pairs, 0)
        self.take(20)
        self.longest = dict.fromkeys(pairs, 0)

    def take(self, count, seconds=30):
        """Returns when each pair has had so many more."""
        deadline = time.monotonic() + seconds
        left = dict.fromkeys(self.last, count)
        streams = {ping.stdout: way for ping, way in self.pings.items()}
        while any(n > 0 for n in left.values()):
            ready = select.select(list(streams), [], [], max(0, deadline - time.monotonic()))[0]
            if not ready:
                raise Failure(f"no echoes: {left}")
            for stream in ready:
                way, now = streams[stream], time.monotonic()
                left[way] -= os.read(stream.fileno(), 65536).count(b"seq=")
                self.longest[way], self.last[way] = max(self.longest[way], now - self.last[way]), now

    def end(self):
        for ping in self.pings:
            ping.kill()
        return self.longest


def killed_daemons_come_back(scene, node):
    node.start()
    node.deploy(PAIR)
    node.deploy(WIRE)
    pairs = {"by a switch": pair_of(node), "by a wire": pair_of(node, WIRE)}
    for a, b in pairs.values():
        a.wait_ping(b)
    for name in ("vnode-fastpath", "ovs-vswitchd", "ovsdb-server"):
        echoes = Echoes(scene, pairs)
        before = node.pids()[name]
        os.kill(before, signal.SIGKILL)
        echoes.take(100)
        wait_until(lambda: node.pids()[name] not in (0, before), 20, f"{name} is not started again")
        for way, seconds in echoes.end().items():
            print(f"# {name} was killed: {way}, no echo for {seconds:.2f} s")
            if seconds > BACK_SECONDS_MAX:
                raise Failure(f"{name} was killed, and {way} there was no echo for {seconds:.1f} s")
    node.await_state("pair", "running")
    node.await_state("wire", "running")
    node.vnode("destroy", "pair")
    node.vnode("destroy", "wire")
    node.check_nothing_left()


def looking_waits_for_nobody(scene, node):
    node.start()
    node.deploy(PAIR)
    nodes = "".join(f"  n{i}: {{kind: netns}}\n" for i in range(16))
    links = ", ".join(f"[n{i}, sw]" for i in range(16))
    deploy = child.start(scene, node.vnode_words(
        "deploy", "-t", node.write(f"name: many\nnodes:\n{nodes}  sw: {{kind: switch}}\nlinks: [{links}]\n")))
    times = []
    with socket.socket(socket.AF_UNIX) as connection:
        connection.connect(f"{RUN}/manager.sock")
        answers = connection.makefile("r")
        while deploy.poll() is None:
            begin = time.monotonic()
            connection.sendall(b'{"id": 1, "method": "inspect", "params": {"slice": "pair"}}\n')
            answers.readline()
            times.append(1000 * (time.monotonic() - begin))
            time.sleep(0.002)
    if deploy.returncode:
        raise Failure(deploy.communicate()[1])
    times.sort()
    slow = times[len(times) * 99 // 100]  # what is slower waited for a CPU
    print(f"# {len(times)} inspections while 16 nodes were deployed: p99 {slow:.1f} ms, at most {times[-1]:.1f} ms")
    if len(times) < 10 or slow > INSPECT_MS_MAX:
        raise Failure(f"of {len(times)} inspections, one in a hundred took {slow:.0f} ms")
    node.vnode("destroy", "many")
    node.vnode("destroy", "pair")
    node.check_nothing_left()


def nodes_are_taken_down_and_up(scene, node):
    node.start()
    node.deploy(PAIR)
    pids = node.pids()
    node.take_down()
    if node.manager.wait(10):
        raise Failure(f"the manager ended with status {node.manager.returncode}")
    for name, pid in pids.items():
        if os.path.exists(f"/proc/{pid}"):
            raise Failure(f"{name} still runs")
    node.start()
    node.await_state("pair", "running")
    a, b = pair_of(node)
    a.wait_ping(b)
    node.kill()
    node.take_down()  # without a manager, too
    node.start()
    node.await_state("pair", "running")
    node.vnode("destroy", "pair")
    node.check_nothing_left()


if __name__ == "__main__":
    run_node_cases([slices_come_and_go, what_cannot_be_is_refused, killed_managers_disturb_nothing,
                    deploys_that_were_killed_are_finished, killed_daemons_come_back, looking_waits_for_nobody,
                    nodes_are_taken_down_and_up])
