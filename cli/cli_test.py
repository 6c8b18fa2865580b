#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""The command line against a fast path without packets: output, exit codes, sentences.

Usage: cli_test.py VNODE FAKE_FASTPATH
"""
import json
import os
import signal
import subprocess
import sys
import unittest

from cli_harness import FAKE, VNODE, CommandLineTest


class CommandLine(CommandLineTest):
    def test_ports(self):
        self.add_ports()
        ports = self.json("port", "list")
        self.assertEqual([port["name"] for port in ports], ["vm1", "up"])
        self.assertEqual(ports[0]["path"], "/run/vm1.sock")
        self.assertTrue(ports[0]["server"])
        self.assertEqual(ports[0]["queues_max"], 2)
        self.assertEqual(ports[1]["devargs"], "net_tap0,iface=tap0")
        self.assertEqual(ports[1]["mtu"], 1500)
        self.assertEqual(self.json("port", "show", "up")["name"], "up")
        self.assertIn("net_tap0", self.vnode("port", "list"))
        self.vnode("port", "add", "vm1", "vhost=/x", code=1, says="vm1")
        self.vnode("port", "del", "vm1")
        self.vnode("port", "del", "vm1", code=1, says="no port 'vm1'")
        self.vnode("port", "show", "vm1", code=1, says="no port 'vm1'")

    def test_ports_of_slices_are_also_named_like_nodes(self):
        self.add_ports()
        for name in ("demo.a.eth0", "demo.b.eth0", "demo:b:eth0"):
            self.vnode("port", "add", name, "vhost=/run/%s.sock" % name)
        self.assertEqual(self.json("port", "show", "demo:a:eth0")["name"], "demo.a.eth0")
        self.assertEqual(self.json("port", "show", "demo:b:eth0")["name"], "demo:b:eth0")
        self.vnode("port", "set", "demo:a:eth0", "rate=1Mbit")
        self.assertEqual(self.json("port", "show", "demo.a.eth0")["rate"], 1000000)
        self.assertEqual([port["name"] for port in self.json("stats", "demo:a:eth0")], ["demo.a.eth0"])
        path = os.path.join(self.directory.name, "x.pcapng")
        self.vnode("capture", "demo:a:eth0", "-w", path, "-c", "3")
        with open(path, "rb") as file:
            self.assertIn(b"demo.a.eth0", file.read())
        self.vnode("rule", "add", "in=demo:a:eth0 actions=output:up")
        self.assertEqual([rule["in"] for rule in self.json("rule", "list", "--port", "demo:a:eth0")], ["demo.a.eth0"])
        self.assertEqual(self.json("trace", "in=demo:a:eth0", "arp")["in"], "demo.a.eth0")
        for name in ("demo:a:eth1", "demo:a", "demo:a:eth0:", "vm1:"):
            self.vnode("port", "show", name, code=1, says="no port '%s'" % name)
        self.vnode("port", "del", "demo:a:eth0")
        self.vnode("port", "show", "demo.a.eth0", code=1, says="no port 'demo.a.eth0'")

    def test_rates_of_ports(self):
        self.add_ports()
        names = ("rate", "burst", "rate_out", "burst_out")
        self.assertEqual([self.json("port", "show", "up")[name] for name in names], [0, 0, 0, 0])
        self.vnode("port", "set", "up", "rate=500Mbit", "burst=256KiB", "rate_out=2.5Gbit")
        self.assertEqual([self.json("port", "show", "up")[name] for name in names], [500000000, 262144, 2500000000, 0])
        row = self.vnode("port", "list").splitlines()[2]
        self.assertIn("500 Mbit/s", row)
        self.assertIn("2.5 Gbit/s", row)
        self.vnode("port", "set", "up", "rate=none", "burst_out=1MB")
        self.assertEqual([self.json("port", "list")[1][name] for name in names], [0, 262144, 2500000000, 1000000])
        self.assertEqual(self.json("port", "show", "vm1")["rate"], 0)
        for words, sentence in ((["up", "rate=500"], "500Mbit"), (["up", "rate=0Mbit"], "none"), (["up", "burst=1Mbit"], "256MiB"),
                                (["up"], "Usage"), (["up", "colour=red"], "Usage"), (["up", "rate"], "Usage"),
                                (["up"] + 5 * ["rate=none"], "Usage")):
            self.vnode("port", "set", *words, code=2, says=sentence)
        self.vnode("port", "set", "nobody", "rate=1Mbit", code=1, says="nobody")
        self.vnode("port", "set", "a" * 80, "rate=1Mbit", code=1, says="no port")

    def test_relative_paths_are_made_absolute(self):
        self.vnode("port", "add", "vm1", "vhost=x.sock")
        self.assertEqual(self.json("port", "show", "vm1")["path"], os.getcwd() + "/x.sock")

    def test_usage(self):
        self.vnode(code=2, says="command is missing")
        self.vnode("dance", code=2, says="dance")
        self.vnode("port", code=2, says="vnode port add")
        self.vnode("port", "add", code=2, says="Usage: vnode port add")
        self.vnode("port", "add", "a", "colour=red", code=2, says="Usage")
        self.vnode("port", "add", "a", "vhost=/x", "queues=0", code=2, says="queues=0")
        self.vnode("port", "add", "a", "vhost=/x,mtu=9999999", code=2, says="mtu=")
        self.vnode("port", "add", "a", "dpdk=x", "server=1", code=2, says="server=1")
        self.vnode("port", "add", "a" * 80, "vhost=/x", code=2, says="name")
        self.vnode("port", "add", "a", "vhost=/" + "x" * 107, code=2, says="107")
        self.vnode("--format", "xml", "stats", code=2, says="xml")
        self.vnode("rule", "del", code=2, says="Usage")
        self.vnode("rule", "del", "x", code=2, says="'x'")
        self.vnode("rule", "add", "-f", code=2, says="Usage")
        self.vnode("rule", "add", "-f", "/does/not/exist", code=2, says="/does/not/exist")
        self.vnode("stats", "--socket", code=2, says="lacks its value")

    def test_help_of_every_command(self):
        commands = [line.split("  ")[1] for line in self.vnode("--help").splitlines() if line.startswith("  ")]
        commands = [command for command in commands if not command.startswith("-")]
        self.assertIn("rule add", commands)
        for command in commands:
            self.assertIn("Usage: vnode " + command, self.vnode(*command.split(), "--help"))

    def test_no_server(self):
        for command in (["port", "list"], ["rule", "add", "in=a", "actions=drop"], ["events", "--follow"], ["trace", "in=a"]):
            result = subprocess.run([VNODE, "--socket", self.directory.name + "/none", *command], capture_output=True,
                                    text=True, check=False)
            self.assertEqual(result.returncode, 3)
            self.assertIn(self.directory.name + "/none", result.stderr)
            self.assertIn("start vnode-fastpath", result.stderr)

    def test_one_slice_is_meant(self):
        path = os.path.join(self.directory.name, "x.vn.yml")
        with open(path, "w", encoding="utf-8") as file:
            file.write("name: x\nnodes: {a: {kind: netns}}\n")
        for line in (f"destroy --slice y -t {path}", f"destroy y -t {path}", "destroy y --slice y", "exec y:a --slice x -- true",
                     f"stop y:a -t {path}", f"console a --slice y -t {path}", f"plan -t {path} --reserve", f"plan -t {path} --dry-run",
                     f"deploy -t {path} --dry-run --reserve"):
            self.vnode(*line.split(), code=2, says="Usage: vnode " + line.split()[0])
        for line in (f"destroy -t {path}", "destroy --slice y", "exec a --slice y -- true --slice z", f"plan -t {path}",
                     f"deploy -t {path} --dry-run"):
            self.vnode(*line.split(), code=3, says="start vnode-manager")

    def test_the_environment_names_the_socket(self):
        result = subprocess.run([VNODE, "port", "list"], env={"VNODE_SOCKET": self.socket}, capture_output=True,
                                check=False)
        self.assertEqual(result.returncode, 0)

    def test_rules(self):
        self.add_ports()
        self.assertEqual(self.vnode("rule", "add", "in=vm1", "tcp", "l4_dst=80", "actions=dec_ttl,output:up"), "1\n")
        self.assertEqual(self.json("rule", "add", "in=up id=7 actions=output:vm1"), {"id": 7})
        self.vnode("rule", "add", "in=up id=7 actions=drop", code=1, says="7")
        self.vnode("rule", "add", "in=nobody actions=drop", code=1, says="nobody")
        self.vnode("rule", "add", "in=vm1 tcp udp actions=drop", code=2, says="'udp'")
        rules = self.json("rule", "list")
        self.assertEqual(rules[0], {"id": 1, "in": "vm1", "priority": 32768, "onload": False, "state": "offloaded",
                                    "match": {"eth_type": "0x0800", "ip_proto": "6", "l4_dst": "80"},
                                    "actions": ["dec_ttl", "output:up"], "packets": 0, "bytes": 0, "onload_packets": 0})
        self.assertEqual([rule["id"] for rule in self.json("rule", "list", "--port", "up")], [7])
        self.assertIn("l4_dst=80 actions=dec_ttl,output:up", self.vnode("rule", "list"))
        self.vnode("rule", "del", "1", "99", code=1, says="99")
        self.assertEqual(self.json("rule", "del", "--port", "up"), {"removed": 1})
        self.assertEqual(self.json("rule", "list"), [])

    def test_what_is_listed_can_be_added_again(self):
        self.add_ports()
        self.vnode("rule", "add", "in=vm1 vlan_vid=5/0xf eth_dst=02:00:00:00:00:00/02:00:00:00:00:00 ip_src=fd00::/8 "
                                  "ip_frag=later actions=push_vlan:0x88a8,set_tos:0x10,output:up")
        first = self.json("rule", "list")[0]
        text = "in=%s priority=%d %s actions=%s" % (first["in"], first["priority"],
                                                    " ".join("%s=%s" % item for item in first["match"].items()),
                                                    ",".join(first["actions"]))
        self.vnode("rule", "del", "--all")
        self.vnode("rule", "add", text)
        second = self.json("rule", "list")[0]
        self.assertEqual({**second, "id": 0}, {**first, "id": 0})

    def test_many_rules_from_standard_input(self):
        self.add_ports()
        lines = "".join("in=vm1 ip_dst=10.%d.%d.%d actions=output:up # one\n\n" % (i >> 16, i >> 8 & 255, i & 255)
                        for i in range(50000))
        self.assertEqual(self.json("rule", "add", "-f", "-", stdin=lines), {"added": 50000})
        self.assertEqual(len(self.json("rule", "list")), 50000)
        self.assertEqual(self.json("rule", "del", "--all"), {"removed": 50000})

    def test_faults_in_a_file_are_told_with_their_line(self):
        self.add_ports()
        path = os.path.join(self.directory.name, "rules")
        with open(path, "w", encoding="utf-8") as file:
            file.write("# comment\nin=vm1 id=1 actions=drop\nin=vm1 id=2 actions=fly\nin=vm1 id=3 actions=drop\n")
        self.vnode("rule", "add", "-f", path, code=2, says=path + ":3: 'fly'")
        self.assertEqual([rule["id"] for rule in self.json("rule", "list")], [1])
        lines = "".join("in=vm1 priority=%d id=%d actions=drop\n" % (i, i) for i in range(1, 3001)) + \
            "in=vm1 id=2500 actions=drop\nin=vm1 id=4000 actions=drop\n"
        self.vnode("rule", "del", "--all")
        self.vnode("rule", "add", "-f", "-", stdin=lines, code=1, says="standard input:3001: ")
        self.assertEqual(len(self.json("rule", "list")), 3001)

    def test_counters(self):
        self.add_ports()
        self.assertEqual(self.json("stats", "vm1")[0]["rx_packets"], 1234567)
        self.assertIn("1,234,567", self.vnode("stats"))
        self.vnode("stats", "nobody", code=1, says="nobody")
        self.assertEqual(self.json("perf")["workers"][0]["cycles_per_packet"], 70)
        self.assertIn("70.0", self.vnode("perf"))
        drops = {reason["reason"]: reason for reason in self.json("drops")}
        self.assertEqual(drops["tx-full"]["packets"], 84)
        self.assertEqual(drops["tx-full"]["ports"], {"vm1": 42, "up": 42})
        self.assertIn("vm1:42", self.vnode("drops"))
        self.assertEqual(self.json("version")["protocol"], 1)

    def test_trace(self):
        self.add_ports()
        self.vnode("port", "add", "down", "vhost=/run/x")
        for rule in ("in=vm1 id=1 tcp l4_dst=80 actions=dec_ttl,set_ip_dst:10.9.9.9,output:vm1,push_vlan:0x8100,output:vm1",
                     "in=vm1 id=2 priority=40000 ttl=1 ip actions=dec_ttl,output:vm1", "in=vm1 id=3 udp actions=output:up",
                     "in=vm1 id=4 arp onload actions=output:vm1"):
            self.vnode("rule", "add", rule)
        answer = self.json("trace", "in=vm1", "tcp", "l4_dst=80", "ip_src=10.0.0.1", "vlan_vid=0")
        self.assertEqual(answer["verdict"], "forwarded")
        self.assertEqual(answer["rule"]["id"], 1)
        self.assertEqual(answer["steps"][0], {"action": "dec_ttl", "effect": "ttl: 64 -> 63"})
        self.assertEqual([output["size"] for output in answer["outputs"]], [60, 64])
        self.assertTrue(answer["outputs"][1]["frame"].startswith("020000000002020000000001" "8100"))
        self.assertEqual(self.json("trace", "in=vm1", "ttl=1")["reason"], "ttl")
        self.assertEqual(self.json("trace", "in=vm1", "udp")["reason"], "tx-down")
        self.assertEqual(self.json("trace", "in=vm1", "arp")["reason"], "no-rule")
        self.assertEqual(self.json("trace", "in=vm1", "hex:ffffffffffff 020000000001 88b5", "00")["size"], 15)
        self.assertIn("set_ip_dst:10.9.9.9: ip_dst: 10.0.0.2 -> 10.9.9.9", self.vnode("trace", "in=vm1", "tcp", "l4_dst=80"))
        self.vnode("trace", "in=vm1", "hex:00", code=1, says="14")
        self.vnode("trace", "in=vm1", "hex:0g", code=2, says="hex")
        self.vnode("trace", "in=vm1", "tcp", "hex:00", code=2, says="not by both")
        self.vnode("trace", "tcp", code=2, says="'in=PORT' is missing")

    def test_built_packets_have_the_fields_that_were_asked_for(self):
        self.add_ports()
        for fields in ("tcp l4_src=1 l4_dst=2 tcp_flags=+syn", "udp6 l4_dst=9 tos=0x20 ttl=3", "icmp icmp_type=3 icmp_code=1",
                       "icmp6 icmp_type=135", "sctp l4_src=7", "vlan_vid=5 vlan_pcp=3 inner_vid=6 udp",
                       "vlan_ad=1 vlan_vid=9 ip_proto=47", "tunnel_id=77", "ip_frag=first udp", "ip_frag=later ipv6",
                       "arp", "eth_src=02:00:00:00:00:07 eth_type=0x88b5", "ip_src=fd00::7 tcp"):
            self.vnode("rule", "del", "--all")
            self.vnode("rule", "add", "in=vm1 %s actions=output:vm1" % fields)
            answer = self.json("trace", "in=vm1", *fields.split())
            self.assertEqual(answer["verdict"], "forwarded", (fields, answer["fields"]))
            for name, value in answer["rule"]["match"].items():
                self.assertEqual(answer["fields"].get(name, value), value, fields)

    def test_events(self):
        watcher = self.start("events", "--follow", "--format", "json")
        # The first event that the watcher shows may be any of these ports.
        for i in range(1000):
            self.vnode("port", "add", "p%d" % (i % 500), "vhost=/x") if i % 2 == 0 else \
                self.vnode("port", "del", "p%d" % ((i - 1) % 500))
            if i == 0:
                os.set_blocking(watcher.stdout.fileno(), False)
            line = watcher.stdout.readline()
            if line:
                break
        event = json.loads(line)
        self.assertIn(event["event"], ("port-added", "port-removed"))
        self.assertTrue(event["port"].startswith("p"))
        watcher.send_signal(signal.SIGINT)
        self.assertEqual(watcher.wait(30), -signal.SIGINT)
        for stream in (watcher.stdin, watcher.stdout, watcher.stderr):
            stream.close()

    def test_capture(self):
        self.add_ports()
        path = os.path.join(self.directory.name, "x.pcapng")
        self.vnode("capture", "vm1", "-w", path, "-c", "3")
        text = subprocess.run(["tcpdump", "-nn", "-q", "-e", "-r", path], capture_output=True, text=True, check=True).stdout
        self.assertEqual(len([line for line in text.splitlines() if not line.startswith("\t")]), 3)
        self.assertIn("02:00:00:00:00:02 > 02:00:00:00:00:01, Unknown Ethertype (0x88b5), length 60", text)
        with subprocess.Popen([VNODE, "--socket", self.socket, "capture", "vm1", "-w", "-", "-s", "20", "-c", "3"],
                              stdout=subprocess.PIPE, stderr=subprocess.DEVNULL) as writer:
            text = subprocess.run(["tcpdump", "-nn", "-tt", "-r", "-"], stdin=writer.stdout, capture_output=True,
                                  text=True, check=True).stdout
        self.assertEqual(len([line for line in text.splitlines() if not line.startswith("\t")]), 3)
        self.assertIn("1700000000.000000", text)
        with open(path, "rb") as file:
            captured = file.read()
        self.vnode("capture", "nobody", "-w", path, code=1, says="nobody")
        with open(path, "rb") as file:
            self.assertEqual(file.read(), captured)
        self.vnode("capture", "vm1", "-w", path + "/none", code=1, says="Cannot write")
        self.vnode("capture", "vm1", code=2, says="Usage")

    def test_capture_ends_with_its_port_and_with_a_signal(self):
        self.add_ports()
        for end in ("port", "signal"):
            capture = self.start("capture", "vm1", "-w", "-")
            capture.stdout.read(8)  # it runs
            if end == "signal":
                capture.send_signal(signal.SIGINT)
            else:
                self.vnode("port", "del", "vm1")
            _, errors = capture.communicate(timeout=30)
            self.assertEqual(capture.returncode, 0, errors)
            self.assertIn(b"3 packets captured, 0 missed", errors)
            if end == "port":
                self.vnode("port", "add", "vm1", "vhost=/run/vm1.sock")

    def test_a_reader_that_leaves_early(self):
        self.add_ports()
        lines = "".join("in=vm1 ip_dst=10.0.%d.%d actions=output:up\n" % (i >> 8, i & 255) for i in range(20000))
        self.vnode("rule", "add", "-f", "-", stdin=lines)
        with self.start("rule", "list") as listing:
            listing.stdout.readline()
            listing.stdout.close()
            self.assertEqual(listing.wait(30), -signal.SIGPIPE)
            self.assertEqual(listing.stderr.read(), b"")

    def test_completion(self):
        self.add_ports()
        script = '''PATH=%s:$PATH VNODE_SOCKET=%s; export VNODE_SOCKET; source <(vnode completion bash); compopt() { :; }
            try() { COMP_WORDS=("$@"); COMP_CWORD=$(($# - 1)); COMP_LINE="$*"; COMP_POINT=${#COMP_LINE}
                    _vnode vnode "${!#}" "${COMP_WORDS[COMP_CWORD-1]}"; echo "${COMPREPLY[*]}"; }
            try vnode po; try vnode port ''; try vnode port del ''; try vnode rule add ip_s; try vnode stats --format j
        ''' % (os.path.dirname(VNODE), self.socket)
        result = subprocess.run(["bash", "-c", script], capture_output=True, text=True, check=False)
        self.assertEqual(result.stderr, "")
        self.assertEqual(result.stdout, "port\nadd del list show set\nvm1 up\nip_src=\njson\n")
        self.assertIn("#compdef vnode", self.vnode("completion", "zsh"))
        self.vnode("completion", "fish", code=2, says="Usage")

    def test_the_evaluation_is_run(self):
        self.vnode("eval", "--numbers", "3", code=2, says="takes a list of 1, 2, 4, 8")

    def test_a_living_socket_is_not_replaced(self):
        result = subprocess.run([FAKE, self.socket], capture_output=True, text=True, check=False, timeout=30)
        self.assertEqual(result.returncode, 1)
        self.assertIn("Another process answers at " + self.socket, result.stderr)
        self.assertEqual(self.json("port", "list"), [])

    def test_the_socket_of_a_killed_server_is_replaced(self):
        self.server.kill()
        self.server.wait()
        self.server.stdout.close()
        self.assertTrue(os.path.exists(self.socket))
        self.server = subprocess.Popen([FAKE, self.socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.assertEqual(self.server.stdout.readline(), "ready\n")
        self.assertEqual(self.json("port", "list"), [])

    def test_a_full_disk_is_told(self):
        with open("/dev/full", "w", encoding="utf-8") as full:
            result = subprocess.run([VNODE, "--socket", self.socket, "port", "list"], stdout=full,
                                    stderr=subprocess.PIPE, check=False)
        self.assertEqual(result.returncode, 1)
        self.assertIn(b"No space left", result.stderr)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1] + sys.argv[3:], verbosity=1)
