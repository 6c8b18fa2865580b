#!/usr/bin/env python3
# SPDX-License-Identifier: Apache-2.0
"""Linux guests joined by the fast path: do ping, TCP and large frames get through, in all variants of the NIC?"""
from harness import Failure, run_cases
from pair import ADDRESS, OTHER, Pair

SEGMENTATION_OFF = "ethtool -K eth0 tso off gso off gro off tx off sg off"
# A NIC that takes neither unfinished checksums nor large segments.
PLAIN_RECEIVER = "guest_csum=off,guest_tso4=off,guest_tso6=off,guest_ecn=off,guest_ufo=off"


def transfer(pair, source, n_mib=4):
    """Copies random bytes over TCP and compares what arrived: the guests trust checksums that nobody computed."""
    sender, receiver = pair.guests[source], pair.guests[OTHER[source]]
    sender.run(f"dd if=/dev/urandom of=/tmp/data bs=1M count={n_mib} 2>/dev/null")
    sent = sender.run("sha256sum </tmp/data")
    received = receiver.run(f"wget -q -O - http://{ADDRESS[source]}/data | sha256sum")
    if sent != received:
        raise Failure(f"{n_mib} MiB from {source} arrived changed: sent {sent}, received {received}")


def exercise_tcp(pair):
    for source in "ab":
        pair.iperf(source)
        transfer(pair, source)


def exercise_briefly(pair):
    """Ping and TCP both ways, as the guests' systems set their NICs up."""
    pair.wait_traffic()
    pair.ping()
    exercise_tcp(pair)
    # Guests that boot miss packets, and TCP finds a receiver's limit by filling it.
    pair.fast_path.check_drops(["tx-down", "tx-full"])


def exercise(pair):
    """The same, and over IPv6, and without segmentation offload."""
    exercise_briefly(pair)
    for source in "ab":
        pair.iperf(source, six=True)
    for guest in pair.guests.values():
        guest.run(SEGMENTATION_OFF)
    exercise_tcp(pair)
    pair.fast_path.check_drops(["tx-down", "tx-full"])


def qemu_serves(scene):
    exercise(Pair(scene, qemu_serves=True).start())


def fast_path_serves(scene):
    exercise_briefly(Pair(scene, qemu_serves=False).start())


def frames_of_9000_bytes(scene):
    pair = Pair(scene, mtu=9000).start()
    for name, guest in pair.guests.items():
        if "mtu 9000 " not in guest.run("ip link show eth0"):
            raise Failure(f"guest {name} was not told the MTU of 9000")
    pair.wait_traffic()
    pair.ping(size=8972)
    exercise(pair)


def packed_rings(scene):
    exercise(Pair(scene, properties={"a": "packed=on", "b": "packed=on"}).start())


def packed_to_split_rings(scene):
    exercise_briefly(Pair(scene, properties={"a": "packed=on"}).start())


def legacy_device(scene):
    exercise_briefly(Pair(scene, properties={"a": "disable-modern=on,disable-legacy=off", "b": "mrg_rxbuf=off"}).start())


def receiver_without_offloads(scene):
    pair = Pair(scene, properties={"b": PLAIN_RECEIVER}).start()
    if "tcp-segmentation-offload: on" not in pair.guests["a"].run("ethtool -k eth0"):
        raise Failure("guest a does not segment in its NIC, so this would test nothing")
    exercise(pair)
    stats = {port["name"]: port for port in pair.fast_path.query("stats")}
    if stats["b"]["tx_packets"] <= stats["a"]["rx_packets"]:
        raise Failure(f"the fast path cut nothing into segments: {stats}")


def tagged_frames(scene):
    pair = Pair(scene).start()
    pair.wait_traffic()
    for name, guest in pair.guests.items():
        guest.run("ip link add link eth0 name eth0.7 type vlan id 7 && ip link set eth0.7 up")
        guest.run(f"ip addr flush dev eth0; ip addr add {ADDRESS[name]}/24 dev eth0.7")
    pair.ping()
    pair.ping(size=20000)
    for source in "ab":
        pair.iperf(source)


if __name__ == "__main__":
    run_cases([qemu_serves, fast_path_serves, frames_of_9000_bytes, packed_rings, packed_to_split_rings,
               legacy_device, receiver_without_offloads, tagged_frames])
