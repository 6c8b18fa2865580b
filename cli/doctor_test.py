#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""`vnode doctor` on the trees of several machines, and on this one.

Usage: doctor_test.py VNODE
"""
import json
import os
import subprocess
import sys
import tempfile
import unittest

VNODE = os.path.abspath(sys.argv[1])

MULTIARCH = os.uname().machine + "-linux-gnu"
QEMU_DRIVER = f"usr/lib/{MULTIARCH}/libvirt/connection-driver/libvirt_driver_qemu.so"
DRIVER = f"usr/lib/{MULTIARCH}/vnode/librte_net_vnode.so"
SWITCH = "usr/lib/openvswitch-switch-dpdk/ovs-vswitchd-dpdk"
PROGRAMS = ("usr/sbin/vnode-fastpath", SWITCH, "usr/sbin/ovsdb-server", "usr/bin/qemu-system-x86_64", "usr/sbin/ip",
            "usr/sbin/ethtool")
MANAGER_UNIT = "usr/lib/systemd/system/vnode-manager.service"
UNIX = "Num       RefCount Protocol Flags    Type St Inode Path\n"


def packages(**versions):
    return "".join(f"Package: {name.replace('_', '-')}\nStatus: install ok installed\nArchitecture: amd64\nVersion: {version}\n\n"
                   for name, version in versions.items())


def processors(n, flags):
    return "".join(f"processor\t: {i}\nvendor_id\t: GenuineIntel\nflags\t\t: fpu {flags} msr\n\n" for i in range(n))


# A server with all that there is.
SERVER = {
    "proc/self/status": "Name:\tvnode\nUid:\t0\t0\t0\t0\nCapEff:\t000001ffffffffff\n",
    "proc/self/ns/net": "",
    "proc/cpuinfo": processors(8, "avx2 avx512f vmx"),
    "proc/meminfo": "MemTotal:       65536000 kB\nMemAvailable:   60000000 kB\n",
    "proc/kallsyms": "0000000000000000 t veth_newlink\t[veth]\n",
    "proc/sys/kernel/osrelease": "6.1.0-test\n",
    "proc/net/protocols": "protocol  size sockets\nXDP       1024      0\nTCP       2048      7\n",
    "proc/net/unix": UNIX + "0000: 00000002 00000000 00010000 0001 01 42 /run/vnode/fastpath.sock\n"
                            "0000: 00000003 00000000 00000000 0001 03 43 /run/vnode/manager.sock\n"
                            "0000: 00000002 00000000 00010000 0001 01 44 /var/run/openvswitch/db.sock\n",
    "dev/kvm": "", "dev/net/tun": "", "dev/vfio/vfio": "",
    "sys/devices/system/cpu/isolated": "2-7\n",
    "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages": "1024\n",
    "sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages": "1024\n",
    "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "2048\n",
    "sys/kernel/iommu_groups/0/type": "DMA\n",
    "sys/fs/cgroup/cgroup.controllers": "cpuset cpu io memory pids\n",
    "sys/class/net/ens1f0/device/sriov_totalvfs": "64\n",
    "sys/class/net/ens1f0/device/sriov_numvfs": "8\n",
    "var/lib/dpkg/status": packages(openvswitch_switch_dpdk="3.1.0-2+deb12u1", openvswitch_common="3.1.0-2+deb12u1",
                                    qemu_system_x86="1:7.2+dfsg-7", libvirt_daemon_driver_qemu="9.0.0-4", iproute2="6.1.0-3"),
    **{program: "#!/bin/sh\n" for program in PROGRAMS},
    QEMU_DRIVER: "", DRIVER: "",
    "usr/share/vnode/guest-kernel": "", MANAGER_UNIT: "",
}
NEEDED = {"rights", "cpus", "memory", "netns", "tap", "veth", "fastpath", "vswitch", "driver", "ovsdb-server", "qemu",
          "libvirt", "ip"}


class Doctor(unittest.TestCase):
    def setUp(self):
        self.directory = tempfile.TemporaryDirectory(prefix="vnode-doctor-test-")
        self.addCleanup(self.directory.cleanup)
        os.chmod(self.directory.name, 0o755)

    def tree(self, changes=None):
        """Makes the server's tree with changes: names to contents, None for what is not there."""
        for name, text in {**SERVER, **(changes or {})}.items():
            path = os.path.join(self.directory.name, name)
            if text is None:
                continue
            os.makedirs(os.path.dirname(path), mode=0o755, exist_ok=True)
            with open(path, "w", encoding="ascii") as file:
                file.write(text)
            os.chmod(path, 0o755)

    def files(self):
        return sorted((folder, tuple(sorted(folders)), tuple(sorted(names)))
                      for folder, folders, names in os.walk(self.directory.name))

    def run_doctor(self, *options, root=True):
        environment = {**os.environ, "VNODE_SOCKET": "/does/not/exist"}
        if root:
            environment["VNODE_DOCTOR_ROOT"] = self.directory.name
        return subprocess.run([VNODE, *options, "doctor"], env=environment, capture_output=True, text=True, check=False,
                              timeout=60)

    def diagnose(self, code=0, root=True):
        """The capabilities by name; checks what is true of every diagnosis."""
        before = self.files()
        result = self.run_doctor("--format", "json", root=root)
        self.assertEqual(result.returncode, code, result.stderr)
        self.assertEqual(self.files(), before)
        answer = json.loads(result.stdout)
        found = {capability["name"]: capability for capability in answer["capabilities"]}
        self.assertEqual({name for name in found if found[name]["needed"]}, NEEDED)
        lacking = [name for name in NEEDED if found[name]["state"] == "missing"]
        self.assertEqual(answer["ready"], not lacking)
        self.assertEqual(code, 4 if lacking else 0)
        for capability in found.values():
            self.assertIn(capability["state"], ("ready", "fallback", "missing"))
            self.assertRegex(capability["effect"], r"^[A-Z].*\S$")
            self.assertTrue(capability["found"])
            if capability["state"] == "ready":
                self.assertEqual(capability["command"], "")
        return found

    def expect(self, found, name, state, says="", command=""):
        self.assertEqual(found[name]["state"], state, found[name])
        self.assertIn(says, found[name]["found"])
        self.assertIn(command, found[name]["command"])
        self.assertEqual(bool(command), bool(found[name]["command"]), found[name])

    def test_a_server_that_has_all(self):
        self.tree()
        found = self.diagnose()
        self.assertEqual({name for name in found if found[name]["state"] != "ready"}, {"manager-running"})
        self.expect(found, "cpus", "ready", "8")
        self.expect(found, "numa", "ready", "2 nodes")
        self.expect(found, "qemu", "ready", "/usr/bin/qemu-system-x86_64, 7.2+dfsg-7")
        self.expect(found, "sr-iov", "ready", "ens1f0: 8 of 64")
        self.expect(found, "cgroups", "ready", "2")
        self.expect(found, "vswitch-running", "ready", "/var/run/openvswitch/db.sock")
        self.expect(found, "manager-running", "missing", command="systemctl start vnode-manager")
        os.unlink(os.path.join(self.directory.name, MANAGER_UNIT))
        self.expect(self.diagnose(), "manager-running", "missing", command="./run node")

    def test_a_small_virtual_machine_falls_back(self):
        self.tree({"proc/cpuinfo": processors(1, "sse4_2"), "proc/meminfo": "MemAvailable: 1500000 kB\n", "dev/kvm": None,
                   "dev/vfio/vfio": None, "sys/devices/system/cpu/isolated": "\n", "sys/kernel/iommu_groups/0/type": None,
                   "sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages": None,
                   "sys/devices/system/node/node0/hugepages/hugepages-2048kB/free_hugepages": "0\n",
                   "sys/kernel/mm/hugepages/hugepages-2048kB/free_hugepages": "0\n", "proc/net/protocols": "TCP 1 2\n",
                   "sys/class/net/ens1f0/device/sriov_totalvfs": None, "sys/class/net/ens1f0/device/sriov_numvfs": None,
                   "usr/sbin/ethtool": None, "usr/share/vnode/guest-kernel": None,
                   "sys/fs/cgroup/cgroup.controllers": "cpuset io pids\n"})
        found = self.diagnose()
        for name in ("cpus", "cpu-isolation", "cpu-flags", "kvm", "sr-iov", "iommu", "cgroups"):
            self.expect(found, name, "fallback")
        self.expect(found, "memory", "fallback", "1464 MiB", "ps ")
        self.expect(found, "hugepages", "fallback", "0 MiB", "vm.nr_hugepages")
        self.expect(found, "numa", "ready", "1 node")
        self.expect(found, "af-xdp", "fallback", command="linux-image-amd64")
        self.expect(found, "vfio", "fallback", command="linux-image-amd64")
        self.expect(found, "ethtool", "fallback", "not installed", "apt-get install -y ethtool")
        self.expect(found, "guest-image", "fallback", command="guest-image/guest-kernel")
        self.assertIn("controller cpu", found["cgroups"]["found"])

    def test_a_fresh_machine_lacks_the_programs(self):
        self.tree({**{program: None for program in PROGRAMS}, QEMU_DRIVER: None, DRIVER: None, "var/lib/dpkg/status": None,
                   "proc/net/unix": UNIX})
        found = self.diagnose(4)
        for name, package in (("vswitch", "openvswitch-switch-dpdk"), ("ovsdb-server", "openvswitch-common"),
                              ("qemu", "qemu-system-x86"), ("libvirt", "libvirt-daemon-driver-qemu"), ("ip", "iproute2")):
            self.expect(found, name, "missing", "not installed", "apt-get install -y " + package)
        self.expect(found, "fastpath", "missing", command="install")
        self.expect(found, "driver", "missing", command="install")
        self.expect(found, "fastpath-running", "missing", command="systemctl start vnode-fastpath")

    def test_an_old_open_vswitch_will_not_do(self):
        self.tree({"var/lib/dpkg/status": packages(openvswitch_switch_dpdk="2.15.0+ds1-2", qemu_system_x86="1:10.0")})
        found = self.diagnose(4)
        self.expect(found, "vswitch", "missing", "2.15.0+ds1-2 is older than 3.1", "openvswitch-switch-dpdk")
        self.expect(found, "qemu", "ready", "10.0")
        self.expect(found, "ip", "ready", "/usr/sbin/ip")

    def test_rights_are_needed(self):
        self.tree({"proc/self/status": "CapEff:\t0000000000000000\n"})
        self.expect(self.diagnose(4), "rights", "missing", "CAP_NET_ADMIN", "sudo")

    def test_a_kernel_without_features(self):
        self.tree({"proc/kallsyms": "0000 t veth_newlink_not\n", "proc/self/ns/net": None, "dev/net/tun": None,
                   "dev/vfio/vfio": None, "lib/modules/6.1.0-test/modules.dep": "kernel/drivers/net/tun.ko: kernel/x.ko\n",
                   "lib/modules/6.1.0-test/modules.builtin": "kernel/drivers/vfio/pci/vfio-pci.ko\n"})
        found = self.diagnose(4)
        self.expect(found, "veth", "missing", "veth", "linux-image-amd64")
        self.expect(found, "netns", "missing", "none", "linux-image-amd64")
        self.expect(found, "tap", "missing", "/dev/net/tun", "modprobe tun")
        self.expect(found, "vfio", "fallback", command="modprobe vfio-pci")

    def test_modules_need_not_be_loaded(self):
        self.tree({"proc/kallsyms": "", "lib/modules/6.1.0-test/modules.dep":
                   "kernel/drivers/net/veth.ko.xz:\nkernel/drivers/net/tun.ko:\n"})
        self.expect(self.diagnose(), "veth", "ready", "module veth")

    def test_kvm_needs_device_and_processor(self):
        self.tree({"proc/cpuinfo": processors(2, "avx2")})
        found = self.diagnose()
        self.expect(found, "kvm", "fallback", "neither vmx nor svm")
        self.expect(found, "cpu-flags", "ready", "no AVX-512")
        os.unlink(os.path.join(self.directory.name, "dev/kvm"))
        self.tree({"proc/cpuinfo": processors(2, "svm"), "dev/kvm": None})
        self.expect(self.diagnose(), "kvm", "fallback", "/dev/kvm", "modprobe kvm_amd")

    def test_kvm_has_to_be_open_to_qemu(self):
        """The files are the test's own: only their group, which QEMU's user is in or not, differs."""
        def tree(gid, mode=0o660, groups="kvm:x:{gid}:\n"):
            self.tree({"etc/passwd": f"root:x:0:0::/root:/bin/sh\nlibvirt-qemu:x:64055:{gid}::/var/lib/libvirt:/bin/false\n",
                       "etc/group": groups.format(gid=gid)})
            os.chmod(os.path.join(self.directory.name, "dev/kvm"), mode)
            return self.diagnose()
        ours, other = os.getgid(), os.getgid() + 1
        self.expect(tree(ours), "kvm", "ready")
        self.expect(tree(other), "kvm", "fallback", "not open to the user libvirt-qemu",
                    "chgrp kvm /dev/kvm && chmod 660 /dev/kvm")
        self.expect(tree(other, groups="kvm:x:{gid}:\nmore:x:" + f"{ours}:somebody,libvirt-qemu\n"), "kvm", "ready")
        self.expect(tree(ours, 0o600), "kvm", "fallback", "not open", "chmod 660")
        self.expect(tree(other, 0o666), "kvm", "ready")

    def test_parameters_of_the_kernel_are_for_grub(self):
        self.tree({"sys/devices/system/cpu/isolated": "\n", "sys/kernel/iommu_groups/0/type": None,
                   "etc/default/grub": 'GRUB_CMDLINE_LINUX=""\n'})
        found = self.diagnose()
        self.expect(found, "cpu-isolation", "fallback", command="isolcpus=1-7 nohz_full=1-7")
        self.expect(found, "iommu", "fallback", command="intel_iommu=on")
        # The command does what it is meant to.
        edit = found["cpu-isolation"]["command"].split(" && ")[0].replace("/etc/", self.directory.name + "/etc/")
        subprocess.run(["sh", "-c", edit], check=True)
        with open(self.directory.name + "/etc/default/grub", encoding="ascii") as file:
            self.assertEqual(file.read(), 'GRUB_CMDLINE_LINUX="isolcpus=1-7 nohz_full=1-7 "\n')

    def test_hugepages_on_one_node_only(self):
        self.tree({"sys/devices/system/node/node1/hugepages/hugepages-2048kB/free_hugepages": "0\n"})
        self.expect(self.diagnose(), "numa", "fallback", "node 1", "/node1/hugepages")

    def test_virtual_functions_that_are_off(self):
        self.tree({"sys/class/net/ens1f0/device/sriov_numvfs": "0\n"})
        self.expect(self.diagnose(), "sr-iov", "fallback", "0 of 64", "/ens1f0/device/sriov_numvfs")

    def test_cgroups_of_version_1(self):
        self.tree({"sys/fs/cgroup/cgroup.controllers": None, "sys/fs/cgroup/cpu/x": "", "sys/fs/cgroup/cpuset/x": "",
                   "sys/fs/cgroup/memory/x": ""})
        self.expect(self.diagnose(), "cgroups", "ready", "1")

    def test_the_drivers_folder_must_be_roots_alone(self):
        self.tree()
        os.chmod(os.path.join(self.directory.name, "usr/lib"), 0o777)
        found = self.diagnose(4)
        self.expect(found, "driver", "missing", "/usr/lib", "chmod go-w /usr/lib")
        self.assertNotIn("gnu", found["driver"]["found"])

    def test_rubbish_is_survived(self):
        self.tree({name: "\xff".encode("latin-1").decode("ascii", "replace").replace("\ufffd", "?") * 9000 for name in SERVER
                   if name.startswith(("proc", "sys", "var"))})
        self.diagnose(4)

    def test_for_people(self):
        self.tree({"usr/sbin/ip": None})
        result = self.run_doctor()
        self.assertEqual(result.returncode, 4)
        self.assertRegex(result.stdout, r"(?m)^ip +missing, needed +not installed$")
        self.assertRegex(result.stdout, r"(?m)^ip: Light nodes cannot be set up\.\n    apt-get install -y iproute2$")
        self.assertIn("1 of what slices need is missing.", result.stdout)
        self.tree()
        result = self.run_doctor()
        self.assertEqual(result.returncode, 0)
        self.assertIn("All that slices need is there.", result.stdout)
        result = subprocess.run([VNODE, "doctor", "now"], capture_output=True, text=True, check=False)
        self.assertEqual(result.returncode, 2)

    def test_this_machine(self):
        result = self.run_doctor("--format", "json", root=False)
        found = self.diagnose(result.returncode, root=False)
        self.assertIn(result.returncode, (0, 4))
        self.assertEqual(found["cpus"]["found"], str(os.cpu_count()))
        self.expect(found, "fastpath", "ready", "fastpath/vnode-fastpath")


if __name__ == "__main__":
    unittest.main(argv=sys.argv[:1], verbosity=1)
