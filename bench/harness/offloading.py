# SPDX-License-Identifier: Apache-2.0
"""Open vSwitch deciding and the fast path forwarding: what a node runs, as switches under test.

The fast path's worker has core 1, as the other switches do. Open vSwitch's PMD thread has core 2, or, where there are
only two, shares core 0 with the guests. Then both give the core up when they have nothing to do: the PMD thread sleeps
(pmd-maxsleep), the guests take naps, as virtual machines do whose virtual CPU halts. So none of them waits for the
end of another's time slice. The thread that controls the fast path runs before them all.
"""
import os

from harness.switches import CONTROL_CORE, SWITCH_CORE, FastPath, OpenVSwitch, settle
from harness.system import BenchError, built, run_first, wait_for
from openvswitch import Driver

PMD_CORE = 2 if os.cpu_count() > 2 else CONTROL_CORE
# Settings of rounds (bench/loadgen/command.h). With more under way than a window, a short absence of either would overflow rings.
NAPS = {"nap": 1, "window": "auto"} if PMD_CORE == CONTROL_CORE else {"nap": 0}


class HandMade(FastPath):
    """The fast path with the rules that Open vSwitch would give it, made by hand."""
    name = "vnode, same rules"
    port_match, udp_match = "vlan=0 ip ip_frag=no", "vlan=0 udp ip_frag=no"


class SharedOpenVSwitch(OpenVSwitch):
    """Open vSwitch with its PMD thread where it is when there is a fast path."""
    pmd_core = PMD_CORE
    pmd_sleep_us_max = 100
    round_settings = warm_up_settings = NAPS

    def settings(self):
        sleep = [f"pmd-maxsleep={self.pmd_sleep_us_max}"] if self.pmd_core == CONTROL_CORE else []
        return super().settings() + sleep


class Offloaded(SharedOpenVSwitch):
    """The fast path with rules by Open vSwitch. 'mode': the node's mode of offloading."""
    name = "vnode, offload"
    memory_mib = FastPath.memory_mib + OpenVSwitch.memory_mib
    mode = "on"
    worker_core = SWITCH_CORE
    moves_max = 1000000  # that begin in a second; 0: as many as is usual
    round_settings = {"nap": 0}  # Once its flows are offloaded, the PMD thread needs the guests' core for moments only:
    pmd_sleep_us_max = 1000

    def start(self):
        # Ports are added by Open vSwitch, through its driver.
        self.fast_path = FastPath(self.system, [], self.huge, self.frame_size_max, self.tso)
        self.fast_path.name = self.name + ", fast path"
        self.fast_path.core = self.worker_core
        self.fast_path.options = (*FastPath.options, f"--offload={self.mode}")
        self.fast_path.start()
        self.processes = list(self.fast_path.processes)
        self.driver = Driver(built("pmd/librte_net_vnode.so"), self.fast_path.socket)
        self.system.cleanups.append(self.driver.remove)
        super().start()
        # The process's first thread is the one that controls.
        run_first([self.fast_path.processes[0].pid])
        if self.moves_max:
            self.fast_path.vnode("offload", "set", f"moves={self.moves_max}")

    def settings(self):
        # The fast path cuts up what a guest leaves whole before Open vSwitch sees it.
        return [s for s in super().settings() if not s.startswith("userspace-tso-enable")]

    def clear_cycles(self):
        super().clear_cycles()
        self.fast_path.clear_cycles()

    def cycles_of_each(self):
        """(worker's busy cycles, packets it forwarded, PMD's, packets it received), since clear_cycles()."""
        return (*self.fast_path.busy_cycles(), *super().busy_cycles())

    def busy_cycles(self):
        worker, packets, pmd, _ = self.cycles_of_each()
        return worker + pmd, packets

    def is_warm(self):
        """All that came was forwarded by the fast path alone."""
        return super().busy_cycles()[1] == 0

    def kill_daemon(self):
        """What a crash of Open vSwitch does."""
        self.ovs.kill_daemon()
        self.processes.remove(self.ovs.daemon)

    def begin_daemon(self):
        """Starts Open vSwitch anew on the database that is there, as ovs-ctl does: it decides nothing yet."""
        self.ovs.vsctl("--no-wait", "set", "Open_vSwitch", ".", "other_config:flow-restore-wait=true")
        self.ovs.begin_daemon()
        self.processes.append(self.ovs.daemon)

    def restore_rules(self, kind, n_flows):
        """Gives a new Open vSwitch its OpenFlow rules, and lets it decide."""
        self.ovs.wait_daemon()
        self.revalidators_paused = False
        self.set_rules(kind, n_flows)
        self.ovs.vsctl("remove", "Open_vSwitch", ".", "other_config", "flow-restore-wait")

    def moves(self):
        return self.fast_path.ask("moves")

    def rules(self):
        """Counts of the vSwitch's rules: rules, inside, moving, ..."""
        return self.fast_path.ask("offload", "show")

    def set_mode(self, mode, *scope):
        self.fast_path.vnode("offload", mode, *scope)


class Onload(Offloaded):
    """The same with no rule offloaded: every packet goes through Open vSwitch, by the rings."""
    name = "vnode, onload"
    mode = "off"
    round_settings = NAPS
    pmd_sleep_us_max = SharedOpenVSwitch.pmd_sleep_us_max

    def busy_cycles(self):
        worker, _, pmd, packets = self.cycles_of_each()
        return worker + pmd, packets

    def is_warm(self):
        return OpenVSwitch.is_warm(self)


class OnloadPmdAlone(Onload):
    """The same the other way round: the PMD thread has core 1, and the worker shares core 0 with the guests."""
    name = "vnode, onload, PMD alone"
    pmd_core, worker_core = SWITCH_CORE, CONTROL_CORE


def start_with_guests(switch, generator):
    """Starts the switch between the generator's guests, and waits until all ports have their guests."""
    switch.start()
    generator.connect()
    settle(switch)
    return switch


def wait_for_rules(switch, n, seconds=30):
    """Waits until Open vSwitch has given 'n' rules or more, and none moves."""
    def are_there():
        rules = switch.rules()
        return rules["rules"] >= n and not rules["moving"] and not rules["waiting"] and not rules["queued"]
    try:
        wait_for(are_there, seconds, "rules")
    except BenchError as error:
        raise BenchError(f"Open vSwitch has given {switch.rules()['rules']} rules of {n} in {seconds} s: "
                         f"{switch.ovs.offload_statistics()}") from error
