# SPDX-License-Identifier: Apache-2.0
"""Two guests, "a" and "b", joined by the fast path: the scene of most tests."""
from fast_path import FastPath
from guest import Guest, Nic
from harness import build_path

ADDRESS = {"a": "10.0.0.1", "b": "10.0.0.2"}
ADDRESS6 = {"a": "fd00::1", "b": "fd00::2"}
MAC = {"a": "52:54:00:00:00:0a", "b": "52:54:00:00:00:0b"}
OTHER = {"a": "b", "b": "a"}


class Pair:
    """'qemu_serves': QEMU listens on the vhost-user sockets and the fast path connects; else the reverse."""

    def __init__(self, scene, qemu_serves=True, mtu=0, properties=None):
        self.qemu_serves = qemu_serves
        self.fast_path = FastPath(scene)
        image = build_path("guest-image/guest-kernel"), build_path("guest-image/guest-initrd")
        self.guests = {}
        for name in "ab":
            nic = Nic(scene.path(f"{name}.sock"), MAC[name], qemu_serves, mtu, (properties or {}).get(name, ""))
            self.guests[name] = Guest(scene, name, [nic], image)

    def start(self):
        self.start_fast_path()
        for guest in self.guests.values():
            guest.start()
        for name in self.guests:
            self.finish_boot(name)
        return self

    def start_fast_path(self):
        """Starts the fast path and gives it the ports and rules of the pair."""
        self.fast_path.start()
        for name, guest in self.guests.items():
            self.fast_path.add_port(name, guest.nics[0].path, not self.qemu_serves)
        self.fast_path.join("a", "b")

    def finish_boot(self, name):
        guest = self.guests[name].wait_booted()
        guest.run("sysctl -q -w net.ipv6.conf.eth0.dad_transmits=0 && ip link set eth0 up")
        guest.run(f"ip addr add {ADDRESS[name]}/24 dev eth0")
        guest.run(f"ip addr add {ADDRESS6[name]}/64 dev eth0")
        guest.run("httpd -h /tmp")
        guest.serve_iperf()

    def wait_traffic(self, seconds=30):
        """Returns when a packet has gone from a to b and back."""
        self.guests["a"].run(f"until ping -c 1 -W 1 {ADDRESS['b']} >/dev/null; do :; done", seconds)

    def ping(self, size=56):
        """Ten echoes each way, of 'size' bytes of payload; fails if one is missing."""
        for name, guest in self.guests.items():
            guest.run(f"ping -c 10 -i 0.05 -W 2 -s {size} {ADDRESS[OTHER[name]]}")

    def iperf(self, source, six=False):
        """One second of TCP from 'source' to the other guest; 'six': over IPv6. Returns iperf3's report."""
        return self.guests[source].iperf((ADDRESS6 if six else ADDRESS)[OTHER[source]])
