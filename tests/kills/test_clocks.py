"""Clocks that are wrong by a year, or jump: entries are taken, postings are right, people are told.

Only the wall clock of a node's process is set; its timers run by the clock that never jumps.
"""

import random
from collections.abc import Iterator
from functools import partial
from pathlib import Path

import pytest

from tests.kills.hosts import Host, Refused, eventually
from tests.kills.life import MANDATE, Life

HOUR_SECONDS = 3600.0
YEAR_SECONDS = 365 * 24 * HOUR_SECONDS


@pytest.fixture
def life(tmp_path: Path) -> Iterator[Life]:
    """Three nodes whose clocks may be wrong; all else must be right in the end."""
    with Life(tmp_path / "life", 3, mutant="impatient") as life:
        life.expected = {"clock-wrong"}
        yield life
        life.settle()
        life.last_post()


def told_of_clocks(host: Host) -> str:
    """What people are told of clocks."""
    return " ".join(each["text"] for each in host.alerts() if each["type"] == "clock-wrong")


def test_a_clock_a_year_ahead(life: Life) -> None:
    """The others are told whose it may be; nothing is refused."""
    clerk = life.hosts[1]
    life.name(1)
    clerk.meter.set_clock(YEAR_SECONDS)
    life.save(1, more=3)
    life.append(1)
    life.settle()
    for other in (life.accountant, life.hosts[2]):
        assert life.model.names[1] in eventually(partial(told_of_clocks, other))
    assert not told_of_clocks(clerk)
    life.post()


def test_a_clock_a_year_behind(life: Life) -> None:
    """It is told itself: what comes from the others comes from the future."""
    clerk = life.hosts[1]
    clerk.meter.set_clock(-YEAR_SECONDS)
    life.save(1, more=3)
    life.append(1)
    life.settle()
    life.post()
    life.save(2, more=1)
    life.settle()
    assert eventually(lambda: told_of_clocks(clerk))
    assert not told_of_clocks(life.hosts[0])


def test_the_last_writer_of_an_opaque_file(life: Life) -> None:
    """Who saw a version and overwrote it comes after it, whatever the clocks say."""
    life.hosts[1].meter.set_clock(YEAR_SECONDS)
    life.replace(1, 300_000)
    life.settle()
    life.hosts[2].meter.set_clock(-YEAR_SECONDS)
    life.overwrite(2, 1, 290_000)
    life.settle()
    life.replace(1, 310_000)
    life.settle()


def test_clocks_that_jump_while_people_work(life: Life) -> None:
    rng = random.Random(11)
    jumps = (0.0, HOUR_SECONDS, -HOUR_SECONDS, YEAR_SECONDS, -YEAR_SECONDS)
    for _ in range(12):
        rng.choice(life.hosts).meter.set_clock(rng.choice(jumps))
        for _ in range(3):
            life.act()
        rng.choice(life.hosts).meter.set_clock(rng.choice(jumps))
        life.append(rng.choice((1, 2)))
    life.settle()
    life.hosts[1].kill()
    life.hosts[1].start()
    life.check(life.hosts[1])


def test_a_ticket_and_a_clock_a_year_ahead(life: Life, tmp_path: Path) -> None:
    """It counts as expired there, and the error says that a clock may be wrong (B-TIC-3)."""
    body = {"unsealed": True}
    ticket = life.accountant("POST", "mandates", MANDATE, "invitations", body=body)["ticket"]
    guest = Host(tmp_path / "guest", "impatient")
    try:
        guest.start()
        guest.meter.set_clock(YEAR_SECONDS)
        with pytest.raises(Refused) as refusal:
            guest("POST", "subscriptions", body={"ticket": ticket})
        assert refusal.value.error["code"] == "ticket-expired"
        assert "clock" in refusal.value.error["hint"]
        guest.meter.set_clock(0)
        guest("POST", "subscriptions", body={"ticket": ticket})
        eventually(lambda: guest.ask("mandates", MANDATE)["state"] == "ok")
    finally:
        guest.end()
