"""Many, large and oddly named files, and many saves."""

import random

from tests.e2e.homes import CRP, SALES, Home, Pair, eventually, example, held, same, save, share

V1 = example("atelier_2025_v1.ecf")
Two = tuple[Home, Home]
NAMES = (
    "Ventes été 2025.ecf",
    "œuvres & Cie (copie).ecf",
    "Zürich, Straße 5.ecf",
    "sales #1 100%.ecf",
    "e\u0301te\u0301 de\u0301compose\u0301.ecf",
    "帳簿.ecf",
)


def test_the_last_of_many_quick_saves_wins(both: Pair) -> None:
    for number in range(50):
        save(both.sales, V1.replace(b"2340.00", b"%d.00" % (1000 + number)))
    last = V1.replace(b"2340.00", b"4321.00")
    save(both.sales, last)
    both.arrives(last)
    both.in_step()
    assert held(both.sales) == held(both.copy) == last
    assert both.accountant.pending(both.mandate) == (7, 0)
    # The same when the file is written in place, and to the copy on the other side.
    for number in range(50):
        both.copy.write_bytes(V1.replace(b"2340.00", b"%d.00" % (2000 + number)))
    both.copy.write_bytes(V1)
    eventually(same(both.sales, V1))
    both.in_step()
    assert held(both.sales) == held(both.copy) == V1
    assert both.accountant.pending(both.mandate) == both.clerk.pending(both.mandate) == (7, 0)
    both.check_logs()


def test_a_large_file_arrives_and_tells_how_far_it_is(both: Pair) -> None:
    """B-ATT-5; content that comes in many chunks, listed in chunks of their own."""
    accountant, clerk = both
    content = random.Random(60).randbytes(60 << 20)
    film = save(both.sales.parent / "film.mov", content)
    with accountant.listening() as here, clerk.listening() as there:
        attached = clerk("attach", both.mandate, film, "--kind", "other")["files"][0]
        assert (attached["bytes"], attached["records"]) == (len(content), 0)
        eventually(same(both.copy.with_name("film.mov"), content), 120)
    received = [each["done_bytes"] for each in here if each.get("phase") == "receiving"]
    sealed = [each["done_bytes"] for each in there if each.get("phase") == "reading"]
    for steps in (received, sealed):
        assert len(steps) > 3 and steps == sorted(steps)
    both.in_step()
    assert accountant.file(both.mandate, "film.mov")["state"] == "ok"
    # A little change moves little: all other chunks are there already.
    changed = content[: 30 << 20] + b"x" + content[(30 << 20) + 1 :]
    with accountant.listening() as here:
        save(film, changed)
        eventually(same(both.copy.with_name("film.mov"), changed), 120)


def test_names_with_spaces_and_accents(both: Pair) -> None:
    accountant, clerk = both
    files = [
        save(both.sales.parent / name, V1.replace(b"R-2001", b"N-%04d" % number))
        for number, name in enumerate(NAMES)
    ]
    clerk("attach", both.mandate, *files, "--kind", "invoicing")
    eventually(lambda: len(accountant.show(both.mandate)["files"]) == len(NAMES) + 2)
    both.in_step()
    contents = sorted(path.read_bytes() for path in files)
    for home in both:
        copies = [
            home.folder(both.mandate) / each["name"] for each in home.show(both.mandate)["files"]
        ]
        found = [path.read_bytes() for path in copies if path.name not in (SALES, CRP)]
        assert sorted(found) == contents
    # A file is named on the command line as it is shown.
    for name in NAMES[:4]:
        assert len(accountant("history", both.mandate, name)["versions"]) == 1


def test_thirty_files_at_once_outlast_a_restart_of_both(two: Two) -> None:
    both = share(*two, "thirty files", V1)
    accountant, clerk = both
    files = [
        save(both.sales.parent / f"facturation {n:02}.ecf", V1.replace(b"R-2001", b"F-%04d" % n))
        for n in range(30)
    ]
    clerk("attach", both.mandate, *files, "--kind", "invoicing")
    for path in files:
        eventually(same(both.copy.with_name(path.name), path.read_bytes()))
    posted = accountant("post", both.mandate)
    assert posted["added"] == 7 * 31
    both.in_step()
    before = [(home.show(both.mandate)["files"], home.entries()) for home in both]
    for home in two:
        home.stop()
    # One of them is changed and one taken away while nothing runs.
    save(files[3], V1.replace(b"R-2001", b"G-0003"))
    both.copy.with_name(files[4].name).unlink()
    for home in two:
        home.launch()
    for home in two:
        home.await_ready()
    eventually(same(both.copy.with_name(files[3].name), files[3].read_bytes()))
    eventually(same(both.copy.with_name(files[4].name), files[4].read_bytes()))
    both.in_step()
    for home, (shown, entries) in zip(both, before, strict=True):
        assert {e[2] for e in entries} <= {e[2] for e in home.entries()}
        now = home.show(both.mandate)["files"]
        assert [each["id"] for each in now] == [each["id"] for each in shown]
        assert home.pending(both.mandate) == (2, 2)
        [receipt] = home("receipts", both.mandate)["receipts"]
        assert receipt["receipt"] == posted["receipt"]
    both.check_logs()
