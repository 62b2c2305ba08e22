"""Errors: their shape, their exit codes, the next step they name."""

from pathlib import Path

import pytest

from p2psync import errors, limits
from p2psync.api.address import write_address
from p2psync.cli.main import hoist, run
from tests.cli.rig import CommandLine, Ended


@pytest.fixture
def alone(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A command line without a node."""
    return CommandLine(tmp_path / "nobody", None, capsys)  # type: ignore[arg-type]  # none is asked


NEEDING_THE_NODE = [
    *(["status"], ["identity", "show"], ["mandate", "list"], ["watch"], ["alerts"]),
    *(["wait", "Acme"], ["post", "Acme"], ["attach", "Acme", "f", "--kind", "other"]),
]


@pytest.mark.parametrize("command", NEEDING_THE_NODE)
def test_without_a_node_the_next_step_is_to_start_it(
    alone: CommandLine, command: list[str]
) -> None:
    ended = alone(*command, "--json")
    assert ended.code == 4
    assert ended.error["code"] == "node-not-running"
    assert "p2psync node start" in ended.error["hint"]


def test_an_address_that_an_earlier_node_left_is_no_node(alone: CommandLine) -> None:
    alone.home.mkdir()
    write_address(alone.home, "http://127.0.0.1:1", 1, "0", "token")
    assert alone("status", "--json").error["code"] == "node-not-running"


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"address": 7}', b"\xff", b"[" * 9999])
def test_a_damaged_address_is_no_node(alone: CommandLine, content: bytes) -> None:
    alone.home.mkdir()
    (alone.home / "api.json").write_bytes(content)
    (alone.home / "api.token").write_bytes(b"x")
    assert alone("status", "--json").error["code"] == "node-not-running"


def test_another_node_at_the_old_port_is_no_node(cli: CommandLine) -> None:
    (cli.home / "api.token").write_text("0" * 64, "utf-8")
    ended = cli("status", "--json")
    assert (ended.code, ended.error["code"]) == (4, "node-not-running")


def test_node_status_without_a_node_still_prints_its_object(alone: CommandLine) -> None:
    ended = alone("node", "status", "--json")
    assert (ended.code, ended.json) == (4, {"running": False})


def test_node_stop_without_a_node_is_done_already(alone: CommandLine) -> None:
    assert alone("node", "stop", "--json").json == {"running": False, "stopped": False}


@pytest.mark.parametrize(
    "command",
    [
        *(
            ["nothing"],
            ["mandate"],
            ["mandate", "nothing"],
            ["mandate", "show"],
            ["mandate", "list", "x"],
        ),
        *(["status", "--nothing"], ["attach", "Acme", "f"], ["attach", "Acme", "f", "--kind", "x"]),
        *(["invite", "Acme"], ["invite", "Acme", "-o", "t", "--expires", "soon"]),
        *(
            ["invite", "Acme", "-o", "t", "--expires", "0d"],
            ["invite", "Acme", "-o", "t", "--uses", "0"],
        ),
        *(["wait", "A", "--timeout", "nan"], ["wait", "A", "--timeout", "-1"]),
        ["invite", "Acme", "-o", "t", "--uses", "1001"],
        *(
            ["invite", "Acme", "-o", "t", "--uses", "x"],
            ["invite", "Acme", "-o", "t", "--role", "x"],
        ),
        *(["subscribe", "t", "--attach", "f"], ["subscribe", "-", "--passphrase-file", "-"]),
        *(
            ["watch", "--since", "-1"],
            ["alerts", "Acme", "--close", "1"],
            ["--lang", "xx", "status"],
        ),
        *(["identity", "unlock"], ["wait"], ["--home"], ["identity", "set"]),
    ],
)
def test_wrong_usage_ends_with_2_and_the_same_shape(cli: CommandLine, command: list[str]) -> None:
    ended = cli("--json", *command)
    assert ended.code == 2
    assert ended.error["text"]
    assert ended.error["hint"]


def test_errors_for_people_name_the_next_step(alone: CommandLine) -> None:
    ended = alone("status")
    assert ended.out == ""
    assert ended.err.splitlines() == [
        f"error: the node of {alone.home} is not running",
        "start it with: p2psync node start",
    ]


def test_errors_are_translated(alone: CommandLine) -> None:
    assert alone("status", "--lang", "fr").err.startswith("erreur : le nœud de ")
    assert "Utilisation" in alone("--lang=fr", "mandate", "--help").out
    assert "vouliez-vous dire status" in alone("--lang", "fr", "statu").err


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (ValueError("a bug"), 1),
        (errors.UsageError(cause="x"), 2),
        (errors.RefusedError(cause="x"), 3),
        (errors.UnavailableError(cause="x"), 4),
        (errors.BadInputError(cause="x"), 5),
        (errors.StorageError(cause="x"), 6),
    ],
)
def test_the_exit_code_is_that_of_the_error(cli: CommandLine, error: Exception, code: int) -> None:
    cli.service.fail_with = error
    ended = cli("mandate", "create", "Acme", "--json")
    assert ended.code == code
    assert ended.error["code"] == getattr(error, "code", "internal")


def test_an_existing_ticket_is_not_overwritten(acme: CommandLine, tmp_path: Path) -> None:
    (tmp_path / "t.crsync").write_text("mine", "utf-8")
    ended = acme("invite", "Acme", "-o", "t.crsync", "--json")
    assert (ended.code, ended.error["code"]) == (3, "ticket-file-exists")
    assert (tmp_path / "t.crsync").read_text("utf-8") == "mine"
    assert acme.service.invitations == []
    assert acme("invite", "Acme", "-o", "t.crsync", "--force").code == 0


def test_a_ticket_needs_a_folder_before_an_invitation_is_made(acme: CommandLine) -> None:
    ended = acme("invite", "Acme", "-o", "no/such/t.crsync", "--json")
    assert (ended.code, ended.error["code"]) == (6, "output-unwritable")
    assert acme.service.invitations == []


def _subscribe(cli: CommandLine, path: Path, content: bytes) -> Ended:
    path.write_bytes(content)
    return cli("subscribe", str(path), "--json")


def test_bad_tickets_end_with_5(acme: CommandLine, tmp_path: Path) -> None:
    """B-TIC-3."""
    path = tmp_path / "t.crsync"
    too_large = _subscribe(acme, path, b"x" * (limits.TICKET_BYTES_MAX + 1))
    assert (too_large.code, too_large.error["code"]) == (5, "ticket-too-large")
    binary = _subscribe(acme, path, b"\xff\x00")
    assert (binary.code, binary.error["code"]) == (5, "ticket")
    cut = _subscribe(acme, path, b"p2psync")
    assert (cut.code, cut.error["code"]) == (5, "ticket-truncated")
    missing = acme("subscribe", "nowhere.crsync", "--json")
    assert (missing.code, missing.error["code"]) == (5, "input-unreadable")


def test_a_sealed_ticket_asks_for_its_passphrase(acme: CommandLine, tmp_path: Path) -> None:
    acme.json("invite", "Acme", "-o", "t.crsync")
    assert acme("subscribe", "t.crsync", "--json").error["code"] == "ticket-passphrase-needed"
    assert acme("subscribe", "t.crsync").code == 5
    (tmp_path / "words").write_text("wrong", "utf-8")
    ended = acme("subscribe", "t.crsync", "--passphrase-file", "words", "--json")
    assert ended.error["code"] == "ticket-passphrase-wrong"
    (tmp_path / "words").write_text("\n", "utf-8")
    ended = acme("subscribe", "t.crsync", "--passphrase-file", "words", "--json")
    assert ended.error["code"] == "input-unreadable"


def test_a_wait_that_takes_too_long_ends_with_4(acme: CommandLine) -> None:
    assert acme("wait", "Acme", "--timeout", "0", "--json").code == 4


@pytest.mark.parametrize(
    ("typed", "parsed"),
    [
        (["status", "--json"], ["--json", "status"]),
        (["a", "--home", "h", "b"], ["--home=h", "a", "b"]),
        (["a", "--lang=fr"], ["--lang=fr", "a"]),
        (["a", "--", "--json"], ["a", "--", "--json"]),
        (["a", "--home"], ["--home", "a"]),
    ],
)
def test_the_shared_options_may_stand_anywhere(typed: list[str], parsed: list[str]) -> None:
    assert hoist(typed) == parsed


def test_ctrl_c_ends_with_130(cli: CommandLine, monkeypatch: pytest.MonkeyPatch) -> None:
    def interrupted(*_args: object, **_more: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("p2psync.cli.client.Client.get", interrupted)
    ended = cli("status", "--json")
    assert (ended.code, ended.out, ended.err) == (130, "", "")


def test_a_bug_is_reported_in_the_same_shape(
    alone: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    def broken(*_args: object) -> None:
        raise LookupError("x")

    monkeypatch.setattr("p2psync.cli.client.read_address", broken)
    ended = alone("status", "--json")
    assert (ended.code, ended.error["code"]) == (1, "internal")


def test_no_arguments_show_the_help(capsys: pytest.CaptureFixture[str]) -> None:
    assert run([]) == 0
    assert "p2psync node start" in capsys.readouterr().out
