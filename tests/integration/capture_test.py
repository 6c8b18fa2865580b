#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vnode capture` on ports with traffic: what it shows, and that nobody else notices it."""
import itertools
import os
import re
import signal

import child
from harness import Failure, build_path, run_cases, wait_until
from network import run
from uplinks import add, private_pair


class Capture:
    """`vnode capture PORT` into a file. It has begun when the file has its header."""

    numbers = itertools.count()

    def __init__(self, pair, name, *options):
        self.file = pair.scene.path(f"{next(Capture.numbers)}.pcapng")
        self.process = child.start(pair.scene, [build_path("cli/vnode"), "--socket", pair.fast_path.control,
                                                "capture", name, "-w", self.file, *options])
        child.await_content(self.process, self.file)

    def finish(self):
        """Ends it as Ctrl-C does, unless it has ended. Returns packets captured and missed."""
        if self.process.poll() is None:
            self.process.send_signal(signal.SIGINT)
        errors = self.process.communicate(timeout=20)[1]
        found = re.search(r"(\d+) packets captured, (\d+) missed", errors)
        if self.process.returncode or not found:
            raise Failure(f"vnode capture ended with status {self.process.returncode}: {errors}")
        return int(found[1]), int(found[2])

    def lines(self, expression=""):
        """What tcpdump reads of it."""
        return run(f"tcpdump -n -r {self.file} {expression} 2>/dev/null").splitlines()


@private_pair()
def both_directions_are_shown(pair):
    captures = [Capture(pair, name) for name in ("tap", "veth")]
    pair.here.ping(pair.there, size=1000, count=10)
    for capture in captures:
        captured, missed = capture.finish()
        requests, replies = (capture.lines(f"icmp[icmptype] == icmp-echo{kind}") for kind in ("", "reply"))
        if missed or len(requests) != 10 or len(replies) != 10 or captured < 20:
            raise Failure(f"{captured} captured, {missed} missed: {requests} {replies}")
        if any("10.1.0.1 > 10.1.0.2" not in line or "length 1008" not in line for line in requests):
            raise Failure(f"the requests are not those that were sent: {requests}")


@private_pair()
def snap_length_and_count_bound_it(pair):
    capture = Capture(pair, "veth", "-s", "60", "-c", "7")
    pair.here.ping(pair.there, size=1400, count=10)
    captured, _ = capture.finish()
    if captured != 7 or os.path.getsize(capture.file) > 7 * 200 + 1000:
        raise Failure(f"{captured} packets in {os.path.getsize(capture.file)} bytes")
    if not any("length 1408" in line for line in capture.lines()):
        raise Failure("the packets' own size is lost")


@private_pair()
def slow_reader_slows_nobody(pair):
    """The reader stands still while a port that never pauses fills its ring; another port loses nothing."""
    add(pair.fast_path, "flood", "net_null0,size=1500")
    capture = Capture(pair, "flood", "-s", "1500")
    capture.process.send_signal(signal.SIGSTOP)
    pair.here.ping(pair.there, count=50)
    capture.process.send_signal(signal.SIGCONT)
    captured, missed = capture.finish()
    if not captured or not missed:
        raise Failure(f"{captured} captured, {missed} missed")


@private_pair()
def captures_come_and_go_under_traffic(pair):
    def replies():
        return pair.fast_path.query("stats", "veth")[0]["rx_packets"]
    before = replies()
    ping = pair.scene.start("ping", ["busybox", "ping", "-q", "-c", "300", "-i", "0.01", "-W", "3", pair.there.address])
    while ping.poll() is None:
        capture = Capture(pair, "tap")
        second = Capture(pair, "tap")
        errors = second.process.communicate(timeout=20)[1]
        if second.process.returncode == 0 or "already" not in errors:
            raise Failure(f"a second capture was told: {errors}")
        if capture.process.pid % 2:
            capture.finish()
        else:
            capture.process.kill()
            capture.process.wait()
            # The fast path notices when it gets to it.
            wait_until(lambda: "0 missed" in Capture(pair, "tap", "-c", "1").process.communicate(timeout=20)[1],
                       10, "the capture of a client that is gone goes on")
    # Not what ping says: it waits for the last ones no longer than twice what the slowest so far took.
    wait_until(lambda: replies() >= before + 300, 20, "not all echoes have come back")
    dropped = {name: sum(stats["drops"].values()) for name in ("tap", "veth")
               for stats in pair.fast_path.query("stats", name)}
    if any(dropped.values()):
        raise Failure(f"packets were dropped: {dropped}")


@private_pair()
def capture_ends_with_its_port(pair):
    capture = Capture(pair, "veth")
    pair.here.ping(pair.there)
    pair.fast_path.vnode("port", "del", "veth")
    capture.process.wait(10)
    captured, _ = capture.finish()
    if captured < 10:
        raise Failure(f"{captured} packets captured")


if __name__ == "__main__":
    run_cases([both_directions_are_shown, snap_length_and_count_bound_it, slow_reader_slows_nobody,
               captures_come_and_go_under_traffic, capture_ends_with_its_port])
