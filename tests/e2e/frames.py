# SPDX-License-Identifier: Apache-2.0
"""Frames, byte by byte: built here, and what a rule made of them checked without the code under test.

    frame = ethernet("b", "a", ipv4("10.0.0.1", "10.0.0.2", udp(1000, 2000, b"hello")))
    check_checksums(received)

A station is a letter; mac("a") is its address.
"""
import ipaddress
import struct

ICMP, IGMP, TCP, UDP, ICMP6, FRAGMENT6 = 1, 2, 6, 17, 58, 44
FRAME_SIZE_MIN = 60


def mac(station):
    """The bytes of a station's address, or of one written with colons."""
    if len(station) == 1:
        return bytes((0x52, 0x54, 0, 0, 0, ord(station)))
    return bytes(int(part, 16) for part in station.split(":"))


def mac_text(station):
    return ":".join(f"{byte:02x}" for byte in mac(station))


BROADCAST = "ff:ff:ff:ff:ff:ff"


def tag(vid, pcp=0, tpid=0x8100):
    return struct.pack("!HH", tpid, pcp << 13 | vid)


def ethernet(to, source, packet, *tags):
    """'packet' is (EtherType, bytes), as ipv4() and the others return. Padded to the least size there is."""
    frame = mac(to) + mac(source) + b"".join(tags) + struct.pack("!H", packet[0]) + packet[1]
    return frame.ljust(FRAME_SIZE_MIN, b"\0")


def arp_request(source, source_address, address):
    body = struct.pack("!HHBBH", 1, 0x800, 6, 4, 1) + mac(source) + ipaddress.ip_address(source_address).packed
    return 0x806, body + bytes(6) + ipaddress.ip_address(address).packed


def checksum(data):
    if len(data) % 2:
        data += b"\0"
    total = sum(struct.unpack(f"!{len(data) // 2}H", data))
    while total >> 16:
        total = (total & 0xffff) + (total >> 16)
    return ~total & 0xffff


def pseudo_header(source, to, protocol, size):
    """Addresses as bytes, of either family."""
    return source + to + (struct.pack("!BBH", 0, protocol, size) if len(source) == 4 else
                          struct.pack("!IHBB", size, 0, 0, protocol))


# A transport part is (protocol, bytes, where its checksum is or None: it has none, is there a pseudo header).

def udp(source, to, payload=b"", has_checksum=True):
    return UDP, struct.pack("!HHHH", source, to, 8 + len(payload), 0) + payload, 6 if has_checksum else None, True


def tcp(source, to, flags, sequence=1, acknowledged=0, payload=b""):
    """'flags' as letters: "S", "SA", "A", "FA", "R"."""
    bits = sum({"F": 1, "S": 2, "R": 4, "P": 8, "A": 16}[flag] for flag in flags)
    return TCP, struct.pack("!HHIIBBHHH", source, to, sequence, acknowledged, 5 << 4, bits, 8192, 0, 0) + payload, 16, True


def icmp_echo(identifier, sequence=1, payload=b"echo", reply=False):
    return ICMP, struct.pack("!BBHHH", 0 if reply else 8, 0, 0, identifier, sequence) + payload, 2, False


def icmp6_echo(identifier, sequence=1, payload=b"echo"):
    return ICMP6, struct.pack("!BBHHH", 128, 0, 0, identifier, sequence) + payload, 2, True


def raw(protocol, data):
    return protocol, data, None, False


def finish(part, source, to):
    """The transport part's bytes with their checksum."""
    protocol, data, place, has_pseudo_header = part
    if place is None:
        return data
    covered = (pseudo_header(source, to, protocol, len(data)) if has_pseudo_header else b"") + data
    value = checksum(covered) or (0xffff if protocol == UDP else 0)
    return data[:place] + struct.pack("!H", value) + data[place + 2:]


def ipv4(source, to, part, ttl=64, tos=0, fragment=0, identifier=1, data=None):
    """'fragment': the field of flags and offset. 'data' replaces the transport part's bytes: those of a fragment."""
    source, to = ipaddress.IPv4Address(source).packed, ipaddress.IPv4Address(to).packed
    if data is None:
        data = finish(part, source, to)
    header = struct.pack("!BBHHHBBH", 0x45, tos, 20 + len(data), identifier, fragment, ttl, part[0], 0) + source + to
    return 0x800, header[:10] + struct.pack("!H", checksum(header)) + header[12:] + data


def ipv4_fragments(source, to, part, size):
    """The packet in fragments of 'size' bytes of data, a multiple of eight."""
    data = finish(part, ipaddress.IPv4Address(source).packed, ipaddress.IPv4Address(to).packed)
    return [ipv4(source, to, part, fragment=(0x2000 if begin + size < len(data) else 0) | begin // 8,
                 data=data[begin:begin + size]) for begin in range(0, len(data), size)]


def ipv6(source, to, part, hops=64, data=None, next_header=None):
    source, to = ipaddress.IPv6Address(source).packed, ipaddress.IPv6Address(to).packed
    if data is None:
        data = finish(part, source, to)
    protocol = part[0] if next_header is None else next_header
    return 0x86dd, struct.pack("!IHBB", 6 << 28, len(data), protocol, hops) + source + to + data


def ipv6_fragments(source, to, part, size):
    data = finish(part, ipaddress.IPv6Address(source).packed, ipaddress.IPv6Address(to).packed)
    pieces = []
    for begin in range(0, len(data), size):
        header = struct.pack("!BBHI", part[0], 0, begin | (begin + size < len(data)), 7)
        pieces.append(ipv6(source, to, part, data=header + data[begin:begin + size], next_header=FRAGMENT6))
    return pieces


def vxlan(vni, frame):
    """What a VXLAN packet's UDP payload is."""
    return struct.pack("!II", 0x08000000, vni << 8) + frame


def _transport_is_right(source, to, protocol, data):
    if protocol == UDP:
        return data[6:8] == b"\0\0" or checksum(pseudo_header(source, to, protocol, len(data)) + data) == 0
    if protocol in (TCP, ICMP6):
        return checksum(pseudo_header(source, to, protocol, len(data)) + data) == 0
    return protocol != ICMP or checksum(data) == 0


def checksums_are_right(frame):
    """Whether all checksums in the frame are: of IPv4, and of what it carries whole; looks behind VLAN tags, not into tunnels."""
    kind = 12
    while frame[kind:kind + 2] in (b"\x81\x00", b"\x88\xa8"):
        kind += 4
    packet = frame[kind + 2:]
    if frame[kind:kind + 2] == b"\x08\x00":
        header, size = packet[:(packet[0] & 15) * 4], struct.unpack("!H", packet[2:4])[0]
        if checksum(header):
            return False
        is_fragment = struct.unpack("!H", packet[6:8])[0] & 0x3fff
        return bool(is_fragment) or _transport_is_right(packet[12:16], packet[16:20], packet[9], packet[len(header):size])
    if frame[kind:kind + 2] == b"\x86\xdd":
        size = struct.unpack("!H", packet[4:6])[0]
        return _transport_is_right(packet[8:24], packet[24:40], packet[6], packet[40:40 + size])
    return True
