# SPDX-License-Identifier: Apache-2.0
"""The same scenario twice: with Open vSwitch as Debian ships it, and with the fast path below it. Whatever can be seen
from outside has to be equal: the frames of each guest, byte by byte and in order, and the counters of flows and ports.

    def forwarding(run):
        run.bridge("ab", flows="in_port=1 actions=output:2")
        run.onload("a", frame, "b")         # one frame, through Open vSwitch; returns when b has it
        run.await_rules("a>b")              # what is offloaded now, all of it
        run.offloaded("a", [frame] * 9, "b")  # nine frames, past Open vSwitch

    if __name__ == "__main__":
        run_scenarios([forwarding])

A guest is a letter, and so is its port; the OpenFlow number of "a" is 1, and so on. A rule is written as its input and its outputs:
"a>b", "a>b,c", "a>drop". Where a frame went is proved by the fast path's counters: at the end
Open vSwitch must have got exactly those sent by onload(). On plain Open vSwitch, which frames are called what makes no difference.

Both sides run at the same time, each in a network namespace and a thread of its own.
"""
import collections
import concurrent.futures
import os
import re

from fast_path import FastPath
from frame_guests import WAIT_SECONDS, FrameGuests
from frames import checksums_are_right
from harness import Failure, Scene, build_path, run_cases, wait_until
from switch_host import make_switch
import network
from openvswitch import Driver

GUESTS = "abcd"
# Open vSwitch looks at flows each 100 ms, so that waiting for that takes less than by default, and does not forget those that had no
# frame for a while, so that a busy machine gets the same flows as an idle one.
SETTINGS = ["max-revalidator=100", "max-idle=120000"]
# What it may complain of: matches that the driver refuses, rules that could not be offloaded any more and therefore are not, and a busy
# machine.
EXPECTED = re.compile(r"rte_flow creation failed: 13 |Failed flow: |is not associated with an rte flow|does not answer; it will")
COMPLAINT = re.compile(r"\|(dpdk|netdev_dpdk|netdev_offload\w*|dpif_netdev)(\(.*?\))?\|(WARN|ERR|EMER)\|")


def number(name):
    """The OpenFlow port of a guest."""
    return GUESTS.index(name) + 1


def rule_name(port, outputs):
    return f"{port}>{','.join(sorted(outputs)) or 'drop'}"


class Side:
    """One Open vSwitch with its guests. All of it belongs to the thread that calls start()."""

    def __init__(self, scene, name, has_fast_path):
        self.scene = scene
        self.name = name
        self.has_fast_path = has_fast_path
        self.fast_path = self.switch = self.guests = self.log = None

    def start(self):
        network.enter_private_network()
        driver = None
        if self.has_fast_path:
            self.fast_path = FastPath(self.scene).start()
            driver = Driver(build_path("pmd/librte_net_vnode.so"), self.fast_path.control)
        self.switch = make_switch(self.scene, self.name, driver, SETTINGS)
        self.switch.start()
        if driver:  # it is to say when a port is ready
            self.switch.appctl("dpdk/log-set", "pmd.net.vnode:info")
            self.switch.appctl("vlog/set", "dpdk:console:info")
        self.log = self.scene.log(self.name)
        self.guests = FrameGuests(self.scene, self.scene.path(self.name + "-guests"), GUESTS)

    def stop(self):
        if self.switch:
            self.switch.stop()
        if self.fast_path and self.fast_path.process:
            self.fast_path.stop()


class Run:
    """A scenario on one side."""

    def __init__(self, side):
        self.side = side
        self.switch = side.switch
        self.guests = side.guests
        self.has_fast_path = side.has_fast_path
        self.bridges = {}  # name: its guests
        self.n_sent = collections.Counter()
        self.n_onload = collections.Counter()
        self.n_expected = collections.Counter()  # frames received
        self.n_again = 0  # of the frames, those that come to table 0 of another bridge, too
        self.n_gone = 0   # of the frames, those that no flow counts, or one that is gone
        self.drops = []       # reasons for which the fast path may drop
        self.has_wrong_checksums = False  # the scenario sends them
        self.has_stream = False  # its frames are others on each side: the scenario checks them and all counters itself
        self.normalise = lambda frame: frame  # makes equal what may differ; the scenario says why
        self.more = []  # functions: what they return has to be equal, too
        for frames in self.guests.received.values():
            frames.clear()

    # --- what there is

    def bridge(self, guests, name="br0", flows="actions=drop", port=None, settings=()):
        """A bridge with ports for these guests; returns when all are up. 'port': settings of a port by guest."""
        self.bridges[name] = guests
        words = ["add-br", name, "--", "set", "Bridge", name, "datapath_type=netdev", "fail_mode=secure",
                 f"other_config:hwaddr=52:54:00:00:ff:{len(self.bridges):02x}", *settings]
        for guest in guests:
            words += ["--", *self.switch.add_port(name, guest, self.guests.paths[guest], number(guest),
                                                  port=(port or {}).get(guest, ()))]
        log_size = os.path.getsize(self.side.log)
        self.switch.vsctl(*words)
        self.guests.await_up(guests)
        for guest in guests:
            wait_until(lambda: self._is_ready(guest, log_size), WAIT_SECONDS, f"the port of {guest} is not ready")
        self.flows(flows, name)  # last: they may be such that end when they are not used

    def _is_ready(self, guest, log_size):
        """Open vSwitch tells of a link of type dpdk after up to five seconds, and passes frames long before."""
        if not self.has_fast_path:
            return self.switch.vsctl("get", "Interface", guest, "link_state").strip() == "up"
        with open(self.side.log, encoding="utf-8") as log:
            log.seek(log_size)
            return f"port {guest}: it is port " in log.read()

    def flows(self, text, bridge="br0"):
        """These flows, one a line, and no others."""
        lines = "\n".join(line.strip() for line in text.splitlines())
        self.switch.ofctl("replace-flows", bridge, "-", text=lines)

    def ofctl(self, command, *words, bridge="br0", text=None):
        return self.switch.ofctl(command, bridge, *words, text=text)

    def describe(self):
        """For who wants to know why it failed."""
        parts = [self.switch.appctl("dpctl/dump-flows", "--names", "netdev@ovs-netdev"), f"{self.port_counters()}\n"]
        if self.has_fast_path:
            parts += [self.side.fast_path.vnode(command) for command in ("flows", "stats", "drops")]
        return "".join(parts)

    def close(self):
        if self.bridges:
            self.switch.vsctl(*" -- ".join(f"--if-exists del-br {name}" for name in self.bridges).split())
        self.guests.await_up(GUESTS, up=False)

    # --- frames

    def onload(self, sender, frames, receivers=""):
        """Sends frames that Open vSwitch will see; returns when each receiver has got all of them."""
        self._send(sender, frames, receivers, self.n_onload)

    def onload_anywhere(self, sender, frames, receivers):
        """The same, where each frame goes to one of the receivers; which, the other side decides in the same way."""
        for frame in frames:
            before = self.guests.n_received(receivers)
            self.onload(sender, frame)
            self.guests.await_any(receivers, before)
            for receiver, n in self.guests.n_received(receivers).items():
                self.n_expected[receiver] += n - before[receiver]

    def offloaded(self, sender, frames, receivers=""):
        """Sends frames that the fast path forwards, or drops, by itself."""
        self._send(sender, frames, receivers, None)

    def start_stream(self, sender, frame):
        """Numbered frames until the guests' stop_stream()."""
        self.has_stream = True
        self.guests.start_stream(sender, frame)

    def _send(self, sender, frames, receivers, counter):
        frames = [frames] if isinstance(frames, bytes) else frames
        self.n_sent[sender] += len(frames)
        if counter is not None:
            counter[sender] += len(frames)
        for receiver in receivers:
            self.n_expected[receiver] += len(frames)
        self.guests.send(sender, frames)
        self.guests.await_frames(self.n_expected)

    # --- states to wait for

    def revalidate(self):
        """Returns when Open vSwitch has looked at all its flows, twice: a look may have begun before."""
        for _ in range(2):
            self.switch.appctl("revalidator/wait")

    def forget_flows(self):
        """Takes all flows out of the datapath when they are counted, for two things that Open vSwitch does by chance: it may count what
        met a flow which leads to a controller for the flow that the controller's answer made; and when it looks at a flow in
        the moment in which it changes its offloaded rule, it does not see the rule's counters, and takes them for new ones later."""
        self.await_counted()
        self.switch.appctl("revalidator/purge")
        # Its offload thread takes the rules out afterwards.
        wait_until(lambda: not self.has_fast_path or not self.rules(), WAIT_SECONDS, "rules are left of flows that are gone")

    def await_counted(self):
        """Returns when the flows of table 0 have counted all that was sent. That Open vSwitch sees them used has effects:
        what is learned stays so, or is learned anew."""
        wait_until(lambda: sum(int(n) for flow in self.flow_counters() for n in re.findall(r"table=0, n_packets=(\d+)", flow))
                   == sum(self.n_sent.values()) + self.n_again - self.n_gone, WAIT_SECONDS, f"flows did not count the frames sent, {dict(self.n_sent)}: "
                   f"{self.flow_counters()}")

    def rules(self):
        """Of the fast path: the vSwitch's rules, as query("flows") tells them, each with its 'name'."""
        rules = self.side.fast_path.query("flows")
        for rule in rules:
            rule["name"] = rule_name(rule["in"], [action.partition(":")[2] for action in rule["actions"]
                                                  if action.startswith("output:")])
        return rules

    def datapath_flows(self):
        """The flows of Open vSwitch's datapath, named as rules are."""
        found = re.findall(r"in_port\((\w+)\).* actions:(.*)",
                           self.switch.appctl("dpctl/dump-flows", "--names", "netdev@ovs-netdev"))
        return [rule_name(port, [word for word in re.split("[(),]", actions) if word and word in GUESTS])
                for port, actions in found]

    def await_rules(self, *names):
        """Returns when these rules are offloaded, and there are no others; on plain Open vSwitch, when there are such flows."""
        seen = []

        def agrees():
            if self.has_fast_path:
                seen[:] = self.rules()
                return (collections.Counter(rule["name"] for rule in seen) == collections.Counter(names)
                        and all(rule["state"] == "offloaded" for rule in seen))
            seen[:] = self.datapath_flows()
            return not collections.Counter(names) - collections.Counter(seen)
        self.revalidate()
        try:
            wait_until(agrees, WAIT_SECONDS, "")
        except Failure:
            there = [(rule["name"], rule["state"], rule["reason"]) for rule in seen] if self.has_fast_path else seen
            raise Failure(f"there should be the rules {names}, and there are: {there}") from None

    # --- what there is to compare

    def flow_counters(self):
        """The flows of all bridges with their counters, but for what depends on the time."""
        return sorted(bridge + re.sub(r" (duration|idle_age|hard_age)=[^,]*,", "", line) for bridge in self.bridges
                      for line in self.ofctl("dump-flows", "--no-names", bridge=bridge).splitlines() if "cookie" in line)

    def port_counters(self):
        """Of each guest's port: packets and bytes, received and sent."""
        text = "".join(self.ofctl("dump-ports", "--no-names", bridge=bridge) for bridge in self.bridges)
        found = re.findall(r"port +(\d+): rx pkts=(\d+), bytes=(\d+).*\n\s+tx pkts=(\d+), bytes=(\d+)", text)
        return {GUESTS[int(port) - 1]: [int(value) for value in values] for port, *values in found if int(port) <= len(GUESTS)}

    def comparisons(self):
        return [] if self.has_stream else [self.flow_counters, self.port_counters, *self.more]

    def finish(self):
        """Returns when all is counted; fails if frames are missing, or are too many, or went another way than they should."""
        if self.has_stream:
            return

        def all_counted():
            counters = self.port_counters()
            return all(counters[name][0] == self.n_sent[name] and counters[name][2] == len(self.guests.received[name])
                       for guests in self.bridges.values() for name in guests)
        self.guests.look()
        self.await_counted()
        wait_until(all_counted, WAIT_SECONDS, f"ports did not count what guests sent {dict(self.n_sent)} "
                   f"and received { {name: len(frames) for name, frames in self.guests.received.items()} }: "
                   f"{self.port_counters()}")
        self.revalidate()
        self.guests.look()
        received = {name: len(frames) for name, frames in self.guests.received.items() if frames}
        if received != dict(self.n_expected):
            raise Failure(f"expected {dict(self.n_expected)} frames, received {received}")
        if not self.has_wrong_checksums:
            for name, frames in self.guests.received.items():
                for frame in frames:
                    if not checksums_are_right(frame):
                        raise Failure(f"{name} received a frame with a wrong checksum: {frame.hex()}")
        if self.has_fast_path:
            self._check_ways()

    def _check_ways(self):
        """Open vSwitch must have got what it should, and nothing else."""
        stats = {port["name"]: port for port in self.side.fast_path.query("stats")}
        onload = {name: port["to_vswitch"] for name, port in stats.items() if port["to_vswitch"]}
        if onload != {name: n for name, n in self.n_onload.items() if n}:
            raise Failure(f"of {dict(self.n_sent)} frames Open vSwitch should have got {dict(self.n_onload)}, it got {onload}")
        self.side.fast_path.check_drops(self.drops)


class Lab:
    """Both sides, for all scenarios of a file. 'parallel': they run at the same time."""

    def __init__(self, parallel=True):
        self.scene = Scene()
        self.parallel = parallel
        self.sides = [Side(self.scene, "plain", False), Side(self.scene, "vnode", True)]
        # A thread each, for good: namespaces are per thread, and children die with the thread that started them.
        self.threads = [concurrent.futures.ThreadPoolExecutor(1) for _ in self.sides]
        self.is_started = False

    def _in_threads(self, functions):
        futures = []
        for thread, function in zip(self.threads, functions):
            futures.append(thread.submit(function))
            if not self.parallel:
                concurrent.futures.wait(futures)
        return [future.result() for future in futures]

    def start(self):
        self.is_started = True
        self._in_threads([side.start for side in self.sides])

    def case(self, scenario):
        """The scenario as a test case."""
        def run_case(scene):
            try:
                if not self.is_started:
                    self.start()
                self._compare(scenario)
            finally:
                scene.logs += self.scene.logs
        run_case.__name__ = scenario.__name__
        return run_case

    def _compare(self, scenario):
        runs = [Run(side) for side in self.sides]

        def play(run):
            try:
                scenario(run)
                run.finish()
            except Failure as failure:
                raise Failure(f"{run.side.name}: {failure}\n{run.describe()}") from failure
        try:
            self._in_threads([lambda run=run: play(run) for run in runs])
            plain, vnode = runs
            for name in GUESTS:
                compare_frames(name, *([run.normalise(frame) for frame in run.guests.received[name]] for run in runs))
            for one, other in zip(plain.comparisons(), vnode.comparisons()):
                wait_equal(one, other)
        finally:
            self._in_threads([run.close for run in runs])

    def logs_are_clean(self, scene):
        """The last case: both end in order, and have not complained."""
        try:
            self._in_threads([side.stop for side in self.sides])
            for check in self.scene.checks:
                check()
            with open(self.scene.log("vnode"), encoding="utf-8") as log:
                bad = [line for line in log if COMPLAINT.search(line) and not EXPECTED.search(line)]
            if bad:
                raise Failure("Open vSwitch complains: " + "".join(bad))
        finally:
            scene.logs += self.scene.logs

    def close(self):
        self.scene.close()
        for side in self.sides:
            if side.switch and side.switch.driver:
                side.switch.driver.remove()
        for thread in self.threads:
            thread.shutdown()


def compare_frames(name, plain, vnode):
    for i, (one, other) in enumerate(zip(plain, vnode)):
        if one != other:
            raise Failure(f"frame {i} of guest {name} differs; by plain Open vSwitch:\n{one.hex()}\n"
                          f"with the fast path:\n{other.hex()}")
    if len(plain) != len(vnode):
        raise Failure(f"guest {name} received {len(plain)} frames by plain Open vSwitch, {len(vnode)} with the fast path")


def wait_equal(plain, vnode):
    """Counters of the fast path reach Open vSwitch some time later, but they do."""
    seen = []

    def agree():
        seen[:] = plain(), vnode()
        return seen[0] == seen[1]
    try:
        wait_until(agree, WAIT_SECONDS, "")
    except Failure:
        raise Failure("counters differ; by plain Open vSwitch:\n{}\nwith the fast path:\n{}".format(*seen)) from None


def run_scenarios(scenarios, parallel=True):
    lab = Lab(parallel)
    try:
        run_cases([*map(lab.case, scenarios), lab.logs_are_clean])
    finally:
        lab.close()
