"""B-NET-1, B-NET-2: what crosses a relay and what mDNS sends tells nobody what is synchronised."""

import json
import socket
from collections.abc import Iterable
from pathlib import Path

from tests.e2e import packets
from tests.e2e.homes import (
    CRP,
    Home,
    eventually,
    example,
    found_mandate,
    invite,
    same,
    save,
)
from tests.e2e.relay_homes import states_of
from tests.e2e.watching_relay import PORT, SINK_PORT
from tests.netns import Machine, apart

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
NAME = "Ébénisterie Vuilleumier"
SALES = "ventes-confidentielles.ecf"
DEVICES = ("Poste de Mme Aubépine", "Portable du fiduciaire")
RENAMED = "Poste du remplaçant"
CANARY = "Canari dans la mine: Žluťoučký"
CANARY_BYTES = bytes(range(32, 64))
SEND = """
import socket, sys
host, port, sink = sys.argv[1], int(sys.argv[2]), int(sys.argv[3])
datagrams, parts = [bytes.fromhex(each) for each in sys.argv[4].split(",")], sys.argv[5].split(",")
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as out:
    for each in datagrams:
        out.sendto(each, (host, port))
with socket.create_connection((host, sink)) as out:
    out.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    for each in parts:
        out.sendall(bytes.fromhex(each))
"""


def cry(machine: Machine) -> None:
    """Send the canary in clear: in every form by UDP, and by TCP in two parts."""
    forms = [*packets.of_text(CANARY), *packets.forms(CANARY_BYTES)]
    text = CANARY.encode()
    parts = (text[:9].hex(), text[9:].hex())
    told = ",".join(each.hex() for each in forms)
    sender = machine.python("-c", SEND, "10.78.2.1", "9", str(SINK_PORT), told, ",".join(parts))
    assert sender.wait(20) == 0


def test_b_net_1_and_2_packets_hold_no_name_no_file_and_no_content(tmp_path: Path) -> None:
    """A whole story, seen from the relay's machine and by the relay itself."""
    with apart(2) as (middle, others):
        for machine in others:
            machine.ip("route", "add", "224.0.0.0/4", "dev", machine.device)
        relay = middle.python("-m", "tests.e2e.watching_relay", str(tmp_path))
        assert relay.stdin is not None and relay.stdout is not None
        peer = json.loads(relay.stdout.readline())["peer"]
        accountant, clerk = (
            Home(tmp_path / name, (), ("ip", "netns", "exec", machine.namespace))
            for name, machine in zip(("accountant", "clerk"), others, strict=True)
        )
        try:
            mandate = tell(accountant, clerk, peer)
            cry(others[1])
            relay.stdin.close()
            assert relay.wait(30) == 0
        finally:
            for home in (accountant, clerk):
                home.end()

    traffic = packets.read(tmp_path / "packets")
    passed = (tmp_path / "passed").read_bytes()
    # It was all seen, and would have been found.
    assert len(traffic.udp[packets.MDNS_PORT]) >= 2
    assert traffic.bytes_at(PORT) > len(passed) > 3 * len(V1 + V2)
    every = [*packets.of_text(CANARY), *packets.forms(CANARY_BYTES)]
    canaries = {str(number): (each,) for number, each in enumerate(every)}
    assert packets.found(canaries, traffic.payloads()) == set(canaries)
    (whole,) = [data for flow, data in traffic.tcp.items() if flow[2] == SINK_PORT]
    assert whole == CANARY.encode()

    secrets: dict[str, Iterable[bytes]] = {
        "mandate id": packets.forms(mandate),
        "machine": packets.of_text(socket.gethostname() + ".local"),
        "sales": packets.of_content(V1),
        "more sales": packets.of_content(V2),
        "accounting": packets.of_content(example(CRP)),
        **{text: list(packets.of_text(text)) for text in (NAME, SALES, CRP, RENAMED, *DEVICES)},
        **{text: list(packets.of_text(text)) for text in texts(V2) | texts(example(CRP))},
    }
    secrets = {name: list(needles) for name, needles in secrets.items()}
    assert packets.found(secrets, [V1, V2, example(CRP)]), "the secrets are those of the files"
    assert packets.found(secrets, traffic.payloads()) == set()
    assert packets.found(secrets, [passed]) == set()


def tell(accountant: Home, clerk: Home, peer: str) -> bytes:
    """Create, subscribe by ticket, synchronise, post, rename; returns the mandate's id."""
    for home in (accountant, clerk):
        home.launch()
    for home, name in zip((accountant, clerk), DEVICES, strict=True):
        home.await_ready()
        home("identity", "set", "--name", name)
    found_mandate(accountant, NAME)
    accountant("relay", "add", f"/ip4/10.78.1.1/tcp/{PORT}/p2p/{peer}")
    clerk("relay", "add", f"/ip4/10.78.2.1/tcp/{PORT}/p2p/{peer}")
    eventually(lambda: states_of(accountant) == ["reserved"], what="a reservation")
    ticket = invite(accountant, clerk, NAME)
    sales = clerk.put(SALES, V1)
    clerk("subscribe", ticket, "--attach", sales, "--kind", "invoicing")
    copy = accountant.folder(NAME) / SALES
    eventually(same(copy, V1))
    accountant("post", NAME)
    save(sales, V2)
    eventually(same(copy, V2))
    clerk("identity", "set", "--name", RENAMED)
    clerk("wait", NAME, "--synced", "--timeout", "30")
    return bytes.fromhex(accountant("mandate", "show", NAME)["id"])


def texts(content: bytes) -> set[str]:
    """The words of a file that stand for something: texts of records, names of accounts."""
    cells = content.decode("cp1252").replace("\r", "").replace("\n", "\t").split("\t")
    return {each for each in cells if len(each) >= 8 and not each[0].isdigit()}
