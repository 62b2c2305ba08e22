"""Nodes that are killed in the middle of something: nothing acknowledged is lost, nothing is torn.

The moments are random but seeded; each test ends with both nodes holding the same.
"""

import random
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from tests.e2e.homes import (
    SALES,
    Home,
    eventually,
    example,
    found_mandate,
    held,
    invite,
    same,
    save,
    share,
)

V1 = example("atelier_2025_v1.ecf")
LINES = V1.splitlines(keepends=True)
HEADER = b"".join(LINES[:2])
Two = tuple[Home, Home]


def sales(count: int) -> bytes:
    """An exchange file with so many postings."""
    return HEADER + b"".join(LINES[2].replace(b"R-2001", b"K-%04d" % n) for n in range(count))


@contextmanager
def watched(path: Path, known: set[bytes]) -> Iterator[None]:
    """Read a file again and again meanwhile: whatever is seen must be one of the known contents."""
    torn: list[bytes] = []
    done = threading.Event()

    def look() -> None:
        while not done.is_set():
            content = held(path)
            if content is not None and content not in known:
                torn.append(content)
            time.sleep(0.001)

    thread = threading.Thread(target=look)
    thread.start()
    try:
        yield
    finally:
        done.set()
        thread.join()
    assert not torn, f"a content that nobody saved: {torn[0][:200]!r}"


@pytest.mark.parametrize("seed", [1, 2])
def test_during_saves(two: Two, seed: int) -> None:
    """Either node dies while the clerk saves; the last save wins on both, and counts once."""
    rng = random.Random(seed)
    both = share(*two, f"kill saves {seed}", sales(1))
    victim = both.clerk if seed % 2 else both.accountant
    contents = [sales(1 + n) for n in range(25)]
    known = {*contents, V1}
    deaths = rng.sample(range(1, len(contents)), 2)
    with watched(both.copy, known):
        for number, content in enumerate(contents):
            save(both.sales, content)
            time.sleep(rng.uniform(0, 0.05))  # the moment, not a hope
            if number in deaths:
                victim.kill()
                victim.start()
        both.arrives(contents[-1])
    both.in_step()
    assert both.accountant.pending(both.mandate) == (25, 0)
    assert both.clerk.pending(both.mandate) == (25, 0)
    for home in both:
        versions = home("history", both.mandate, SALES)["versions"]
        assert sum(v["added"] - v["deleted"] for v in versions) == 25, "counted twice"
    both.check_logs()


@pytest.mark.parametrize("seed", [1, 2])
def test_during_a_subscription(two: Two, seed: int) -> None:
    """The newcomer, or who admits it, dies while it subscribes; it may be said again."""
    accountant, clerk = two
    name = f"kill subscribe {seed}"
    found_mandate(accountant, name)
    ticket = invite(accountant, clerk, name)
    own = save(clerk.work / f"{name}.ecf", V1)
    victim = accountant if seed == 2 else clerk
    command = clerk.begin("subscribe", ticket, "--attach", own, "--kind", "invoicing")
    time.sleep(random.Random(seed).uniform(0.2, 0.6))
    victim.kill()
    command.communicate(timeout=60)
    victim.start()
    known = [each["name"] for each in clerk("mandate", "list")["mandates"]]
    if name not in known:
        clerk("subscribe", ticket)
    eventually(lambda: clerk.show(name)["state"] == "ok")
    if not clerk.file(name, own.name):
        clerk("attach", name, own, "--kind", "invoicing")
    eventually(same(accountant.folder(name) / own.name, V1))
    eventually(lambda: len(accountant.show(name)["members"]) == 2)
    assert accountant.pending(name) == (7, 0)
    for home in two:
        home.check_logs()


@pytest.mark.parametrize("victim", ["accountant", "clerk"])
def test_during_a_big_transfer(two: Two, victim: str) -> None:
    """Sender or receiver dies with half of a file sent; it arrives whole all the same."""
    both = share(*two, f"kill transfer {victim}", V1)
    content = random.Random(7).randbytes(24 << 20)
    big = save(both.sales.parent / "plans.bin", content)
    both.accountant.stop()
    both.clerk("attach", both.mandate, big, "--kind", "other")
    both.accountant.start()
    chunks = both.accountant.home / "chunks"

    def stored() -> int:
        return sum(1 for path in chunks.rglob("*") if path.is_file())

    before = stored()
    died = both.accountant if victim == "accountant" else both.clerk
    copy = both.copy.with_name(big.name)
    with watched(copy, {content}):
        eventually(lambda: stored() > before + 10 or held(copy) == content)
        died.kill()
        died.start()
        eventually(same(copy, content), 60)
    both.in_step()
    assert both.accountant.file(both.mandate, big.name)["state"] == "ok"
    both.check_logs()


def test_what_a_command_acknowledged_is_there_afterwards(two: Two) -> None:
    """Attach and post, and die at once: between keeping and sending, as near as one can get."""
    rng = random.Random(2)
    both = share(*two, "kill acknowledged", V1)
    accountant, clerk = both
    extra = save(both.sales.parent / "extra.ecf", sales(3))
    clerk("attach", both.mandate, extra, "--kind", "invoicing")
    clerk.kill()
    clerk.start()
    assert clerk.file(both.mandate, "extra.ecf")["records"] == 3
    eventually(same(accountant.folder(both.mandate) / "extra.ecf", sales(3)))

    posted = accountant("post", both.mandate)
    accountant.kill()
    assert posted["added"] == 10
    accountant.start()
    [receipt] = accountant("receipts", both.mandate)["receipts"]
    assert (receipt["receipt"], receipt["state"]) == (posted["receipt"], "posted")
    assert accountant.pending(both.mandate) == (0, 0)
    eventually(lambda: clerk.pending(both.mandate) == (0, 0))

    # A command that is cut off has happened once or not at all.
    save(both.sales, HEADER + LINES[2])
    eventually(lambda: accountant.pending(both.mandate) == (0, 6))
    command = accountant.begin("post", both.mandate)
    time.sleep(rng.uniform(0.2, 0.5))
    accountant.kill()
    command.communicate(timeout=30)
    accountant.start()
    receipts = accountant("receipts", both.mandate)["receipts"]
    expected = (0, 6) if len(receipts) == 1 else (0, 0)
    assert accountant.pending(both.mandate) == expected
    both.in_step()
    assert clerk.pending(both.mandate) == expected
    both.check_logs()


def test_both_at_once_while_both_write(two: Two) -> None:
    both = share(*two, "kill both", V1)
    accountant, clerk = both
    theirs = save(accountant.work / "theirs.ecf", sales(1))
    accountant("attach", both.mandate, theirs, "--kind", "payroll")
    rng = random.Random(3)
    for count in range(2, 12):
        save(both.sales, sales(count))
        save(theirs, sales(count))
        time.sleep(rng.uniform(0, 0.1))
        if count == 6:
            for home in two:
                home.kill()
            for home in two:
                home.launch()
            for home in two:
                home.await_ready()
    both.arrives(sales(11))
    eventually(same(clerk.folder(both.mandate) / "theirs.ecf", sales(11)))
    both.in_step()
    assert accountant.pending(both.mandate) == clerk.pending(both.mandate) == (22, 0)
    both.check_logs()
