"""Both sides change the same files while they cannot reach each other, and meet again."""

import random
from dataclasses import dataclass
from pathlib import Path

import pytest

from tests.e2e.homes import SALES, Home, Pair, eventually, example, held, same, save, share

V1 = example("atelier_2025_v1.ecf")
LINES = V1.splitlines(keepends=True)
LARGE_BYTES = 3 << 20
WHOLE = {"notes.pdf": 1000, "plan à l’échelle.pdf": LARGE_BYTES}


def line(reference: bytes, amount: bytes = b"120.00") -> bytes:
    """A posting of one's own."""
    return LINES[2].replace(b"R-2001", reference).replace(b"2340.00", amount)


# Each side appends a posting, and each changes another one of those in common.
RECORDS = (
    V1.replace(b"615.75", b"600.00") + line(b"R-3001"),
    V1.replace(b"860.00", b"861.00", 1) + line(b"R-3002", b"77.50"),
)
# Both change the same amount.
AMOUNTS = (V1.replace(b"615.75", b"600.00"), V1.replace(b"615.75", b"601.00"))


@dataclass
class Met:
    """What was shared before, changed on both sides, and shared again."""

    records: Pair
    amounts: Pair
    whole: Pair
    contents: dict[str, tuple[bytes, bytes]]
    """By the name of a file that is synchronised whole: what the accountant and the clerk saved."""


@pytest.fixture(scope="module")
def met(nodes: tuple[Home, Home]) -> Met:
    """Both sides save while the other one does not run; then they meet."""
    accountant, clerk = nodes
    for home in nodes:
        home.revive()
    records, amounts, whole = (share(*nodes, f"apart {n}", V1) for n in range(3))
    rng = random.Random(5)
    contents = {name: (rng.randbytes(size), rng.randbytes(size)) for name, size in WHOLE.items()}
    for name, size_bytes in WHOLE.items():
        own = save(whole.sales.with_name(name), rng.randbytes(size_bytes))
        clerk("attach", whole.mandate, own, "--kind", "other")
        eventually(same(whole.copy.with_name(name), own.read_bytes()))
    changes: list[tuple[Path, Path, tuple[bytes, bytes]]] = [
        (records.copy, records.sales, RECORDS),
        (amounts.copy, amounts.sales, AMOUNTS),
        *(
            (whole.copy.with_name(name), whole.sales.with_name(name), content)
            for name, content in contents.items()
        ),
    ]

    def versions(home: Home) -> int:
        mandates = (each.mandate for each in (records, amounts, whole))
        return sum(len(home.ask("mandates", each, "history")["versions"]) for each in mandates)

    before = versions(accountant)
    clerk.stop()
    for theirs, _, content in changes:
        save(theirs, content[0])
    eventually(lambda: versions(accountant) == before + len(changes))
    accountant.stop()
    for _, own, content in changes:
        save(own, content[1])
    clerk.start()
    eventually(lambda: versions(clerk) == before + len(changes))
    accountant.start()
    eventually(lambda: min(map(versions, nodes)) >= before + 2 * len(changes))
    for each in (records, amounts, whole):
        each.in_step()
    return Met(records, amounts, whole, contents)


def test_records_of_both_sides_are_merged(met: Met) -> None:
    """B-ATT-5, B-POS-2: same bytes on both sides, every record of both, pending right."""
    both = met.records
    accountant, clerk = both
    folder = clerk.folder(both.mandate) / SALES
    eventually(lambda: held(both.sales) == held(both.copy) == held(folder))
    merged = both.sales.read_bytes()
    common = set(RECORDS[0].splitlines()) & set(RECORDS[1].splitlines())
    changed = {
        own
        for lines in (content.splitlines() for content in RECORDS)
        for own in set(lines) - set(V1.splitlines())
    }
    assert len(changed) == 4
    assert set(merged.splitlines()) == common | changed
    assert len(merged.splitlines()) == len(LINES) + 2
    assert accountant.pending(both.mandate) == clerk.pending(both.mandate) == (9, 0)
    assert not clerk.alerts("conflict", both.mandate)
    # They go on from what they have in common now.
    save(both.sales, merged + line(b"R-3003"))
    both.arrives(merged + line(b"R-3003"))
    assert accountant.pending(both.mandate) == (10, 0)
    both.check_logs()


def test_the_same_amount_changed_on_both_sides_is_kept_twice(met: Met) -> None:
    """An amount is never settled by who was last."""
    both = met.amounts
    eventually(lambda: held(both.sales) == held(both.copy))
    merged = both.sales.read_bytes()
    assert b"600.00" in merged and b"601.00" in merged and b"615.75" not in merged
    assert both.accountant.pending(both.mandate) == both.clerk.pending(both.mandate) == (8, 0)


@pytest.mark.parametrize("name", WHOLE)
def test_whole_files_of_both_sides_are_kept(met: Met, name: str) -> None:
    """B-ATT-5, B-NOT-4: neither version is lost, both folders hold the same, an alert tells."""
    both = met.whole
    accountant, clerk = both
    own, theirs = both.sales.with_name(name), both.copy.with_name(name)

    def found(home: Home) -> dict[str, bytes]:
        stem, _, suffix = name.rpartition(".")
        copies = home.folder(both.mandate).glob(f"{stem}*.{suffix}")
        return {path.name: path.read_bytes() for path in copies}

    eventually(lambda: len(found(clerk)) == 2 and found(clerk) == found(accountant))
    assert set(found(clerk).values()) == set(met.contents[name])
    eventually(lambda: held(own) == found(clerk)[name])
    for home in both:
        assert home.file(both.mandate, name)["state"] == "conflict"
        assert [each["file"] for each in home.alerts("conflict", both.mandate)].count(name) == 1
    # Who saves has seen one of the two: the other one still stands beside it.
    newer = random.Random(6).randbytes(WHOLE[name])
    save(own, newer)
    eventually(same(theirs, newer))
    assert accountant.file(both.mandate, name)["state"] == "conflict"
    # A person settles it by saying which version it is to be.
    versions = clerk("history", both.mandate, name)["versions"]
    chosen = next(each["version"] for each in versions if each["current"])
    clerk("restore", both.mandate, name, chosen)
    eventually(lambda: {home.file(both.mandate, name)["state"] for home in both} == {"ok"})
    eventually(lambda: held(own) == held(theirs))
    both.check_logs()
