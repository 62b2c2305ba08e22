"""Garbage in place of an exchange file: shown as a problem, synced whole, and the node goes on."""

import os
import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2psync.core.crypto import content_digest
from tests.e2e.attackers import call, expect, found, rss_bytes
from tests.e2e.homes import CRP, SALES, SAMPLES, Home, eventually, example, homes, same, save

MANDATE = "Garage"
MIB = 1 << 20
V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")


@pytest.fixture(scope="module")
def pair(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[Home, Home]]:
    """Who attaches garbage, and who gets it."""
    with homes(tmp_path_factory.mktemp("content"), "giver", "taker") as (giver, taker):
        found(giver, MANDATE, giver.put(CRP, example(CRP)))
        said = expect(giver, "POST", f"/v1/mandates/{MANDATE}/invitations", {"unsealed": True})
        expect(taker, "POST", "/v1/subscriptions", {"ticket": said["ticket"]})
        yield giver, taker


def attach(home: Home, path: Path, kind: str = "invoicing") -> dict[str, Any]:
    body = {"files": [str(path)], "kind": kind}
    [file] = expect(home, "POST", f"/v1/mandates/{MANDATE}/files", body)["files"]
    shown: dict[str, Any] = file
    return shown


def samples() -> dict[str, bytes]:
    """Files of other programs, where they are at hand."""
    folder = SAMPLES.parent
    if not folder.is_dir():
        return {}
    return {
        str(path.relative_to(folder)): path.read_bytes()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and "cresus" not in str(path.relative_to(folder))
    }


def made_up() -> dict[str, bytes]:
    """Garbage of every kind."""
    draw = random.Random(7)
    return {
        "empty": b"",
        "random": draw.randbytes(300_000),
        "nuls": bytes(100_000),
        "utf-16": V1.decode("cp1252").encode("utf-16"),
        "utf-32": V1.decode("cp1252").encode("utf-32-be"),
        "bom": b"\xef\xbb\xbf" + V1,
        "cut": V1[: len(V1) // 2],
        "doubled header": V1[:200] + V1,
        "bits": bytes(byte ^ (1 << (index % 7)) for index, byte in enumerate(V1)),
        "tabs": b"\t" * 50_000,
        "newlines": b"\r\n" * 50_000,
        "returns": V1.replace(b"\r\n", b"\r"),
        "numbers": b"\t".join(b"9" * 400 for _ in range(30)) + b"\r\n",
        "exponents": V1.replace(b".", b"e999999999."),
        "not a number": V1.replace(b".", b"NaN"),
        "dates": V1.replace(b"2025", b"0000"),
        "controls": bytes(range(256)) * 100,
        "pickle": b"\x80\x04\x95cos\nsystem\n(S'true'\ntR.",
        "xml bomb": b'<!DOCTYPE l [<!ENTITY a "lol">]><l>' + b"&a;" * 1000 + b"</l>",
    }


def test_garbage_is_synced_whole_and_its_problem_is_shown(pair: tuple[Home, Home]) -> None:
    """B-ATT-5, B-POS-8: nothing that is not understood is refused, dropped, or counted."""
    giver, taker = pair
    garbage = {**samples(), **made_up()}
    for number, (what, content) in enumerate(garbage.items()):
        path = giver.put(f"garbage {number}.ecf", content)
        shown = attach(giver, path)
        if what in ("random", "nuls", "utf-16", "utf-32", "controls", "pickle", "xml bomb"):
            assert shown["problems"], what
            assert shown["records"] == 0, what
    for number, content in enumerate(garbage.values()):
        eventually(same(taker.folder(MANDATE) / f"garbage {number}.ecf", content))
    for home in pair:
        said = expect(home, "GET", f"/v1/mandates/{MANDATE}/pending")
        assert said["added"] == sum(file["added"] for file in said["files"])
        assert home.process is not None
        assert home.process.poll() is None


def test_a_file_of_two_hundred_megabytes_takes_no_memory(pair: tuple[Home, Home]) -> None:
    giver, taker = pair
    path = giver.work / "sparse.ecf"
    with path.open("wb") as file:
        file.write(os.urandom(4 * MIB))
        file.truncate(200 * MIB)
    before = [rss_bytes(home) for home in pair]
    peaks = [0, 0]
    shown = attach(giver, path)
    assert shown["problems"]
    target = taker.folder(MANDATE) / "sparse.ecf"

    def arrived() -> bool:
        for index, home in enumerate(pair):
            peaks[index] = max(peaks[index], rss_bytes(home))
        return target.exists() and target.stat().st_size == 200 * MIB

    eventually(arrived, 60)
    assert content_digest(target.read_bytes()) == content_digest(path.read_bytes())
    for peak, base in zip(peaks, before, strict=True):
        assert peak - base < 150 * MIB


def test_a_line_of_fifty_megabytes_is_synced_whole(pair: tuple[Home, Home]) -> None:
    giver, taker = pair
    content = V1 + b"x" * (50 * MIB) + b"\r\n"
    shown = attach(giver, giver.put("line.ecf", content))
    assert shown["problems"]
    eventually(same(taker.folder(MANDATE) / "line.ecf", content), 60)


def test_an_exchange_file_that_turns_to_garbage_and_back_loses_nothing(
    pair: tuple[Home, Home],
) -> None:
    giver, taker = pair
    sales = giver.put(SALES, V1)
    attach(giver, sales)
    base = pending(giver)
    assert base["records"] > 0
    for content in (os.urandom(len(V1)), V1.decode("cp1252").encode("utf-16"), bytes(len(V1))):
        save(sales, content)
        confirm(giver)
        eventually(same(taker.folder(MANDATE) / SALES, content))
        assert file(giver)["problems"]
        assert pending(giver)["records"] == 0
    save(sales, V2)
    confirm(giver)
    eventually(same(taker.folder(MANDATE) / SALES, V2))
    fresh = giver.put("fresh.ecf", V2)
    attach(giver, fresh)
    for home in pair:
        eventually(partial(counts_alike, home))
        assert not file(home)["problems"]
    versions = expect(giver, "GET", f"/v1/mandates/{MANDATE}/history?file={SALES}")["versions"]
    assert len(versions) >= 5


def counts_alike(home: Home) -> bool:
    """Whether the file counts like one with the same content that was never garbage."""
    return bool(pending(home)["added"] == pending(home, "fresh.ecf")["added"])


def file(home: Home, name: str = SALES) -> dict[str, Any]:
    shown = expect(home, "GET", f"/v1/mandates/{MANDATE}")
    return next(each for each in shown["files"] if each["name"] == name)


def pending(home: Home, name: str = SALES) -> dict[str, Any]:
    said = file(home, name)
    return {"records": said["records"], **said["pending"]}


def confirm(home: Home) -> None:
    """Take the save, also when it is held back for looking like a loss (B-HIS-3)."""

    def taken() -> bool:
        content = (home.work / SALES).read_bytes()
        if (home.folder(MANDATE) / SALES).read_bytes() == content:
            return True
        if file(home)["state"] == "held":
            call(home, "POST", f"/v1/mandates/{MANDATE}/confirmations", {"file": SALES})
        return False

    eventually(taken)
