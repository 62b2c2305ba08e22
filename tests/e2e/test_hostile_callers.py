"""Garbage at the two ports: the local API, and the port that other devices call."""

import http.client
import json
import os
import secrets
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2psync.api.address import read_address
from tests.e2e.attackers import call, expect, found, part, rss_bytes
from tests.e2e.homes import CRP, Home, Json, eventually, example, homes, same

MANDATE = "Boulangerie"
MIB = 1 << 20


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Home]]:
    """The victim, and an honest member."""
    with homes(tmp_path_factory.mktemp("callers"), "victim", "honest") as (victim, honest):
        found(victim, MANDATE, victim.put(CRP, example(CRP)))
        said = expect(victim, "POST", f"/v1/mandates/{MANDATE}/invitations", {"unsealed": True})
        expect(honest, "POST", "/v1/subscriptions", {"ticket": said["ticket"]})
        yield victim, honest


@pytest.fixture
def node(pair: tuple[Home, Home]) -> Home:
    return pair[0]


def still_syncs(pair: tuple[Home, Home], name: str) -> None:
    """What the honest member attaches now arrives."""
    victim, honest = pair
    content = secrets.token_bytes(1000)
    path = honest.put(name, content)
    body = {"files": [str(path)], "kind": "other"}
    expect(honest, "POST", f"/v1/mandates/{MANDATE}/files", body)
    eventually(same(victim.folder(MANDATE) / name, content))


# -- the local API


def test_who_has_no_token_or_comes_from_elsewhere_gets_nothing(node: Home) -> None:
    address = read_address(node.home)
    assert address is not None
    here = f"{address.host}:{address.port}"
    hostile: list[dict[str, str]] = [
        {"Authorization": ""},
        {"Authorization": "Bearer "},
        {"Authorization": f"Bearer {'0' * 64}"},
        {"Authorization": f"Bearer {address.token[:-1]}"},
        {"Authorization": f"Basic {address.token}"},
        {"Host": "evil.example"},
        {"Host": f"evil.example:{address.port}"},
        {"Host": "127.0.0.1"},
        {"Host": f"{here}.evil.example"},
        {"Host": f"[::1]:{address.port}"},
        {"Origin": "https://evil.example"},
        {"Origin": "null"},
        {"Origin": f"https://{here}"},
        {"Origin": f"http://{here}.evil.example"},
        {"Origin": f"http://{address.host}:{address.port + 1}"},
    ]
    for headers in hostile:
        for method, path in (("GET", "/v1/status"), ("POST", "/v1/stop"), ("OPTIONS", "/v1/stop")):
            status, answer = call(node, method, path, None, **headers)
            assert status in (401, 403), (headers, answer)
            assert set(answer) == {"error"}
            assert address.token not in json.dumps(answer)
    expect(node, "GET", "/v1/status")


@pytest.mark.parametrize(
    "body",
    [
        *(b"", b"{", b"[]", b"null", b'"text"', b"{}", b"\xff\xfe", b"\x00" * 100, b"[" * 100_000),
        *(b'{"a":' * 50_000, b'{"name": NaN}', b'{"name": 1e999}', b'{"name": "\\ud800"}'),
        b'{"name": "x", "name": "y", "__proto__": {}}',
        b'{"name": ' + b"9" * 5000 + b"}",
    ],
)
def test_bodies_that_are_no_request_are_refused(node: Home, body: bytes) -> None:
    for path in ("/v1/mandates", "/v1/subscriptions", f"/v1/mandates/{MANDATE}/files"):
        status, answer = call(node, "POST", path, body)
        assert 400 <= status < 500, answer
        assert answer["error"]["text"]


def test_two_megabytes_are_refused_and_not_kept(node: Home) -> None:
    memory = rss_bytes(node)
    for _ in range(20):
        status, _ = call(node, "POST", "/v1/mandates", b'{"name": "' + b"x" * (2 * MIB) + b'"}')
        assert status == 413
    assert rss_bytes(node) - memory < 40 * MIB


@dataclass(frozen=True)
class Endpoint:
    """One endpoint: where, and the fields of its body."""

    method: str
    path: str
    fields: tuple[str, ...] = ()


ENDPOINTS = [
    Endpoint("PUT", "/v1/identity", ("name",)),
    Endpoint("POST", "/v1/identity/unlock", ("passphrase",)),
    Endpoint("POST", "/v1/mandates", ("name", "accounting")),
    Endpoint("GET", "/v1/mandates/{}"),
    Endpoint("POST", "/v1/mandates/{}/share"),
    Endpoint(
        "POST",
        "/v1/mandates/{}/files",
        ("files", "kind", "period", "follows", "expect_seconds", "offered", "program"),
    ),
    Endpoint("PUT", "/v1/mandates/{}/name", ("name",)),
    Endpoint("GET", "/v1/mandates/{}/suggestions"),
    Endpoint("POST", "/v1/mandates/{}/suggestions/dismiss", ("file",)),
    Endpoint("GET", "/v1/mandates/{}/programs"),
    Endpoint("PUT", "/v1/mandates/{}/files/{}/program", ("name", "version", "licence")),
    Endpoint("GET", "/v1/mandates/{}/policy"),
    Endpoint("PUT", "/v1/mandates/{}/policy", ("refuse", "minimums")),
    Endpoint("GET", "/v1/mandates/{}/invitations"),
    Endpoint(
        "POST",
        "/v1/mandates/{}/invitations",
        ("role", "expires_seconds", "uses", "passphrase", "unsealed"),
    ),
    Endpoint("DELETE", "/v1/mandates/{}/invitations/{}"),
    Endpoint("POST", "/v1/subscriptions", ("ticket", "passphrase", "attach", "kind")),
    Endpoint("GET", "/v1/mandates/{}/pending"),
    Endpoint("GET", "/v1/mandates/{}/receipts"),
    Endpoint("POST", "/v1/mandates/{}/receipts", ("files", "output")),
    Endpoint("DELETE", "/v1/mandates/{}/receipts/{}"),
    Endpoint("POST", "/v1/mandates/{}/confirmations", ("file",)),
    Endpoint("POST", "/v1/mandates/{}/restore", ("file", "version", "output")),
    Endpoint("GET", "/v1/mandates/{}/history?file={}&at={}"),
    Endpoint("GET", "/v1/mandates/{}/members"),
    Endpoint("GET", "/v1/alerts?mandate={}"),
    Endpoint("DELETE", "/v1/alerts/{}"),
    Endpoint("GET", "/v1/{}"),
    Endpoint("GET", "/{}"),
]
EVIL = [
    *("", ".", "..", "/", "../../../../etc/passwd", "/etc/passwd", "/proc/self/mem", "/dev/zero"),
    *("\0", "a\0b", "\x1b[2J", "\u202e", "\ud800", "x" * 5000, "é" * 3000, "/" + "a/" * 2000),
    *("~", "$(id)", "C:\\x", "CON", "{name}", "{0.__class__}", "%s%n", "'; DROP TABLE entry;--"),
    *("-1", "0", "1e999", "9" * 400, "0000-00-00", "9999-12-31..0001-01-01", "2025-01-01..2025"),
]
texts = st.sampled_from([*EVIL, MANDATE, CRP]) | st.text(max_size=50)
values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers(-(1 << 70), 1 << 70)
    | st.floats(allow_nan=False, allow_infinity=False)
    | texts,
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(texts, inner, max_size=3),
    max_leaves=6,
)


TYPED: dict[str, st.SearchStrategy[Any]] = {
    "files": st.lists(texts.filter(lambda text: well_formed(text)), min_size=1, max_size=2),
    "kind": st.sampled_from(["accounting", "invoicing", "other", "weird", "\0"]),
    "period": st.none()
    | st.sampled_from(["2025-01-01..2025-12-31", "0001-01-01..9999-12-31", "x"]),
    "follows": st.none() | st.sampled_from([CRP, "x"]),
    "role": st.sampled_from(["owner", "writer", "relay", "weird"]),
    "expires_seconds": st.integers(-1, 1 << 65),
    "uses": st.integers(-1, 1 << 65),
    "unsealed": st.booleans(),
    "passphrase": st.none() | st.sampled_from(["", " ", "x", "\0", "é" * 100]),
}


def well_formed(text: str) -> bool:
    return not any("\ud800" <= character <= "\udfff" for character in text)


@pytest.mark.parametrize("endpoint", ENDPOINTS, ids=lambda each: f"{each.method} {each.path}")
def test_whatever_an_endpoint_is_given_it_answers_and_the_node_lives(
    node: Home, endpoint: Endpoint
) -> None:
    """Never a 500: wrong types, paths, controls, half characters, huge numbers."""
    founded = len(expect(node, "GET", "/v1/mandates")["mandates"])

    @settings(
        max_examples=30,
        deadline=None,
        database=None,
        suppress_health_check=[HealthCheck.too_slow, HealthCheck.function_scoped_fixture],
    )
    @given(st.data())
    def fuzz(data: st.DataObject) -> None:
        drawn: Any = data.draw(st.lists(texts.filter(well_formed), min_size=3, max_size=3))
        parts = [part(text) for text in drawn]
        if data.draw(st.integers(0, 1)) and not endpoint.path.endswith("/name"):
            parts[0] = MANDATE  # under another name nobody would find it afterwards
        body: Any = None
        if endpoint.fields:
            names = st.sampled_from(endpoint.fields) | texts
            typed = {name: TYPED.get(name, texts.filter(well_formed)) for name in endpoint.fields}
            body = data.draw(
                st.fixed_dictionaries(typed)
                | st.fixed_dictionaries({}, optional=typed)
                | st.dictionaries(names, values, max_size=5)
            )
        path = endpoint.path.format(*parts)
        status, answer = call(node, endpoint.method, path[:8000], body)
        assert status < 400 or answer["error"]["code"] != "internal", (path, body, answer)
        assert status != 500, (path, body, answer)
        if status >= 400:
            assert answer["error"]["text"]

    fuzz()
    expect(node, "GET", "/v1/status")
    assert len(expect(node, "GET", "/v1/mandates")["mandates"]) >= founded
    root = node.home / "mandates"
    assert {path.parent for path in root.iterdir()} == {root}
    assert not (node.home.parent / "passwd").exists()


def test_a_thousand_requests_at_once_are_bounded_and_all_end(node: Home) -> None:
    memory = rss_bytes(node)

    def one(number: int) -> int:
        try:
            return call(node, "GET", "/v1/status" if number % 2 else "/v1/mandates")[0]
        except (OSError, http.client.HTTPException, ValueError):
            return 0  # turned away at the door

    with ThreadPoolExecutor(200) as pool:
        answers = list(pool.map(one, range(1000)))
    assert set(answers) <= {0, 200}
    assert answers.count(200) >= 64
    expect(node, "GET", "/v1/status")
    assert rss_bytes(node) - memory < 100 * MIB


def test_half_requests_hold_nobody_up(node: Home) -> None:
    address = read_address(node.home)
    assert address is not None
    with ExitStack() as stack:
        for number in range(40):
            link = stack.enter_context(
                closing(socket.create_connection((address.host, address.port)))
            )
            link.sendall(b"POST /v1/mandates HTTP/1.1\r\nHost: x"[: number % 38])
        expect(node, "GET", "/v1/status")
    garbage = [
        os.urandom(1000),
        b"\x16\x03\x01" + bytes(200),
        b"GET / HTTP/9.9\r\n\r\n",
        b"\n" * 999,
    ]
    for data in garbage:
        with closing(socket.create_connection((address.host, address.port))) as link:
            link.sendall(data)
            link.settimeout(20)
            with suppress(OSError):
                while link.recv(4096):
                    pass
    expect(node, "GET", "/v1/status")


def test_a_path_that_no_file_has_is_refused_wherever_one_is_given(node: Home) -> None:
    place = f"/v1/mandates/{MANDATE}"
    version = expect(node, "GET", f"{place}/history")["versions"][0]["version"]
    for path in ("\0", "/a\0b", "relative", "", "/", "..", "/" + "x" * 300, "/x" * 3000):
        bodies: dict[str, Json] = {
            "/v1/mandates": {"name": "Paths", "accounting": path},
            f"{place}/files": {"files": [path], "kind": "other"},
            f"{place}/receipts": {"output": path},
            f"{place}/restore": {"file": CRP, "version": version, "output": path},
        }
        for url, body in bodies.items():
            status, answer = call(node, "POST", url, body)
            assert 400 <= status < 500, (url, path, answer)
            assert answer["error"]["code"] in ("path-invalid", "request-invalid"), answer


def test_a_kind_of_file_that_there_is_not_is_refused_and_nothing_is_lost(node: Home) -> None:
    """An entry that its own device could not read again would lose the file at the next start."""
    path = node.put("kind.bin", b"kind")
    before = node.entries()
    url = f"/v1/mandates/{MANDATE}/files"
    for kind in ("weird", "Invoicing", "\0", "x" * 4000):
        status, answer = call(node, "POST", url, {"files": [str(path)], "kind": kind})
        assert (status, answer["error"]["code"]) == (400, "file-kind-unknown")
    assert node.entries() == before


# -- the port that devices call


def peers_port(node: Home) -> tuple[str, int]:
    parts = node.ready["listen"][0].split("/")
    return parts[2], int(parts[4])


GREETINGS: dict[str, Callable[[], bytes]] = {
    "random": lambda: os.urandom(100_000),
    "http": lambda: b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 10,
    "tls": lambda: b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + os.urandom(500),
    "half a handshake": lambda: b"\x13/multistream/1.0.0\n",
    "noise and garbage": lambda: (
        b"\x13/multistream/1.0.0\n\x07/noise\n" + b"\xff\xff" + bytes(70_000)
    ),
    "plaintext": lambda: b"\x13/multistream/1.0.0\n\x11/plaintext/2.0.0\n" + bytes(100),
    "a length without end": lambda: b"\xff" * 10_000,
    "nuls": lambda: bytes(1_000_000),
}


@pytest.mark.parametrize("what", GREETINGS)
def test_garbage_at_the_port_is_cut_and_members_sync(pair: tuple[Home, Home], what: str) -> None:
    victim, _ = pair
    memory = rss_bytes(victim)
    for _ in range(5):
        with closing(socket.create_connection(peers_port(victim))) as link:
            with suppress(OSError):
                link.sendall(GREETINGS[what]())
                link.shutdown(socket.SHUT_WR)
            link.settimeout(30)
            heard = b""
            with suppress(ConnectionError):
                while data := link.recv(4096):
                    heard += data
            assert len(heard) < 1000
            assert MANDATE.encode() not in heard
    still_syncs(pair, f"after {what}.bin")
    assert rss_bytes(victim) - memory < 50 * MIB


def test_four_hundred_silent_connections_lock_no_member_out(pair: tuple[Home, Home]) -> None:
    victim, honest = pair
    memory = rss_bytes(victim)
    with ExitStack() as stack:
        for _ in range(400):
            stack.enter_context(closing(socket.create_connection(peers_port(victim))))
        honest.restart()  # so that it has to call anew
        still_syncs(pair, "while silent.bin")
    assert rss_bytes(victim) - memory < 80 * MIB
