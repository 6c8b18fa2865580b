# SPDX-License-Identifier: Apache-2.0
"""The evaluation with the load generator's virtio guests, which saturate the switch.

TARGET is a virtio guest of the same generator for each port: all guests of that port share it (loadgen --targets). So what is between
guests and TARGET is the switch alone, and no kernel, no NIC and no wire are its limit.
"""
import statistics

from harness.loadgen import LoadGenerator
from harness.offloading import NAPS, Offloaded, settle, start_with_guests, wait_for_rules
from harness.switches import OpenVSwitch
from harness.system import wait_for

from evaluation.cpu import HostCpu
from evaluation.matrix import OFFLOAD, ONLOAD, PLAIN, SEND, Cell, check_path, port_of

KIND = "loadgen"
ETHERNET_BYTES = 14
FRAME_MAX = 9018
PMD_SLEEP_US = 100
WARM_UP_ROUNDS = 60
MOVE_SECONDS_MAX = 20


def mac(player):
    """As bench/loadgen/traffic.h has it."""
    return f"02:00:00:00:00:{player:02x}"


class Steered:
    """A switch with the first 'n_guests' of its ports for guests and the others for TARGET; MAC addresses decide."""

    n_guests = 0

    def set_rules(self, *_):
        n_ports = len(self.sockets) - self.n_guests
        rules = []
        for guest in range(self.n_guests):
            target = self.n_guests + port_of(guest, self.n_guests, n_ports) + 1
            rules += [f"in_port={guest + 1},dl_dst={mac(2 * guest + 1)},actions=output:{target}",
                      f"in_port={target},dl_dst={mac(2 * guest)},actions=output:{guest + 1}"]
        self.replace_flows(rules)


class Vnode(Steered, Offloaded):
    """Fast path and Open vSwitch; the offload mode says who forwards."""
    name = "vnode"
    mode = "off"
    pmd_sleep_us_max = PMD_SLEEP_US

    def is_warm(self):
        return OpenVSwitch.is_warm(self)

    def move(self, path, n_rules):
        self.set_mode("on" if path == OFFLOAD else "off")
        wait_for_rules(self, n_rules)

    def processes_of_host(self):
        return [process.pid for process in self.processes]

    def seen(self):
        """(packets that came, those of them that Open vSwitch got)"""
        ports = self.fast_path.ask("stats")
        return sum(port["rx_packets"] for port in ports), sum(port["to_vswitch"] for port in ports)


class Plain(Steered, OpenVSwitch):
    """Open vSwitch with ports of its own. Its PMD thread may sleep, too: else it would be busy whatever it does."""
    name = "ovs"

    def settings(self):
        return super().settings() + [f"pmd-maxsleep={PMD_SLEEP_US}"]

    def processes_of_host(self):
        return [process.pid for process in self.processes]


class Lane:
    """One of these switches with its guests."""

    def __init__(self, run, kind, guests, ports):
        # In ordinary pages, as a node has by default.
        self.generator = LoadGenerator(run, f"{kind.name}-guests", FRAME_MAX, huge=False, n_guests=guests + ports,
                                       options=(f"--targets={ports}",))
        self.switch = kind(run, self.generator.sockets, False, FRAME_MAX)
        self.switch.n_guests = guests
        start_with_guests(self.switch, self.generator)
        self.switch.set_rules()
        self.cpu = HostCpu(self.switch.processes_of_host())
        self._warm_up()
        self.switch.pause()

    def _warm_up(self):
        """Until the switch knows all flows."""
        def is_warm():
            self.switch.clear_cycles()
            return self.round(ONLOAD, seconds=0.1, size=64, direction="both")["received"] and self.switch.is_warm()
        wait_for(is_warm, WARM_UP_ROUNDS, f"{self.switch.name} to know the flows")

    def round(self, path, **settings):
        # Where two cores are all there is, Open vSwitch's PMD thread needs the guests' core while it forwards.
        naps = NAPS if path == ONLOAD else {"nap": 0}
        return self.generator.round(**{"window": "auto", "rate": 0, "verify": 0, "drain": 0.2, "write_off": 5, **naps, **settings})

    def measure(self, cell, seconds):
        """(Gbit/s, host's CPU, lost packets) of one round."""
        settle(self.switch)
        if cell.path != PLAIN:
            self.switch.move(cell.path, 2 * cell.guests)
        settings = {"size": cell.mtu + ETHERNET_BYTES, "direction": "forward" if cell.direction == SEND else "backward"}
        self.round(cell.path, seconds=0.02, **settings)
        before = self.switch.seen() if cell.path != PLAIN else None
        self.cpu.begin()
        result = self.round(cell.path, seconds=seconds, **settings)
        percent = self.cpu.percent(result["seconds"])
        if before:
            came, onload = (now - then for now, then in zip(self.switch.seen(), before))
            check_path(cell, 1 - onload / came)
        self.switch.pause()
        return result["gbps"], percent, result["lost"]

    def stop(self):
        self.switch.stop()
        self.generator.stop()


def evaluate(run, selection, options, results, progress):
    """All cells of the selection. Paths take turns, since cores of shared hosts drift; a figure is the median of the rounds."""
    for guests, ports in selection.setups():
        progress(f"{guests} guests, {ports} ports: starting")
        kinds = [kind for kind, paths in ((Vnode, {ONLOAD, OFFLOAD}), (Plain, {PLAIN})) if paths & set(selection.paths)]
        lanes = {kind: Lane(run, kind, guests, ports) for kind in kinds}
        for direction, mtu in selection.loads():
            cells = [Cell(guests, ports, path, direction, mtu) for path in selection.paths]
            rounds = {cell: [] for cell in cells}
            for number in range(options.rounds):
                for cell in cells:
                    progress(f"{cell}: round {number + 1} of {options.rounds}")
                    rounds[cell].append(lanes[Plain if cell.path == PLAIN else Vnode].measure(cell, options.round_seconds))
            for cell, measured in rounds.items():
                gbps, percent, lost = zip(*measured)
                results.add(cell, KIND, statistics.median(gbps), statistics.median(percent), None, sum(lost))
        for lane in lanes.values():
            lane.stop()
