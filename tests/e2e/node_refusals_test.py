#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""What cannot be deployed is refused by a sentence that says why, and nothing of it is left: disks that are full, names that others
have, images that are none."""
import os
import struct
import subprocess

from harness import Failure
from managed_guests import run_node_cases
from managed_node import PAIR, RUN
from network import run

ONE = "name: one\nnodes: {m: {kind: vm, memory: 256MiB}}\n"
IMAGE_MIB = 16
DISK_MIB = 48


def with_image(path):
    return f"name: one\nnodes: {{m: {{kind: vm, memory: 256MiB, image: {path}}}}}\n"


def refused(node, text, *words, code=1):
    """A deploy fails by one sentence that has all the words in it, and leaves nothing."""
    done = subprocess.run(node.vnode_words("deploy", "-t", node.write(text)), stdin=subprocess.DEVNULL, capture_output=True,
                          text=True, timeout=180, check=False)
    lines = [line for line in done.stderr.splitlines() if line]
    print(f"# {lines[-1] if lines else 'nothing was said'}")
    if done.returncode != code or not lines or any(word not in lines[-1] for word in words):
        raise Failure(f"status {done.returncode}, not {code} with {words}: {done.stderr} {done.stdout}")


def fill(path):
    """Takes all the room that is left where 'path' is."""
    with open(path, "wb", buffering=0) as file:
        try:
            while True:
                file.write(bytes(4096))
        except OSError:
            pass


def full_disks_are_told(scene, node):
    os.chmod(scene.directory, 0o755)  # QEMU's user reads images
    os.mkdir(node.state, 0o755)
    run(f"mount -t tmpfs -o size={DISK_MIB}m,mode=755 tmpfs {node.state}")
    try:
        node.start()
        node.deploy(PAIR)
        image = scene.path("whole.qcow2")
        run(f"qemu-img create -q -f qcow2 {image} {IMAGE_MIB}M")
        filler = f"{node.state}/filler"
        fill(filler)
        refused(node, with_image(image), "o space left")
        refused(node, "# " + "long " * 4000 + "\n" + PAIR.replace("pair", "other").replace("10.9", "10.8"),
                "cannot be written", "room on its disk")
        node.await_state("pair", "running")
        os.unlink(filler)
        node.deploy(PAIR.replace("links:", "  c: {kind: netns}\nlinks:"))
        node.vnode("destroy", "pair")
        node.check_nothing_left()
        node.stop()
        node.take_down()
    finally:
        run(f"umount -l {node.state}")


def other_peoples_names_are_left_alone(scene, node):
    node.start()
    node.deploy(PAIR)
    bridge = node.vsctl("list-br").strip()
    interface = next(name for name in node.everything()["interfaces"] if name.startswith("vn"))
    node.vnode("destroy", "pair")
    node.check_nothing_left()
    for make, remove, words in (
            (lambda: node.vsctl(f"add-br {bridge} -- set bridge {bridge} datapath_type=netdev"), lambda: node.vsctl(f"del-br {bridge}"), [bridge, "is not ours"]),
            (lambda: run("ip netns add pair.a"), lambda: run("ip netns del pair.a"), ["pair.a", "is not ours"]),
            (lambda: run(f"ip link add {interface} type veth"), lambda: run(f"ip link del {interface}"), [interface, "is not ours"]),
            (lambda: node.vnode("port", "add", "pair.b.eth0", "dpdk=net_null0"),
             lambda: node.vnode("port", "del", "pair.b.eth0"), ["pair.b.eth0", "not"])):
        make()
        theirs = node.everything()
        refused(node, PAIR, *words)
        if node.everything() != theirs:
            raise Failure(f"there was {theirs}, and is {node.everything()}")
        remove()
        node.check_nothing_left()
    other_peoples_machines_are_left_alone(scene, node)


def other_peoples_machines_are_left_alone(scene, node):
    def virsh(words):
        return run(f"virsh -q -c 'qemu:///embed?root={RUN}/libvirt' {words}")

    node.stop()  # an embedded libvirt has one user at a time
    description = scene.path("machine.xml")
    with open(description, "w", encoding="utf-8") as file:
        file.write("<domain type='qemu'><name>one.m</name><memory unit='MiB'>64</memory><os><type>hvm</type></os></domain>")
    virsh(f"define {description}")
    node.start()
    refused(node, ONE, "one.m", "somebody else's")
    node.check_nothing_left()
    node.stop()
    if "one.m" not in virsh("list --all --name").split():
        raise Failure("somebody else's machine is gone")
    virsh("undefine one.m")


def bad_images_are_refused(scene, node):
    os.chmod(scene.directory, 0o755)
    good, bad = scene.path("good.qcow2"), scene.path("bad.qcow2")
    run(f"qemu-img create -q -f qcow2 {good} {IMAGE_MIB}M")
    node.start()

    def write(content):
        with open(bad, "wb") as file:
            file.write(content)

    for make, words, code in (
            (lambda: None, [bad, "cannot be opened: No such file"], 1),
            (lambda: write(b""), [bad, "is empty, or no image"], 2),
            (lambda: write(b"QFI\xfb" + struct.pack(">I", 3) + bytes(600)), ["qemu-img", "bad.qcow2"], 1),
            (lambda: write(b"This is a letter to my aunt.\n" * 100), [bad, "is no image"], 2),
            (lambda: run(f"rm -f {bad} && qemu-img create -q -f qcow2 -b {good} -F qcow2 {bad}"), [bad, "leans on a backing file"], 2),
            (lambda: run(f"rm -f {bad} && qemu-img create -q -f vmdk {bad} {IMAGE_MIB}M"), [bad, "neither qcow2 nor raw"], 2),
            (lambda: run(f"rm -f {bad} && cp {good} {bad} && chmod 600 {bad}"), [bad, "cannot be read by the user libvirt-qemu"], 1),
            (lambda: run(f"rm -f {bad} && mkdir {bad}"), ["bad.qcow2"], 1)):
        make()
        refused(node, with_image(bad), *words, code=code)
        node.check_nothing_left()
    refused(node, f"name: one\nnodes: {{m: {{kind: vm, image: {good}, disk: 4MiB}}}}\n", "has no room for the image", code=2)
    node.check_nothing_left()


if __name__ == "__main__":
    run_node_cases([full_disks_are_told, other_peoples_names_are_left_alone, bad_images_are_refused])
