"""Garbage in place of a ticket: the right error in plain words, nothing changed (B-TIC-3)."""

import base64
import re
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from p2psync.core import crypto, ticket
from p2psync.core.ticket import Ticket, TicketPeer
from p2psync.limits import TICKET_BYTES_MAX
from tests.e2e.attackers import call, expect, found, rss_bytes, victim, wall_ms
from tests.e2e.homes import EXIT_CODES, Home, eventually, homes

MANDATE = "Atelier"
PASSPHRASE = "correct horse battery staple"


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Home]]:
    """Who invites, and who subscribes."""
    with homes(tmp_path_factory.mktemp("tickets"), "host", "guest") as (host, guest):
        found(host, MANDATE)
        yield host, guest


def make(host: Home, **wishes: Any) -> tuple[str, str]:
    """A ticket's text and its invitation's name."""
    said = expect(host, "POST", f"/v1/mandates/{MANDATE}/invitations", {"unsealed": True, **wishes})
    return said["ticket"], said["invitation"]


def state(home: Home) -> Any:
    """What a refused ticket leaves as it was."""
    mandates = home.home / "mandates"
    return (
        expect(home, "GET", "/v1/mandates"),
        sorted(str(path) for path in mandates.rglob("*")),
        home.entries(),
    )


def refused(guest: Home, text: str, passphrase: str | None = None) -> str:
    """Subscribe in vain over the API; return the code of the error."""
    before = state(guest)
    body = {"ticket": text} | ({} if passphrase is None else {"passphrase": passphrase})
    status, answer = call(guest, "POST", "/v1/subscriptions", body)
    assert 400 <= status < 500, answer
    assert answer["error"]["text"]
    assert answer["error"]["hint"] is not None
    assert state(guest) == before
    code: str = answer["error"]["code"]
    assert EXIT_CODES[code] == 5
    return code


def armoured(kind: str, body: bytes, version: int = 1) -> str:
    """A ticket whose checksum fits, whatever is in it."""
    encoded = base64.b64encode(body).decode()
    lines = [encoded[at : at + 64] for at in range(0, len(encoded), 64)]
    rest = "\n".join(["", *lines, "end "])
    first = f"p2psync ticket {version} {kind} "
    covered = f"{first}{len(first) + 5 + len(rest) + 16:05}{rest}".encode()
    return (covered + crypto.digest(b"p2psync.ticket", covered, size=8).hex().encode()).decode()


GARBAGE = {
    "empty": ("", "ticket-truncated"),
    "blank": ("\n \n", "ticket"),
    "words": ("hello, here is your ticket", "ticket"),
    "html": ("<html><body>404</body></html>", "ticket"),
    "nuls": ("\0" * 500, "ticket"),
    "other version": ("p2psync ticket 2 open 00100\nabc\nend 0000000000000000\n", "ticket-version"),
    "far version": (f"p2psync ticket {'9' * 9} open 00100\n", "ticket-version"),
    "first line alone": ("p2psync ticket 1 open 00100", "ticket-truncated"),
    "empty body": (armoured("open", b""), "ticket-altered"),
    "nonsense body": (armoured("open", b"\x93\xc1nonsense"), "ticket-altered"),
    "nested body": (armoured("open", b"\x91" * 5000), "ticket-altered"),
    "empty seal": (armoured("sealed", b""), "ticket-passphrase-needed"),
}


@pytest.mark.parametrize("what", GARBAGE)
def test_garbage_is_refused_by_name(nodes: tuple[Home, Home], what: str) -> None:
    text, code = GARBAGE[what]
    assert refused(nodes[1], text) == code


def test_a_ticket_cut_off_anywhere_is_refused(nodes: tuple[Home, Home]) -> None:
    host, guest = nodes
    text, _ = make(host)
    whole = text.rstrip("\n")
    for length in (*range(1, len(whole), 37), len(whole) - 17, len(whole) - 1):
        code = refused(guest, whole[:length])
        assert code in ("ticket-truncated", "ticket-altered")
        if length < len(whole) - 16:
            assert code == "ticket-truncated"


def test_a_ticket_with_a_bit_flipped_anywhere_is_refused(nodes: tuple[Home, Home]) -> None:
    host, guest = nodes
    text, _ = make(host)
    data = text.rstrip("\n").encode()
    for index in range(0, len(data), 41):
        for bit in (0, 5):
            changed = bytearray(data)
            changed[index] ^= 1 << bit
            assert refused(guest, changed.decode("latin-1")).startswith("ticket")


def test_a_megabyte_is_refused_over_the_api_and_from_a_file(
    nodes: tuple[Home, Home], tmp_path: Path
) -> None:
    _, guest = nodes
    before = state(guest)
    status, answer = call(guest, "POST", "/v1/subscriptions", {"ticket": "x" * (1 << 20)})
    assert status == 413, answer
    text = "p2psync ticket 1 open 00100\n" + "A" * TICKET_BYTES_MAX
    assert refused(guest, text) == "ticket-too-large"
    big = tmp_path / "big.crsync"
    big.write_bytes(b"p2psync ticket 1 open 00100\n" + b"A" * (1 << 20))
    guest.run("subscribe", big).refused("ticket-too-large")
    for name, content in {"empty": b"", "binary": bytes(range(256)) * 4}.items():
        path = tmp_path / f"{name}.crsync"
        path.write_bytes(content)
        assert guest.run("subscribe", path).code == 5
    assert state(guest) == before


@pytest.mark.parametrize(
    ("operations", "memory_kib"),
    [
        *((255, 1 << 16), (3, (1 << 32) - 1), (255, (1 << 32) - 1), (11, 1 << 10)),
        *((0, 0), (0, 1 << 16), (1, 1), (3, (1 << 18) + 1)),
    ],
)
def test_a_seal_that_costs_too_much_is_refused_before_it_is_paid(
    nodes: tuple[Home, Home], operations: int, memory_kib: int
) -> None:
    """Up to 255 rounds over 4 TiB of argon2id: no time, no memory, and no hanging node."""
    host, guest = nodes
    said = expect(host, "POST", f"/v1/mandates/{MANDATE}/invitations", {"passphrase": PASSPHRASE})
    sealed = _body(said["ticket"])
    cost = bytes([operations]) + memory_kib.to_bytes(4, "big")  # crypto.seal_with_passphrase
    hostile = sealed[: crypto.SALT_BYTES] + cost + sealed[crypto.SALT_BYTES + len(cost) :]
    memory, started = rss_bytes(guest), time.monotonic()
    assert refused(guest, armoured("sealed", hostile), PASSPHRASE) == "ticket-altered"
    assert rss_bytes(guest) - memory < 64 << 20
    assert time.monotonic() - started < 30  # hours, if it were paid


def _body(text: str) -> bytes:
    lines = [line for line in text.splitlines()[1:-1] if not line.startswith("#")]
    return base64.b64decode("".join(lines))


def test_a_sealed_ticket_says_what_is_wrong_with_the_passphrase(nodes: tuple[Home, Home]) -> None:
    host, guest = nodes
    said = expect(host, "POST", f"/v1/mandates/{MANDATE}/invitations", {"passphrase": PASSPHRASE})
    assert refused(guest, said["ticket"]) == "ticket-passphrase-needed"
    for wrong in ("wrong", PASSPHRASE + "x", "é" * 1000, "\0"):
        assert refused(guest, said["ticket"], wrong) == "ticket-passphrase-wrong"


def test_tickets_that_ended_are_refused_by_name(nodes: tuple[Home, Home]) -> None:
    """Expired here, revoked and used up as a member says, and foreign to all."""
    host, guest = nodes
    revoked, name = make(host)
    expect(host, "DELETE", f"/v1/mandates/{MANDATE}/invitations/{name}")
    assert refused(guest, revoked) == "ticket-revoked"
    right = ticket.read(revoked.encode())
    expired = _like(right, expires_ms=wall_ms() - 1)
    assert refused(guest, ticket.encode(expired).decode()) == "ticket-expired"
    foreign = _like(right, admission_seed=b"f" * 32)
    assert refused(guest, ticket.encode(foreign).decode()) == "ticket-foreign"
    asked = _like(right, expires_ms=(1 << 63) - 1, role="owner", uses=1000)
    assert refused(guest, ticket.encode(asked).decode()) == "ticket-revoked"


def _like(right: Ticket, **changes: Any) -> Ticket:
    return replace(right, **changes)


def test_a_forged_ticket_names_no_folder_and_waits_for_nobody_it_cannot_prove(
    nodes: tuple[Home, Home], tmp_path: Path
) -> None:
    """Its own key, a hostile name, addresses that lead nowhere: nothing outside, and it can go."""
    host, _ = nodes
    with homes(tmp_path, "third") as (third,):
        forged = Ticket(
            *(b"m" * 32, b"g" * 32, b"e" * 32, b"a" * 32),
            *("../../../\0\x1b[2J\u202eevil", "owner", wall_ms() + 10**7, 1),
            (TicketPeer(victim(host), tuple(host.ready["listen"])),),
            (TicketPeer(b"r" * 32, ("/ip4/127.0.0.1/tcp/1", "nonsense", "/ip4/127.0.0.1/tcp/0")),),
        )
        body = {"ticket": ticket.encode(forged).decode()}
        with ThreadPoolExecutor(1) as pool:
            waiting = pool.submit(call, third, "POST", "/v1/subscriptions", body)
            [shown] = eventually(lambda: expect(third, "GET", "/v1/mandates")["mandates"])
            assert shown["state"] in ("waiting", "offline")
            told = Path(expect(third, "GET", f"/v1/mandates/{shown['id']}")["folder"])
            assert told.parent == third.home / "mandates"
            assert re.fullmatch(r"[^/\0\x1b\u202e]+", told.name)
            third.end()  # a member's answer would be waited for
            assert waiting.exception() is not None
    assert host.ready["device"] not in str(expect(host, "GET", "/v1/alerts"))
