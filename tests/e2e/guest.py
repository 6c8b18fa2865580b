# SPDX-License-Identifier: Apache-2.0
"""A Linux guest in QEMU with vhost-user NICs, and commands run in it."""
import dataclasses
import json
import os
import re

from harness import Failure

MEMORY_MIB = 192
BOOT_SECONDS_MAX = 120
STATUS = re.compile(rb"\x1e(\d+|ready)\n")  # see guest-image/init


@dataclasses.dataclass
class Nic:
    """One vhost-user NIC. 'path' is the socket; 'server': QEMU listens there, else it connects, again and again."""
    path: str
    mac: str
    server: bool = True
    mtu: int = 0          # what the device tells the guest; 0: nothing
    properties: str = ""  # more properties of QEMU's virtio-net-pci, such as "packed=on"


class Guest:
    """A guest: started by start(), which returns when it has booted."""

    def __init__(self, scene, name, nics, image):
        self.scene = scene
        self.name = name
        self.nics = nics
        self.kernel, self.initrd = image
        self.process = None
        self.connection = None

    def start(self):
        """Boots the guest. With a NIC whose 'server' is set, QEMU waits for the fast path to connect."""
        agent = self.scene.listen(f"{self.name}-agent")
        try:
            self.process = self.scene.start(f"{self.name}-qemu", self._command(agent.getsockname()))
            agent.settimeout(BOOT_SECONDS_MAX)
            self.connection, _ = agent.accept()
        finally:
            os.unlink(agent.getsockname())
            agent.close()
        return self

    def wait_booted(self):
        output, status = self._receive(BOOT_SECONDS_MAX)
        if status != b"ready":
            raise Failure(f"guest {self.name} sent {output!r} instead of booting")
        return self

    def kill(self):
        """Takes the guest's power away."""
        self.process.kill()
        self.process.wait()
        self.connection.close()

    def run(self, command, seconds=60, check=True):
        """Runs a shell command (one line) in the guest and returns what it prints.

        Fails if it takes longer than 'seconds' or, unless 'check' is unset, ends with a status other than 0.
        """
        self.connection.sendall(command.encode() + b"\n")
        output, status = self._receive(seconds)
        text = output.decode(errors="replace")
        if check and status != b"0":
            raise Failure(f"in guest {self.name}, '{command}' ended with status {status.decode()}:\n{text}")
        return text

    def serve_iperf(self):
        """Starts an iperf3 server; returns when it listens (port 5201 is 1451 in hexadecimal).

        The guest's shell looks for that again and again, as long as run() waits: a daemon tells it nothing.
        """
        self.run("iperf3 -s -D && until grep -q ':1451 .* 0A ' /proc/net/tcp6; do usleep 10000; done")

    def iperf(self, address, seconds=1):
        """Sends TCP to an iperf3 server. Returns iperf3's report (its "end" object); fails on any error it names."""
        output = self.run(f"iperf3 -J -c {address} -t {seconds}", seconds + 60, check=False)
        try:
            report = json.loads(output)
        except ValueError:
            raise Failure(f"iperf3 in guest {self.name} printed:\n{output}") from None
        if "error" in report:
            raise Failure(f"iperf3 in guest {self.name} to {address}: {report['error']}")
        received = report["end"]["sum_received"]["bytes"]
        if received == 0:
            raise Failure(f"iperf3 in guest {self.name} to {address}: no byte arrived")
        return report["end"]

    def _receive(self, seconds):
        """Everything up to the next status marker, and the status."""
        received = b""
        self.connection.settimeout(seconds)
        while True:
            try:
                piece = self.connection.recv(65536)
            except TimeoutError:
                raise Failure(f"guest {self.name} is silent for {seconds} s; it had sent {received!r}") from None
            if not piece:
                raise Failure(f"guest {self.name} ended; it had sent {received!r}")
            received += piece
            end = STATUS.search(received)
            if end:
                return received[:end.start()], end.group(1)

    def _command(self, agent):
        command = [
            "qemu-system-x86_64", "-nodefaults", "-display", "none", "-no-reboot",
            "-machine", "q35,memory-backend=memory", "-accel", "tcg", "-cpu", "Nehalem", "-m", str(MEMORY_MIB),
            "-object", f"memory-backend-memfd,id=memory,size={MEMORY_MIB}M,share=on",
            "-kernel", self.kernel, "-initrd", self.initrd,
            "-append", "console=ttyS0 quiet panic=-1 mitigations=off",
            "-chardev", f"file,id=console,path={self.scene.log(self.name + '-console')}",
            "-serial", "chardev:console",
            "-chardev", f"socket,id=agent,path={agent}", "-serial", "chardev:agent",
        ]
        for index, nic in enumerate(self.nics):
            mode = "server=on,wait=off" if nic.server else "reconnect=1"
            device = f"virtio-net-pci,netdev=net{index},mac={nic.mac},vectors=0"
            if nic.mtu:
                device += f",host_mtu={nic.mtu}"
            if nic.properties:
                device += "," + nic.properties
            command += ["-chardev", f"socket,id=chr{index},path={nic.path},{mode}",
                        "-netdev", f"vhost-user,id=net{index},chardev=chr{index}", "-device", device]
        return command
