"""A program for the discovery tests: prints every mDNS packet on its network in hex.

A plain socket joined to 224.0.0.251. With an argument it also asks everybody for what they have.
"""

import socket
import struct
import sys

GROUP = ("224.0.0.251", 5353)


def query(name: str) -> bytes:
    labels = b"".join(bytes([len(label)]) + label.encode() for label in name.split("."))
    return struct.pack("!6H", 0, 0, 1, 0, 0, 0) + labels + b"\0" + struct.pack("!2H", 12, 1)


def main(host: str, ask: bool) -> None:
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as ear:
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        ear.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        ear.bind(("", GROUP[1]))
        membership = socket.inet_aton(GROUP[0]) + socket.inet_aton(host)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_ADD_MEMBERSHIP, membership)
        ear.setsockopt(socket.IPPROTO_IP, socket.IP_MULTICAST_IF, socket.inet_aton(host))
        print("ready", flush=True)  # noqa: T201 - its output is how the test hears it
        if ask:
            for name in ("_services._dns-sd._udp.local", "_p2psync._tcp.local"):
                ear.sendto(query(name), GROUP)
        while True:
            packet, origin = ear.recvfrom(9000)
            print(origin[0], packet.hex(), flush=True)  # noqa: T201


if __name__ == "__main__":
    main(sys.argv[1], len(sys.argv) > 2)
