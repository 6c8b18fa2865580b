# SPDX-License-Identifier: Apache-2.0
"""What is measured: set-ups of guests and ports, and in each of them cells of path, direction and MTU."""
import json
import os
from dataclasses import dataclass

from harness.system import BenchError

GUESTS = (1, 2, 4, 8)
PORTS = (1, 2)
ONLOAD, OFFLOAD, PLAIN = "onload", "offload", "plain"
PATHS = (ONLOAD, OFFLOAD, PLAIN)
SEND, RECEIVE = "send", "receive"  # as the guests see it
DIRECTIONS = (SEND, RECEIVE)
MTUS = (1500, 9000)
OFFLOADED_MIN, ONLOADED_MAX = 0.9, 0.1  # shares of packets that pass Open vSwitch by: what a path has to be to bear its name


@dataclass(frozen=True)
class Cell:
    guests: int
    ports: int
    path: str
    direction: str
    mtu: int

    def __str__(self):
        return f"{self.guests} guests, {self.ports} ports, {self.path}, {self.direction}, MTU {self.mtu}"


@dataclass(frozen=True)
class Selection:
    """Which of all cells."""
    guests: tuple = GUESTS
    ports: tuple = PORTS
    paths: tuple = PATHS
    directions: tuple = DIRECTIONS
    mtus: tuple = MTUS

    def setups(self):
        """(guests, ports) pairs. A port without a guest is none."""
        return [(guests, ports) for ports in self.ports for guests in self.guests if ports <= guests]

    def loads(self):
        """(direction, MTU) pairs; all paths are measured one after the other under each."""
        return [(direction, mtu) for mtu in self.mtus for direction in self.directions]


def port_of(guest, guests, ports):
    """The port that a guest is fixed to: of 8 guests and 2 ports, the first 4 use the first one."""
    return guest * ports // guests


def check_path(cell, passed_by):
    """Fails when the packets did not go the way that the cell says. 'passed_by': the share of them that Open vSwitch did not see."""
    if cell.path == OFFLOAD and passed_by < OFFLOADED_MIN or cell.path == ONLOAD and passed_by > ONLOADED_MAX:
        raise BenchError(f"{cell}: {100 * passed_by:.0f} % of the packets passed Open vSwitch by; 'vnode flows' tells the reasons")


class Results:
    """The figures of all cells, written as they come in."""

    def __init__(self, path):
        self.rows = []
        self.path = path
        os.makedirs(os.path.dirname(os.path.abspath(path)), exist_ok=True)
        with open(path, "w", encoding="ascii"):
            pass

    def add(self, cell, kind, gbps, host_cpu_percent, retransmits, lost):
        row = {"guests": cell.guests, "guest_kind": kind, "ports": cell.ports, "path": cell.path, "direction": cell.direction,
               "mtu": cell.mtu, "gbps": round(gbps, 4), "host_cpu_percent": round(host_cpu_percent, 1),
               "retransmits": retransmits, "lost": lost}
        self.rows.append(row)
        with open(self.path, "a", encoding="ascii") as file:
            file.write(json.dumps(row) + "\n")
