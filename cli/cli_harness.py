# SPDX-License-Identifier: Apache-2.0
"""What the tests of the command line share: a fast path without packets for each, and ways to run `vnode`."""
import json
import os
import subprocess
import sys
import tempfile
import unittest

os.environ["VNODE_MANAGER"] = "/nonexistent/manager"  # not one of the machine's
VNODE, FAKE = (os.path.abspath(path) for path in sys.argv[1:3])


class CommandLineTest(unittest.TestCase):
    """Each test has a fast path of its own."""

    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="vnode-cli-test-")
        self.addCleanup(self.directory.cleanup)
        self.socket = os.path.join(self.directory.name, "socket")
        self.server = subprocess.Popen([FAKE, self.socket], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)
        self.addCleanup(self.stop)
        self.assertEqual(self.server.stdout.readline(), "ready\n")

    def stop(self):
        if self.server.poll() is None:
            self.vnode("fastpath", "stop")
        self.assertEqual(self.server.wait(30), 0)
        self.server.stdout.close()

    def start(self, *words, **options):
        return subprocess.Popen([VNODE, "--socket", self.socket, *words], stdin=subprocess.PIPE,
                                stdout=subprocess.PIPE, stderr=subprocess.PIPE, **options)

    def vnode(self, *words, code=0, stdin="", says=None):
        """Runs a command, checks its exit code and that the sentence on standard error has 'says' in it."""
        result = subprocess.run([VNODE, "--socket", self.socket, *words], input=stdin, capture_output=True, text=True,
                                check=False, timeout=60)
        self.assertEqual(result.returncode, code, result.stderr)
        if code:
            self.assertTrue(result.stderr.strip(), "a failure says why")
        if says:
            self.assertIn(says, result.stderr)
        return result.stdout

    def json(self, *words, **options):
        return json.loads(self.vnode("--format", "json", *words, **options))

    def add_ports(self):
        self.vnode("port", "add", "vm1", "vhost=/run/vm1.sock,server=1", "queues=2")
        self.vnode("port", "add", "up", "dpdk=net_tap0,iface=tap0", "mtu=1500")
