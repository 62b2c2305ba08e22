"""A third device joins later, by a ticket that is good for several."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e.homes import CRP, SALES, Home, Pair, eventually, example, homes, same, save

V2 = example("atelier_2025_v2.ecf")
ADMITTED_SECONDS_MAX = 90.0
"""Who waits for a member dials it less and less often, up to once a minute."""


@pytest.fixture
def third(tmp_path: Path) -> Iterator[Home]:
    """A third person's node."""
    with homes(tmp_path, "third") as (home,):
        yield home


def test_a_third_device_waits_for_who_may_admit_it_and_gets_everything(
    both: Pair, third: Home
) -> None:
    """B-TIC-3, B-TIC-4, B-MAN-6."""
    accountant, clerk = both
    name = both.mandate
    posted = accountant("post", name)
    both.in_step()
    ticket = third.work / "three.crsync"
    accountant("invite", name, "-o", ticket, "--unsealed", "--uses", "2", "--role", "writer")
    both.in_step()
    # Only the clerk is there, who is a writer and admits nobody: the newcomer waits and says so.
    accountant.stop()
    assert third("subscribe", ticket)["state"] == "waiting"
    shown = third.show(name)
    assert (shown["state"], bool(shown["cause"]), bool(shown["action"])) == ("waiting", True, True)
    save(both.sales, V2)
    eventually(lambda: clerk.pending(name) == (3, 2))
    accountant.start()
    eventually(lambda: third.show(name)["state"] == "ok", ADMITTED_SECONDS_MAX)
    eventually(same(third.folder(name) / CRP, example(CRP)))
    eventually(same(third.folder(name) / SALES, V2))
    eventually(lambda: third.pending(name) == (3, 2))
    [receipt] = third("receipts", name)["receipts"]
    assert receipt["receipt"] == posted["receipt"]
    three = (accountant, clerk, third)
    eventually(lambda: [len(home.show(name)["members"]) for home in three] == [3, 3, 3])
    states = {
        (each["uses"], each["used"], each["state"])
        for each in accountant("invite", "list", name)["invitations"]
    }
    assert states == {(1, 1, "used-up"), (2, 1, "open")}
    # The clerk and the third go on while the accountant is away.
    accountant.stop()
    own = save(third.work / "third.ecf", V2.replace(b"R-2001", b"T-2001"))
    third("attach", name, own, "--kind", "invoicing")
    eventually(same(clerk.folder(name) / own.name, own.read_bytes()), ADMITTED_SECONDS_MAX)
    accountant.start()
    eventually(same(accountant.folder(name) / own.name, own.read_bytes()), ADMITTED_SECONDS_MAX)
    both.check_logs()
    third.check_logs()
