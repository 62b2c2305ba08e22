"""What two people see who share a mandate, command by command."""

import json
import shutil
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from tests.e2e.homes import (
    CRP,
    SALES,
    SAMPLES,
    Home,
    Pair,
    eventually,
    example,
    found_mandate,
    held,
    homes,
    invite,
    same,
    save,
    share,
)

V1 = example("atelier_2025_v1.ecf")
V2 = example("atelier_2025_v2.ecf")
RENUMBERED = example("atelier_2025_v2_renumbered.ecf")
HEADER, LINE = b"".join(V1.splitlines(keepends=True)[:2]), V1.splitlines(keepends=True)[2]
Two = tuple[Home, Home]


def texts(said: dict[str, Any]) -> list[tuple[str, str]]:
    """(change, text) of every pending record."""
    return sorted(
        (record["change"], record["text"]) for file in said["files"] for record in file["records"]
    )


def receipts(home: Home, mandate: str) -> list[dict[str, Any]]:
    """The receipts, newest first."""
    found: list[dict[str, Any]] = home.ask("mandates", mandate, "receipts")["receipts"]
    return found


def test_what_is_generated_reaches_the_accountant_and_comes_back_as_a_receipt(two: Two) -> None:
    """B-TIC-1, B-TIC-2, B-TIC-4, B-TIC-5, B-POS-1 to B-POS-5, B-POS-7."""
    accountant, clerk = two
    name = "Dupont SA"
    found_mandate(accountant, name)
    sales = clerk.put(SALES, V1)
    ticket = clerk.work / "t.crsync"
    said = accountant("invite", name, "-o", ticket)
    secret = clerk.put("passphrase", (said["passphrase"] + "\n").encode())
    joined = clerk(
        *("subscribe", ticket, "--passphrase-file", secret),
        *("--attach", sales, "--kind", "invoicing"),
    )
    assert (joined["name"], joined["folder"]) == (name, str(clerk.folder(name)))
    copy = accountant.folder(name) / SALES
    eventually(same(copy, V1))
    eventually(same(clerk.folder(name) / CRP, example(CRP)))
    pending = accountant("pending", name)
    assert (pending["added"], pending["deleted"]) == (7, 0)
    assert pending["files"][0]["period"] == "2025-01-01..2025-12-31"
    [row] = [each for each in accountant("mandate", "list")["mandates"] if each["name"] == name]
    assert (row["kind"], row["state"], row["pending"]["added"]) == ("shared", "ok", 7)

    save(sales, V2)
    eventually(same(copy, V2))
    pending = accountant("pending", name)
    assert (pending["added"], pending["deleted"]) == (8, 0)
    assert any(text.endswith("Librairie Aubépine, étagères") for _, text in texts(pending))

    save(sales, RENUMBERED)
    eventually(same(copy, RENUMBERED))
    assert texts(accountant("pending", name)) == texts(pending)

    clerk.run("post", name).refused("seat-elsewhere")
    posted = accountant("post", name, "-o", accountant.work / "taken.ecf")
    assert (posted["added"], posted["deleted"]) == (8, 0)
    taken = (accountant.work / "taken.ecf").read_bytes()
    assert sorted(taken.splitlines()) == sorted(RENUMBERED.splitlines()[2:])
    assert accountant("post", name)["receipt"] is None

    receipt = eventually(lambda: receipts(clerk, name))[0]
    assert receipt["receipt"] == posted["receipt"]
    assert (receipt["state"], receipt["added"], receipt["files"]) == ("posted", 8, [SALES])
    assert clerk.pending(name) == (0, 0)

    save(sales, V1)
    eventually(same(copy, V1))
    # One line changed and one came back; the changed one's old form and two others went.
    assert accountant.pending(name) == (2, 3)
    assert clerk.pending(name) == (2, 3)

    accountant("unpost", name, receipt["receipt"])
    assert accountant.pending(name) == (7, 0)
    eventually(lambda: receipts(clerk, name)[0]["state"] == "retracted")
    assert clerk.pending(name) == (7, 0)
    for home in two:
        home.check_logs()


def test_history_and_restore(both: Pair) -> None:
    """B-HIS-1: any version comes back, in place or elsewhere."""
    accountant, clerk = both
    name, old = both.mandate, both.accountant.work / "old.ecf"
    save(both.sales, V2)
    both.arrives(V2)
    versions = accountant("history", name, SALES)["versions"]
    assert [version["current"] for version in versions] == [True, False]
    assert [version["bytes"] for version in versions] == [len(V2), len(V1)]
    first = versions[-1]["version"]

    accountant("restore", name, SALES, first, "-o", old)
    assert held(old) == V1
    assert held(both.copy) == V2
    accountant.run("restore", name, SALES, first, "-o", old).refused("output-exists")
    accountant.run("restore", name, SALES, "ffffffff").refused("version-unknown")

    clerk("restore", name, SALES, first)
    assert held(both.sales) == V1
    both.arrives(V1)
    assert accountant.pending(name) == (7, 0)
    assert len(accountant("history", name, SALES)["versions"]) == 3
    assert accountant("history", name, "--at", "2001-01-01")["versions"] == []


def test_a_change_in_the_mandate_folder_reaches_the_attached_file(both: Pair) -> None:
    """B-ATT-6."""
    accountant, clerk = both
    save(both.copy, V2)
    eventually(same(both.sales, V2))
    eventually(same(clerk.folder(both.mandate) / SALES, V2))
    # Written in place too, as some programs do.
    both.copy.write_bytes(V1)
    eventually(same(both.sales, V1))
    assert eventually(lambda: accountant.pending(both.mandate) == (7, 0))
    assert len(clerk("history", both.mandate, SALES)["versions"]) == 3
    # A copy that somebody deletes comes back; it is no deletion.
    both.copy.unlink()
    both.arrives(V1)
    assert held(both.sales) == V1


def test_attaching_is_refused_where_it_must_be(both: Pair) -> None:
    """B-ATT-3, B-ATT-4, B-MAN-1; a refusal changes nothing."""
    accountant, clerk = both
    name, sales = both.mandate, both.sales
    clerk("mandate", "create", "Autre")
    clerk.run("attach", name, sales, "--kind", "invoicing").refused("attached-already")
    clerk.run("attach", "Autre", sales, "--kind", "invoicing").refused("attached-already")
    link = clerk.work / "lien.ecf"
    link.symlink_to(sales)
    clerk.run("attach", name, link, "--kind", "invoicing").refused("not-a-regular-file")
    clerk.run("attach", name, clerk.work / "no.ecf", "--kind", "other").refused("file-absent")
    inside = clerk.folder(name) / CRP
    clerk.run("attach", name, inside, "--kind", "other").refused("file-in-mandate-folder")
    another = clerk.put("autre.crp", example(CRP))
    assert clerk.run("attach", name, another, "--kind", "accounting").code == 3
    second = accountant.put("second.crp", example(CRP))
    accountant.run("attach", name, second, "--kind", "accounting").refused("accounting-taken")
    # All or none: one that is refused keeps the others out as well.
    fine = clerk.put("fine.pdf", b"fine")
    clerk.run("attach", name, fine, sales, "--kind", "other").refused("attached-already")
    assert [file["name"] for file in clerk.show(name)["files"]] == [CRP, SALES]
    # The next year of the same accounting is welcome when it is said to be that.
    later = example(CRP).replace(b".2025", b".2026")
    year = accountant.put("atelier_2026.crp", later)
    accountant("attach", name, year, "--kind", "accounting", "--follows", CRP)
    eventually(same(clerk.folder(name) / "atelier_2026.crp", later))


def test_a_mass_deletion_is_held_back_until_a_person_confirms(two: Two) -> None:
    """B-HIS-3, B-NOT-4."""
    full = HEADER + b"".join(LINE.replace(b"R-2001", b"R-%04d" % n) for n in range(60))
    gutted = HEADER + LINE
    both = share(*two, "mass", full)
    accountant, clerk = both

    def state() -> str:
        found: str = clerk.file("mass", SALES)["state"]
        return found

    clerk.run("confirm", "mass", SALES).refused("nothing-held")
    save(both.sales, gutted)
    eventually(lambda: state() == "held")
    [alert] = clerk.alerts("save-held-back", "mass")
    assert (alert["action"], alert["severity"]) == ("confirm", "alert")
    assert held(both.copy) == full
    assert accountant.pending("mass") == (60, 0)
    clerk.restart()  # it stays held back
    eventually(lambda: state() == "held")
    assert held(both.sales) == gutted
    clerk("confirm", "mass", SALES)
    both.arrives(gutted)
    assert accountant.pending("mass") == (1, 0)
    assert state() == "ok"

    save(both.sales, b"")
    eventually(lambda: state() == "held")
    save(both.sales, full)  # the program finished what it began: nobody has to confirm
    both.arrives(full)
    assert state() == "ok"


def test_a_missing_file_is_never_a_deletion(both: Pair) -> None:
    """B-MIG-1, and the same for a folder, as of a drive that was taken out."""
    accountant, clerk = both
    name, folder = both.mandate, both.sales.parent

    def state() -> str:
        found: str = clerk.file(name, SALES)["state"]
        return found

    moves = ((both.sales, folder / "elsewhere.ecf"), (folder, clerk.work / "drive"))
    for there, away in moves:
        shutil.move(there, away)
        eventually(lambda: state() == "missing")
        eventually(lambda: bool(clerk.alerts("link-broken", name)))
        assert held(both.copy) == held(clerk.folder(name) / SALES) == V1
        assert accountant.pending(name) == (7, 0)
        shutil.move(away, there)
        eventually(lambda: state() == "ok")
    save(both.sales, V2)
    both.arrives(V2)


def test_a_mandate_for_one_alone(two: Two) -> None:
    """B-MAN-2, B-MAN-3, B-MAN-5: no network, no identity; the creator is Anonymous."""
    home = two[0]
    for name in (CRP, "atelier_2025.ecc", "atelier_2025.ecs"):
        home.put(name, example(name))
    said = home("mandate", "create", "Atelier", "--accounting", home.work / CRP)
    assert said["kind"] == "local"
    assert "atelier_2025.ecs" in [Path(each).name for each in said["offered"]]
    sales = home.put(SALES, V1)
    home("attach", "Atelier", sales, "--kind", "invoicing")
    assert home.pending("Atelier") == (7, 0)
    assert held(Path(said["folder"]) / SALES) == V1
    [member] = home.show("Atelier")["members"]
    assert (member["name"], member["role"]) == ("Anonymous", "owner")
    home.run("invite", "Atelier", "-o", home.work / "t.crsync").refused("mandate-local")
    home("post", "Atelier")
    save(sales, V2)
    eventually(lambda: home.pending("Atelier") == (3, 2))
    kinds = {event["type"] for event in events(home, 0, 5, "Atelier")}
    assert {"records-waiting", "posted", "file-attached"} <= kinds
    twin = home("mandate", "create", "Atelier")
    assert twin["id"] != said["id"] and twin["folder"] != said["folder"]
    home.run("pending", "Atelier").refused("mandate-ambiguous")
    assert home("pending", said["id"][:16])["added"] == 3


def events(home: Home, since: int, count: int, *mandate: str) -> list[dict[str, Any]]:
    """The first events after one, as ``watch`` prints them."""
    process = home.begin("watch", *mandate, "--since", str(since))
    try:
        assert process.stdout is not None
        return [json.loads(process.stdout.readline()) for _ in range(count)]
    finally:
        process.send_signal(signal.SIGINT)
        process.communicate(timeout=20)


def test_events_can_be_resumed_also_after_a_restart(both: Pair) -> None:
    """B-NOT-2, B-NOT-3."""
    accountant = both.accountant
    for content in (V2, V1, V2):
        save(both.sales, content)
        both.arrives(content)
    first = events(accountant, 0, 6, both.mandate)
    numbers = [event["id"] for event in first]
    assert numbers == sorted(set(numbers))
    assert {"member-joined", "file-attached", "records-waiting"} <= {e["type"] for e in first}
    assert events(accountant, numbers[1], 4, both.mandate) == first[2:]
    accountant.restart()
    assert events(accountant, 0, 6, both.mandate) == first


@pytest.fixture
def newcomer(tmp_path: Path) -> Iterator[Home]:
    """A node of the test's own: one whose key has a passphrase starts locked ever after."""
    with homes(tmp_path, "newcomer") as (home,):
        yield home


def test_who_is_not_signed_in_works_alone_until_signed_in(two: Two, newcomer: Home) -> None:
    """B-ID-1, B-ID-2, B-MAN-6."""
    accountant, name = two[0], "signed in"
    both = share(accountant, newcomer, name, V1)
    newcomer("identity", "set", "--name", "Zoé Müller")
    eventually(lambda: "Zoé Müller" in [each["name"] for each in accountant.show(name)["members"]])
    phrases = {each["device"]: each["phrase"] for each in accountant.show(name)["members"]}
    assert phrases[newcomer.ready["device"]] == newcomer("identity", "show")["phrase"]

    newcomer("mandate", "create", "Privé")
    own = newcomer.put("privé.ecf", V1)
    newcomer("attach", "Privé", own, "--kind", "invoicing")
    newcomer.run("identity", "lock").refused("identity-unprotected")
    secret = newcomer.put("secret", "très long secret\n".encode())
    assert newcomer("identity", "lock", "--passphrase-file", secret)["locked"] is True
    assert newcomer.show(name)["state"] == "locked"
    assert newcomer.show(name)["action"] == "sign-in"
    assert newcomer.alerts("identity-locked")
    eventually(lambda: accountant.show(name)["state"] == "offline")
    save(own, V2)
    eventually(lambda: newcomer.pending("Privé") == (8, 0))
    save(both.sales, V2)
    eventually(lambda: newcomer.pending(name) == (8, 0))
    newcomer.run("invite", name, "-o", newcomer.work / "x.crsync").refused("identity-locked")

    newcomer.restart()  # it stays locked
    assert newcomer.show(name)["state"] == "locked"
    wrong = newcomer.put("wrong", b"no\n")
    newcomer.run("identity", "unlock", "--passphrase-file", wrong).refused(
        "identity-passphrase-wrong"
    )
    assert accountant.pending(name) == (7, 0)
    assert newcomer("identity", "unlock", "--passphrase-file", secret)["locked"] is False
    both.arrives(V2)
    assert not newcomer.alerts("identity-locked")
    eventually(lambda: newcomer.show(name)["state"] == "ok")


def test_wait_returns_when_both_have_the_same(both: Pair) -> None:
    accountant, clerk = both
    save(both.sales, V2)
    eventually(lambda: clerk.pending(both.mandate) == (8, 0))
    assert clerk("wait", both.mandate, "--timeout", "20")["synced"] is True
    assert held(both.copy) == V2
    accountant.stop()
    eventually(lambda: clerk.show(both.mandate)["state"] == "offline")
    clerk.run("wait", both.mandate, "--timeout", "0.2").refused("not-in-step")
    clerk.run("wait", "Inconnu").refused("mandate-unknown")
    accountant.run("pending", both.mandate).refused("node-not-running")


def test_a_ticket_that_is_not_good_says_which(two: Two) -> None:
    """B-TIC-2, B-TIC-3."""
    accountant, clerk = two
    name = "tickets"
    found_mandate(accountant, name)
    ticket = clerk.work / "sealed.crsync"
    said = accountant("invite", name, "-o", ticket)
    assert ticket.stat().st_mode & 0o777 == 0o600
    accountant.run("invite", name, "-o", ticket).refused("ticket-file-exists")
    clerk.run("subscribe", ticket).refused("ticket-passphrase-needed")
    wrong = clerk.put("wrong", b"one two three four five six\n")
    clerk.run("subscribe", ticket, "--passphrase-file", wrong).refused("ticket-passphrase-wrong")
    right = clerk.put("right", (said["passphrase"] + "\n").encode())
    cut = clerk.put("cut.crsync", ticket.read_bytes()[:-120])
    clerk.run("subscribe", cut, "--passphrase-file", right).refused("ticket-truncated")
    clerk.run("subscribe", clerk.put("foreign.crsync", b"Dear all,\n")).refused("ticket")
    [invitation] = accountant("invite", "list", name)["invitations"]
    accountant("invite", "revoke", name, invitation["id"])
    clerk.run("subscribe", ticket, "--passphrase-file", right).refused("ticket-revoked")
    assert name not in [each["name"] for each in clerk("mandate", "list")["mandates"]]
    clerk("subscribe", invite(accountant, clerk, name))
    states = {each["state"] for each in accountant("invite", "list", name)["invitations"]}
    assert states == {"revoked", "used-up"}


def test_the_shared_samples_arrive_byte_for_byte(both: Pair) -> None:
    found = sorted(SAMPLES.glob("*.ec[fs]")) if SAMPLES.exists() else []
    files = [save(both.sales.parent / path.name, path.read_bytes()) for path in found]
    if files:
        both.clerk("attach", both.mandate, *files, "--kind", "invoicing")
    for path in files:
        eventually(same(both.copy.parent / path.name, path.read_bytes()))
    both.in_step()
    assert both.accountant.pending(both.mandate) == both.clerk.pending(both.mandate)
