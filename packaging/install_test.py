#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`meson install` gives a tree in which everything is where the programs look for it.

Usage: install_test.py BUILD PREFIX
"""
import os
import re
import subprocess
import sys
import tempfile
import unittest

BUILD, PREFIX = sys.argv[1:3]
GUEST = ("guest-kernel", "guest-initrd")  # installed when they have been built
FILES = ("bin/vnode", "sbin/vnode-fastpath", "sbin/vnode-manager", "lib/systemd/system/vnode-fastpath.service",
         "lib/systemd/system/vnode-manager.service", "share/doc/vnode/vnode.yml", "share/doc/vnode/examples/pair.vn.yml",
         "share/vnode/vnode.ovsschema", "share/vnode/slice.schema.json", "share/bash-completion/completions/vnode.bash",
         "share/man/man1/vnode.1", "share/man/man5/vnode.yml.5", "share/man/man8/vnode-manager.8",
         "share/man/man8/vnode-fastpath.8")


class Install(unittest.TestCase):
    def setUp(self):
        directory = tempfile.TemporaryDirectory(prefix="vnode-install-test-")
        self.addCleanup(directory.cleanup)
        self.root = directory.name
        subprocess.run(["meson", "install", "-C", BUILD, "--no-rebuild", "--quiet", "--destdir", self.root], check=True,
                       stdout=subprocess.DEVNULL)

    def place(self, path):
        return os.path.join(self.root, os.path.join(PREFIX, path).lstrip("/"))

    def read(self, path):
        with open(self.place(path), "rb") as file:
            return file.read()

    def test_files(self):
        for path in FILES:
            self.assertTrue(os.path.isfile(self.place(path)), path)
        for name in GUEST:
            self.assertEqual(os.path.exists(self.place(f"share/vnode/{name}")),
                             os.path.exists(f"{BUILD}/guest-image/{name}"), name)

    def test_the_defaults_of_the_manager_are_there(self):
        places = re.findall(re.escape(PREFIX.encode()) + rb"/[\x21-\x7e]*vnode[\x21-\x7e]*(?=\0)", self.read("sbin/vnode-manager"))
        names = {os.path.basename(place.decode()): place.decode() for place in places}
        self.assertEqual(set(names), {"vnode-fastpath", "librte_net_vnode.so", "vnode.ovsschema", *GUEST})
        for name, path in names.items():
            if name not in GUEST:
                self.assertTrue(os.path.isfile(self.place(path)), path)

    def test_units_start_what_is_installed(self):
        for name in ("vnode-manager", "vnode-fastpath"):
            program = re.search(r"^ExecStart=(\S+)", self.read(f"lib/systemd/system/{name}.service").decode(), re.MULTILINE)[1]
            self.assertTrue(os.access(self.place(program), os.X_OK), program)


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1])
