"""What programs rely on: with ``--json``, one object of the promised shape on standard output."""

import json
import os
import stat
from pathlib import Path

import pytest

from tests.cli.rig import CommandLine


def test_mandate_create(cli: CommandLine) -> None:
    made = cli.json("mandate", "create", "Acme", "--accounting", "acme.crp")
    assert {"id", "name", "kind", "folder"} <= set(made)
    assert made["kind"] == "local"
    [call] = [call for call in cli.service.calls if call[0] == "attach"]
    assert call[2] == [os.path.abspath("acme.crp")]


def test_mandate_list(acme: CommandLine) -> None:
    [mandate] = acme.json("mandate", "list")["mandates"]
    assert set(mandate) == {"id", "name", "kind", "state", "pending"}
    assert set(mandate["pending"]) == {"added", "deleted"}


def test_mandate_show(acme: CommandLine) -> None:
    acme.json("attach", "Acme", "sales.ecf", "--kind", "invoicing")
    shown = acme.json("mandate", "show", "Acme")
    assert set(shown) == {"id", "name", "kind", "state", "folder", "files", "members"}
    assert set(shown["files"][0]) == {
        *("id", "name", "kind", "device", "folder", "period", "records", "pending", "state"),
        "problems",
    }
    assert set(shown["members"][0]) == {
        *("device", "name", "machine", "role", "online", "reached", "pace", "last_seen"),
    }


def test_a_mandate_is_found_by_the_beginning_of_its_id(acme: CommandLine) -> None:
    identifier = acme.json("mandate", "list")["mandates"][0]["id"]
    assert acme.json("mandate", "show", identifier[:6])["name"] == "Acme"


def test_mandate_share(acme: CommandLine) -> None:
    assert acme.json("mandate", "share", "Acme")["kind"] == "shared"


def test_attach_makes_paths_absolute_and_keeps_shown_names(acme: CommandLine) -> None:
    acme.json(
        *("attach", "Acme", "a.ecf", "sub/b.ecf", "--kind", "invoicing"),
        *("--period", "2024-01-01..2024-12-31", "--follows", "old.ecf"),
    )
    assert acme.service.calls[-1] == (
        *("attach", "Acme", [os.path.abspath("a.ecf"), os.path.abspath("sub/b.ecf")]),
        *("invoicing", "2024-01-01..2024-12-31", "old.ecf"),
    )


def test_invite_writes_a_ticket_for_the_owner_alone(acme: CommandLine, tmp_path: Path) -> None:
    made = acme.json("invite", "Acme", "-o", "t.crsync", "--expires", "2d", "--uses", "3")
    assert set(made) == {"ticket", "passphrase", "expires"}
    path = tmp_path / "t.crsync"
    assert made["ticket"] == str(path)
    assert path.read_text("utf-8").startswith("p2psync ticket")
    assert stat.S_IMODE(path.stat().st_mode) == 0o600
    assert acme.service.calls[-1] == ("invite", "Acme", "writer", 2 * 86400, 3, None, False)


@pytest.mark.parametrize("word", [["create"], []])
def test_invite_takes_options_first_too(acme: CommandLine, word: list[str]) -> None:
    acme.json("invite", *word, "-o", "t.crsync", "--role", "reader", "Acme")
    assert acme.service.calls[-1][2] == "reader"


def test_invite_list_and_revoke(acme: CommandLine) -> None:
    acme.json("invite", "Acme", "-o", "t.crsync")
    [invitation] = acme.json("invite", "list", "Acme")["invitations"]
    assert set(invitation) == {"id", "role", "expires", "uses", "used", "state"}
    assert acme.json("invite", "revoke", "Acme", invitation["id"])["state"] == "revoked"


def test_a_mandate_called_list_can_invite(cli: CommandLine) -> None:
    identifier = cli.json("mandate", "create", "list")["id"]
    assert "passphrase" in cli.json("invite", identifier, "-o", "1.crsync")
    assert "passphrase" in cli.json("invite", "create", "list", "-o", "2.crsync")
    assert len(cli.json("invite", "list", "list")["invitations"]) == 2


def test_an_unsealed_ticket_needs_its_flag_and_has_no_passphrase(acme: CommandLine) -> None:
    """B-TIC-2."""
    assert "passphrase" not in acme.json("invite", "Acme", "-o", "t.crsync", "--unsealed")


def test_a_given_passphrase_is_not_printed(acme: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("\n  one two three \nmore\n", "utf-8")
    made = acme.json("invite", "Acme", "-o", "t.crsync", "--passphrase-file", "words")
    assert "passphrase" not in made
    assert acme.service.calls[-1][5] == "one two three"


def test_subscribe(acme: CommandLine, tmp_path: Path) -> None:
    acme.json("invite", "Acme", "-o", "t.crsync")
    (tmp_path / "words").write_text("one two three four five six\n", "utf-8")
    said = acme.json(
        *("subscribe", "t.crsync", "--passphrase-file", "words"),
        *("--attach", "sales.ecf", "--kind", "invoicing"),
    )
    assert {"id", "name", "folder"} <= set(said)
    assert acme.service.calls[-1][3:] == (os.path.abspath("sales.ecf"), "invoicing")


def test_wait(acme: CommandLine) -> None:
    assert acme.json("wait", "Acme", "--synced", "--timeout", "5") == {
        "synced": True,
        "members": 2,
    }


def last_call(acme: CommandLine) -> tuple[object, ...]:
    """What the node was asked last."""
    return acme.service.calls[-1]


def test_history_and_restore(acme: CommandLine) -> None:
    said = acme.json("history", "Acme", "sales.ecf", "--at", "2024-12-31")
    assert set(said["versions"][0]) == {
        *("version", "file", "at", "by", "machine", "bytes", "records", "added", "deleted"),
        *("current", "content"),
    }
    assert set(said["state"]) == {
        *("name", "shared", "closed", "seat", "members", "files", "receipts"),
        "receipts_left_out",
    }
    assert last_call(acme) == ("history", "Acme", "sales.ecf", "2024-12-31")
    acme.json("history", "Acme", "--at", "2024-12-31", "--known")
    assert last_call(acme) == ("history", "Acme", None, "2024-12-31", "known")
    acme.json("history", "Acme", "sales.ecf", "--at", "2024-12-31", "-o", "then.ecf")
    then = ("restore", "Acme", "sales.ecf", "2024-12-31", os.path.abspath("then.ecf"))
    assert last_call(acme) == then
    acme.json("restore", "Acme", "sales.ecf", "--at", "2024-12-31", "-o", "then.ecf")
    assert last_call(acme) == then
    acme.json("restore", "Acme", "sales.ecf", "00ff", "-o", "old.ecf")
    assert last_call(acme)[-1] == os.path.abspath("old.ecf")


def test_history_of_records(acme: CommandLine) -> None:
    """B-HIS-1: every way to choose them."""
    said = acme.json("history", "Acme", "sales.ecf", "--voucher", "R-1", "--limit", "5")
    assert [each["present"] for each in said["records"]] == [True, False]
    chosen = ("record_history", "Acme", "sales.ecf", None, "R-1", None, 0, 5)
    assert last_call(acme) == chosen
    for wrong in (
        ["history", "Acme", "--records"],
        ["history", "Acme", "a", "-o", "out"],
        ["history", "Acme", "--known"],
        ["history", "Acme", "a", "--records", "--at", "2024-12-31"],
        ["restore", "Acme", "a"],
        ["restore", "Acme", "a", "1", "--at", "2024-12-31"],
    ):
        assert acme(*wrong).code == 2


def test_retention(acme: CommandLine) -> None:
    assert acme.json("retention", "show", "Acme")["would_drop"]["versions"] == 2
    assert acme.json("retention", "show")["mandates"][0]["mandate"] == "Acme"
    wanted = ["--keep", "2w", "--then", "week", "--free", "5GB"]
    assert acme.json("retention", "set", "Acme", *wanted)["dropped"]["versions"] == 2
    policy = {"keep_days": 14, "then": "week", "min_free_bytes": 5_000_000_000}
    assert last_call(acme) == ("retention_set", "Acme", {**policy}, False)
    acme.json("retention", "set", "--keep", "all", "--dry-run")
    nothing = {"keep_days": None, "then": "nothing", "min_free_bytes": 0}
    assert last_call(acme) == ("retention_set", None, nothing, True)
    acme.json("retention", "set", "Acme", "--default")
    assert last_call(acme) == ("retention_set", "Acme", None, False)
    for wrong in ([], ["--default", "--keep", "1d"], ["--then", "day"], ["--free", "much"]):
        assert acme("retention", "set", "Acme", *wrong).code == 2


def test_confirm_and_refuse(acme: CommandLine) -> None:
    """B-HIS-3."""
    assert acme.json("confirm", "Acme", "sales.ecf")["file"] == "sales.ecf"
    assert acme.json("refuse", "Acme", "sales.ecf")["verdict"] == "refused"
    assert len(acme.json("held", "Acme")["held"]) == 2


def test_members(acme: CommandLine) -> None:
    assert len(acme.json("member", "list", "Acme")["members"]) == 1


def test_alerts(acme: CommandLine) -> None:
    """B-NOT-2: an alert stays until a person closes it."""
    acme.service.raise_event("held back", severity="alert")
    [alert] = acme.json("alerts")["alerts"]
    assert alert["text"] == "held back"
    assert acme.json("alerts", "--close", str(alert["id"])) == {"id": 1, "closed": True}
    assert acme.json("alerts")["alerts"] == []


def test_identity(cli: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "words").write_text("secret", "utf-8")
    assert {"device", "name", "machine", "phrase", "locked"} <= set(cli.json("identity", "show"))
    assert cli.json("identity", "set", "--name", "Bob")["name"] == "Bob"
    assert cli.json("identity", "lock", "--passphrase-file", "words")["locked"] is True
    assert cli.json("identity", "unlock", "--passphrase-file", "words")["locked"] is False


def test_status(cli: CommandLine) -> None:
    for command in (["status"], ["node", "status"]):
        said = cli.json(*command)
        assert said["running"] is True
        assert said["pid"] == os.getpid()


def test_json_may_stand_before_or_after_the_command(acme: CommandLine) -> None:
    assert acme("--json", "mandate", "list").json == acme("mandate", "list", "--json").json
    assert acme("mandate", "--json", "list").json == acme("mandate", "list", "--json").json


def test_the_output_is_plain_when_piped_and_cuts_nothing(acme: CommandLine) -> None:
    acme.json("attach", "Acme", "x" * 300 + "/sales.ecf", "--kind", "invoicing")
    shown = acme("mandate", "show", "Acme").out
    assert "\x1b" not in shown
    assert any("x" * 300 in line for line in shown.splitlines())
    assert "sales.ecf, line 7: the line has 3 fields" in shown


def test_names_from_others_cannot_steer_the_terminal(cli: CommandLine) -> None:
    cli.json("mandate", "create", "A\x1b[2Jc\u202eme")
    shown = cli("mandate", "list").out
    assert "\x1b" not in shown
    assert "\u202e" not in shown
    assert json.loads(cli("mandate", "list", "--json").out)["mandates"][0]["name"].startswith(
        "A\x1b"
    )


@pytest.mark.parametrize(
    "command",
    [
        *(["status"], ["node", "status"], ["identity", "show"], ["mandate", "list"]),
        *(["mandate", "show", "Acme"], ["mandate", "share", "Acme"], ["member", "list", "Acme"]),
        *(["attach", "Acme", "a", "--kind", "other"], ["pending", "Acme"], ["post", "Acme"]),
        *(["receipts", "Acme"], ["wait", "Acme"], ["history", "Acme"], ["confirm", "Acme", "a"]),
        *(["history", "Acme", "a", "--records"], ["history", "Acme", "--at", "2024-12-31"]),
        *(
            ["refuse", "Acme", "a"],
            ["held", "Acme"],
            ["restore", "Acme", "a", "--at", "2024-12-31"],
        ),
        *(["retention", "show"], ["retention", "set", "Acme", "--keep", "30d", "--free", "1MB"]),
        *(["retention", "show", "Acme"], ["retention", "set", "--keep", "9d", "--dry-run"]),
        *(["restore", "Acme", "a", "1"], ["alerts"], ["invite", "list", "Acme"]),
        ["invite", "Acme", "-o", "t.crsync"],
    ],
)
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_every_command_speaks_to_people(acme: CommandLine, command: list[str], lang: str) -> None:
    ended = acme("--lang", lang, *command)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.strip()
    assert "{" not in ended.out
