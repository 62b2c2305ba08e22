"""Both sides change the same file while they cannot reach each other, and meet again."""

import random
from pathlib import Path

import pytest

from tests.e2e.homes import (
    SALES,
    Home,
    Pair,
    eventually,
    example,
    held,
    same,
    save,
    share,
)

V1 = example("atelier_2025_v1.ecf")
LINES = V1.splitlines(keepends=True)
Two = tuple[Home, Home]


def line(reference: bytes, amount: bytes = b"120.00") -> bytes:
    """A posting of one's own."""
    return LINES[2].replace(b"R-2001", reference).replace(b"2340.00", amount)


def change_apart(both: Pair, accountants: bytes, clerks: bytes, name: str) -> None:
    """Each side saves what it wants while the other one does not run; then they meet."""
    accountant, clerk = both
    theirs, own = accountant.folder(both.mandate) / name, both.sales.parent / name
    clerk.stop()
    eventually(lambda: accountant.show(both.mandate)["state"] == "offline")
    versions = len(accountant("history", both.mandate, name)["versions"])
    save(theirs, accountants)
    eventually(lambda: len(accountant("history", both.mandate, name)["versions"]) == versions + 1)
    accountant.stop()
    save(own, clerks)
    clerk.start()
    eventually(lambda: len(clerk("history", both.mandate, name)["versions"]) == versions + 1)
    accountant.start()
    eventually(lambda: len(clerk("history", both.mandate, name)["versions"]) >= versions + 2)
    both.in_step()


def test_records_of_both_sides_are_merged(both: Pair) -> None:
    """B-ATT-5, B-POS-2: same bytes on both sides, every record of both, pending right."""
    first, second = line(b"R-3001"), line(b"R-3002", b"77.50")
    # Each appends one, and each changes another line of the common ones.
    accountants = V1.replace(b"615.75", b"600.00") + first
    clerks = V1.replace(b"860.00", b"861.00", 1) + second
    change_apart(both, accountants, clerks, SALES)
    accountant, clerk = both
    eventually(
        lambda: held(both.sales) == held(both.copy) == held(clerk.folder(both.mandate) / SALES)
    )
    merged = both.sales.read_bytes()
    wanted = {*accountants.splitlines()[2:], *clerks.splitlines()[2:]}
    wanted -= {each for each in V1.splitlines() if b"615.75" in each or b"net (TMA)" in each}
    assert set(merged.splitlines()[2:]) >= {each for each in wanted if b"860.00" not in each}
    assert b"615.75" not in merged and b"600.00" in merged and b"861.00" in merged
    assert len(merged.splitlines()) == len(V1.splitlines()) + 2
    assert accountant.pending(both.mandate) == clerk.pending(both.mandate) == (9, 0)
    assert not clerk.alerts("conflict", both.mandate)
    # They go on from what they have in common now.
    save(both.sales, merged + line(b"R-3003"))
    both.arrives(merged + line(b"R-3003"))
    assert accountant.pending(both.mandate) == (10, 0)
    both.check_logs()


def test_the_same_line_changed_on_both_sides_loses_neither_amount(both: Pair) -> None:
    """An amount is never settled by who was last: both are kept and shown."""
    change_apart(both, V1.replace(b"615.75", b"600.00"), V1.replace(b"615.75", b"601.00"), SALES)
    eventually(lambda: held(both.sales) == held(both.copy))
    merged = both.sales.read_bytes()
    assert b"600.00" in merged and b"601.00" in merged
    assert both.accountant.pending(both.mandate) == both.clerk.pending(both.mandate)
    both.check_logs()


@pytest.mark.parametrize(
    ("name", "size_bytes"), [("notes.pdf", 1000), ("plan à l’échelle.pdf", 3 << 20)]
)
def test_whole_files_of_both_sides_are_kept(two: Two, name: str, size_bytes: int) -> None:
    """B-ATT-5, B-NOT-4: neither version is lost, both folders hold the same, an alert tells."""
    both = share(*two, f"apart {size_bytes}", V1)
    accountant, clerk = both
    rng = random.Random(5)
    old, accountants, clerks = (rng.randbytes(size_bytes) for _ in range(3))
    own = save(both.sales.parent / name, old)
    clerk("attach", both.mandate, own, "--kind", "other")
    theirs = accountant.folder(both.mandate) / name
    eventually(same(theirs, old))
    change_apart(both, accountants, clerks, name)

    def pdfs(home: Home) -> dict[str, bytes]:
        stem = name.removesuffix(".pdf")
        found = home.folder(both.mandate).glob(f"{stem}*.pdf")
        return {path.name: path.read_bytes() for path in found}

    eventually(lambda: len(pdfs(clerk)) == 2 and pdfs(clerk) == pdfs(accountant))
    assert set(pdfs(clerk).values()) == {accountants, clerks}
    eventually(lambda: held(own) == pdfs(clerk)[name])
    for home in both:
        assert home.file(both.mandate, name)["state"] == "conflict"
        assert [each["file"] for each in home.alerts("conflict", both.mandate)].count(name) == 1
    # A save that has seen both settles it, everywhere.
    settled = rng.randbytes(size_bytes)
    save(own, settled)
    eventually(same(theirs, settled))
    eventually(lambda: accountant.file(both.mandate, name)["state"] == "ok")
    assert Path(clerk.folder(both.mandate) / name).read_bytes() == settled
    both.check_logs()
