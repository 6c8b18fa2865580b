#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""vnode flows, offload, slice and moves, with a vSwitch attached to a fast path without packets.

Usage: cli_offload_test.py VNODE FAKE_FASTPATH FAKE_VSWITCH
"""
import os
import pty
import signal
import subprocess
import sys
import time
import unittest

from cli_harness import VNODE, CommandLineTest

VSWITCH = os.path.abspath(sys.argv[3])


class Offload(CommandLineTest):
    """Ports vm1 and up as in the other tests; vm1 and up2 have a link."""

    def setUp(self):
        super().setUp()
        self.vnode("port", "add", "vm1", "vhost=/run/vm1.sock", "slice=red")
        self.vnode("port", "add", "down", "vhost=/run/vm2.sock", "slice=red")
        self.vnode("port", "add", "up", "dpdk=net_tap0", "slice=blue")
        self.attach()

    def stop(self):
        self.detach()
        super().stop()

    def attach(self):
        self.vswitch = subprocess.Popen([VSWITCH, self.socket], stdin=subprocess.PIPE, stdout=subprocess.PIPE,
                                        text=True)
        self.assertTrue(self.vswitch.stdout.readline().startswith("attached "))

    def detach(self):
        if self.vswitch.stdin.closed:
            return
        self.vswitch.stdin.close()
        self.assertEqual(self.vswitch.wait(30), 0)
        self.vswitch.stdout.close()

    def tell(self, line):
        """Has the vSwitch do something."""
        self.vswitch.stdin.write(line + "\n")
        self.vswitch.stdin.flush()
        return self.vswitch.stdout.readline().rstrip("\n")

    def add(self, slot, rule):
        answer = self.tell("add %d %s" % (slot, rule))
        self.assertTrue(answer.startswith("ok "), answer)
        return answer[3:]

    def flow(self, identifier):
        return next(flow for flow in self.json("flows") if flow["id"] == identifier)

    def await_flow(self, identifier, **values):
        """The fast path works by its own clock: some milliseconds, a second for a rate."""
        for _ in range(1000):
            flow = self.flow(identifier)
            if all(flow[name] == value for name, value in values.items()):
                return flow
            time.sleep(0.01)
        self.fail("%s, not %s" % (flow, values))

    def test_flows(self):
        one = self.add(1, "in=vm1 tcp ip_dst=10.0.0.1 l4_dst=80 actions=dec_ttl,output:up")
        two = self.add(2, "in=up actions=output:down")
        flow = self.await_flow(one, state="offloaded")
        self.assertEqual(flow["match"], {"eth_type": "0x0800", "ip_dst": "10.0.0.1", "ip_proto": "6", "l4_dst": "80"})
        self.assertEqual(flow["actions"], ["dec_ttl", "output:up"])
        self.assertEqual((flow["in"], flow["slice"], flow["reason"], flow["rate"]), ("vm1", "red", "", 0))
        self.assertEqual(self.flow(two)["reason"], "receiver-down")
        self.assertEqual([flow["id"] for flow in self.json("flows", "--offloaded")], [one])
        self.assertEqual([flow["id"] for flow in self.json("flows", "--onload")], [two])
        self.assertEqual([flow["id"] for flow in self.json("flows", "--slice", "blue")], [two])
        self.assertEqual([flow["id"] for flow in self.json("flows", "--port=vm1", "--offloaded")], [one])
        self.assertEqual(self.json("flows", "--slice", "green"), [])
        table = self.vnode("flows").splitlines()
        self.assertTrue(table[0].startswith("ID "))
        self.assertIn("onload receiver-down", "".join(table))
        self.assertIn("ip_dst=10.0.0.1 ip_proto=6 l4_dst=80 actions=dec_ttl,output:up", "".join(table))
        self.assertEqual(self.tell("counters 1"), "0 0")
        self.assertEqual(self.tell("remove 1"), "ok")
        self.assertEqual([flow["id"] for flow in self.json("flows")], [two])
        self.vnode("flows", "--port", "nobody", code=1, says="nobody")
        self.vnode("flows", "--offloaded", "--onload", code=2, says="Usage")
        self.vnode("flows", "--slice", code=2, says="Usage")

    def test_flows_in_the_spelling_of_open_vswitch(self):
        for slot, (rule, spelled) in enumerate((
                ("in=vm1 tcp eth_src=02:00:00:00:00:01 ip_dst=10.0.0.0/8 ip_frag=no l4_dst=80 actions=set_eth_dst:02:00:00:00:00:07,"
                 "set_ttl:63,output:up",
                 "recirc_id(0),in_port(vm1),eth(src=02:00:00:00:00:01),eth_type(0x0800),"
                 "ipv4(dst=10.0.0.0/255.0.0.0,proto=6,frag=no),tcp(dst=80), packets:0, bytes:0, offloaded:yes, dp:vnode, "
                 "actions:set(eth(dst=02:00:00:00:00:07)),set(ipv4(ttl=63)),up"),
                ("in=vm1 vlan_vid=5 vlan_pcp=3 icmp6 icmp_type=135 actions=pop_vlan,output:up,output:vm1",
                 "recirc_id(0),in_port(vm1),eth_type(0x8100),vlan(vid=5,pcp=3),encap(eth_type(0x86dd),ipv6(proto=58),"
                 "icmpv6(type=135)), packets:0, bytes:0, offloaded:yes, dp:vnode, actions:pop_vlan,up,vm1"),
                ("in=up arp actions=drop",
                 "recirc_id(0),in_port(up),eth_type(0x0806), packets:0, bytes:0, offloaded:yes, dp:vnode, actions:drop"))):
            self.await_flow(self.add(slot, rule), state="offloaded")
            self.assertIn(spelled, self.vnode("flows", "--ovs").splitlines())

    def test_modes(self):
        one = self.add(1, "in=vm1 actions=output:up")
        self.await_flow(one, state="offloaded")
        self.vnode("offload", "off")
        self.assertEqual(self.flow(one)["reason"], "mode-off")
        self.vnode("offload", "auto", "--slice", "red", "promote=2kpps", "demote=10", "hold=500ms")
        self.assertEqual(self.flow(one)["reason"], "below-promote")
        show = self.json("offload", "show")
        self.assertEqual(show["node"]["mode"], "off")
        red = next(item for item in show["slices"] if item["slice"] == "red")
        self.assertEqual((red["mode"], red["promote"], red["demote"], red["hold_ms"]), ("auto", 2000, 10, 500))
        self.assertEqual(show["ports"][0]["effective"]["promote"], 2000)
        self.assertIsNone(show["ports"][0]["promote"])
        why = self.json("offload", "why", one)
        self.assertEqual((why["mode"], why["mode_of"], why["reason"]), ("auto", "slice", "below-promote"))
        self.assertIn("below-promote", self.vnode("offload", "why", one))
        self.vnode("offload", "pin", one)
        self.await_flow(one, state="offloaded", pinned=True)
        self.assertEqual(self.json("offload", "why", one)["mode"], "pin")
        self.vnode("offload", "unpin", one)
        self.vnode("offload", "on", "--port", "vm1")
        self.await_flow(one, state="offloaded", pinned=False)
        self.vnode("offload", "inherit", "--port", "vm1")
        self.vnode("offload", "off", "--slice", "red")
        self.await_flow(one, state="onload", reason="mode-off")
        self.assertIn("slice red", self.vnode("offload", "show"))
        self.assertGreaterEqual(self.json("moves")["begun"], 2)
        self.assertIn("p99", self.vnode("moves"))

    def test_ports_of_slices_are_also_named_like_nodes(self):
        self.vnode("port", "add", "red.c.eth0", "vhost=/run/vm3.sock", "slice=red")
        self.vnode("offload", "off", "--port", "red:c:eth0")
        modes = {port["port"]: port["mode"] for port in self.json("offload", "show")["ports"]}
        self.assertEqual((modes["red.c.eth0"], modes["vm1"]), ("off", "inherit"))
        self.assertEqual(self.json("flows", "--port", "red:c:eth0"), [])
        self.vnode("flows", "--port", "red:c:eth1", code=1, says="'red:c:eth1'")

    def test_parameters(self):
        self.vnode("offload", "set", "promote=5000", "table=100", "moves=50", "orphans=5s")
        show = self.json("offload", "show")
        self.assertEqual((show["node"]["promote"], show["table_size"], show["moves_max"], show["orphans_hold_s"]),
                         (5000, 100, 50, 5))
        self.vnode("offload", "set", "demote=6000", code=1, says="6000")
        self.vnode("offload", "set", "--port", "vm1", "demote=1k")
        self.vnode("offload", "set", "--port", "vm1", "demote=inherit")
        self.assertIsNone(self.json("offload", "show")["ports"][0]["demote"])
        self.vnode("offload", "set", "moves=0", code=1, says="move")
        for parameter in ("table=7", "moves=7", "orphans=7s"):
            self.vnode("offload", "set", "--slice", "red", "demote=1k", parameter, code=2, says=f"'{parameter}' is a parameter of the node only")
        self.assertEqual(self.json("offload", "show")["moves_max"], 50)

    def test_usage(self):
        self.vnode("offload", "set", code=2, says="Usage")
        self.vnode("offload", "set", "promote=fast", code=2, says="promote=fast")
        self.vnode("offload", "set", "hold=1h", code=2, says="hold=1h")
        self.vnode("offload", "set", "colour=red", code=2, says="colour=red")
        self.vnode("offload", "auto", "x", code=2, says="Usage")
        self.vnode("offload", "auto", "--slice", "a", "--port", "b", code=2, says="Usage")
        self.vnode("offload", "inherit", code=2, says="node")
        self.vnode("offload", "auto", "--rule", "1", code=2, says="Usage")
        self.vnode("offload", "on", "--port", "nobody", code=1, says="nobody")
        self.vnode("offload", "on", "--slice", "a b", code=1, says="Slice")
        self.vnode("offload", "pin", code=2, says="Usage")
        self.vnode("offload", "pin", "x", code=2, says="'x'")
        self.vnode("offload", "pin", "77", code=1, says="77")
        self.vnode("offload", "on", "--rule", "77", code=1, says="There is no rule 77; 'vnode rule list'")
        self.vnode("offload", "why", "77", code=1, says="77")
        self.vnode("slice", "set", "red", code=2, says="Usage")
        self.vnode("slice", "set", "red", "rules=x", code=2, says="rules=x")
        self.vnode("slice", "set", "a b", "rules=1", code=1, says="Slice")
        self.vnode("moves", "x", code=2, says="Usage")

    def test_quotas(self):
        self.vnode("slice", "set", "red", "rules=1")
        one = self.add(1, "in=vm1 tcp actions=output:up")
        two = self.add(2, "in=vm1 udp actions=output:up")
        self.await_flow(one, state="offloaded")
        self.assertEqual(self.flow(two)["reason"], "quota-rules")
        self.assertTrue(self.flow(two)["queued"])
        self.assertEqual(self.json("offload", "why", two)["reason"], "quota-rules")
        red = next(item for item in self.json("slice", "list") if item["slice"] == "red")
        self.assertEqual((red["ports"], red["rules"], red["rules_max"], red["queued"]), (2, 1, 1, 1))
        self.assertIn("1/1", self.vnode("slice", "list"))
        self.vnode("slice", "set", "red", "rules=0")
        self.await_flow(two, state="offloaded", queued=False)

    def test_orphans(self):
        one = self.add(1, "in=vm1 actions=output:up")
        self.await_flow(one, state="offloaded")
        self.detach()
        for _ in range(1000):
            if self.flow(one)["orphan"]:
                break
            time.sleep(0.01)
        self.assertIn("orphan", self.vnode("flows"))
        self.assertFalse(self.json("offload", "show")["attached"])
        self.attach()
        again = self.add(5, "in=vm1 actions=output:up")
        self.assertNotEqual(again, one)
        flow = self.flow(again)
        self.assertEqual((flow["state"], flow["orphan"]), ("offloaded", False))
        self.assertEqual(len(self.json("flows")), 1)
        self.detach()
        self.vnode("offload", "set", "orphans=0")
        for _ in range(1000):
            if not self.json("flows"):
                break
            time.sleep(0.01)
        self.assertEqual(self.json("flows"), [])

    def test_rules_of_the_vswitch_are_its_own(self):
        one = self.add(1, "in=vm1 actions=output:up")
        self.vnode("rule", "del", str(int(one, 16)), code=1, says="vSwitch")
        self.assertEqual(self.json("rule", "del", "--all"), {"removed": 0})
        self.vnode("rule", "add", "in=vm1 id=%s actions=drop" % (1 << 63), code=1, says="vSwitch")
        self.assertEqual(self.json("rule", "list")[0]["id"], one)
        self.assertIn(one, self.vnode("rule", "list"))

    def test_events(self):
        watcher = self.start("events", "--follow", "--format", "json")
        self.addCleanup(watcher.communicate)
        self.addCleanup(watcher.kill)
        os.set_blocking(watcher.stdout.fileno(), False)
        one, text = "", b""
        for i in range(2000):  # until it has subscribed
            if i % 20 == 0:
                self.tell("remove 1")
                one = self.add(1, "in=vm1 actions=output:up")
            time.sleep(0.005)
            text += watcher.stdout.read() or b""
            if b"rule-moved" in text:
                break
        self.assertIn(b'"text":"offloaded","rule":"%s"' % one.encode(), text)
        os.set_blocking(watcher.stdout.fileno(), True)
        self.vnode("offload", "off")
        self.assertIn(b"onload: mode-off", watcher.stdout.readline())
        self.detach()
        self.assertIn(b'"detached"', watcher.stdout.readline())

    def test_watch(self):
        self.add(1, "in=vm1 actions=output:up")
        main, terminal = pty.openpty()
        with subprocess.Popen([VNODE, "--socket", self.socket, "flows", "--watch"], stdout=terminal,
                              env={**os.environ, "TERM": "xterm"}) as watcher:
            os.close(terminal)
            text = b""
            subprocess.run(["stty", "rows", "10", "cols", "60"], stdin=main, check=False)
            while text.count(b"\033[H") < 2:
                text += os.read(main, 65536)
            watcher.send_signal(signal.SIGINT)
            self.assertEqual(watcher.wait(30), 0)
            text += os.read(main, 65536)
        os.close(main)
        self.assertIn(b"flows, the busiest first", text)
        self.assertNotIn(b"\033[2J", text)  # never an empty screen
        self.assertTrue(text.endswith(b"\033[?25h\033[?1049l"))
        with self.start("flows", "--watch") as watcher:
            self.assertTrue(watcher.stdout.readline().startswith(b"ID "))
            watcher.send_signal(signal.SIGINT)
            self.assertEqual(watcher.wait(30), 0)

    def test_completion(self):
        one = self.add(1, "in=vm1 actions=output:up")
        script = '''PATH=%s:$PATH VNODE_SOCKET=%s; export VNODE_SOCKET; source <(vnode completion bash); compopt() { :; }
            try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
                    _vnode vnode "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"; echo "${COMPREPLY[*]}"; }
            try vnode of; try vnode offload p; try vnode offload why ''; try vnode slice set r
        ''' % (os.path.dirname(VNODE), self.socket)
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout, "offload\npin\n%s\nrules= red\n" % one)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[4:], verbosity=1)
