"""``hook``, ``notify``, ``alerts``, ``messages`` and ``expect`` over the fake service."""

import os
from pathlib import Path

import pytest

from tests.cli.rig import CommandLine


def test_a_program_of_the_folder_of_who_types_is_found_by_the_node(cli: CommandLine) -> None:
    for typed, kept in (("./tell.sh loud", "tell.sh"), ("bin/tell ./x", "bin/tell")):
        added = cli.json("hook", "add", "--event", "all", "--command", typed)
        assert added["command"] == [os.path.abspath(kept), typed.split()[1]]
    added = cli.json("hook", "add", "--event", "all", "--command", "notify-send")
    assert added["command"] == ["notify-send"]


def test_a_command_is_split_into_words_and_no_shell_runs(cli: CommandLine) -> None:
    cli("mandate", "create", "Acme")
    added = cli.json(
        *("hook", "add", "Acme", "--event", "posted", "--event", "alerts"),
        *("--command", "/bin/ring --to 'a b' $HOME ;ls"),
    )
    assert added["command"] == ["/bin/ring", "--to", "a b", "$HOME", ";ls"]
    call = cli.service.calls[-1]
    assert call[:3] == ("hook_add", "Acme", ["posted", "alerts"])
    assert call[4:] == (None, None, False, "en")
    ended = cli("hook", "list")
    assert "/bin/ring --to 'a b' '$HOME' ';ls'" in ended.out
    assert cli("hook", "test", "1").out == "hook 1: exit code 3\n"
    assert cli("hook", "remove", "1").out == "hook 1 is removed\n"
    assert cli("hook", "list").out == "there is no hook\n"
    assert cli("hook", "remove", "1").code == 2


def test_a_made_secret_is_shown_once(cli: CommandLine, tmp_path: Path) -> None:
    ended = cli("hook", "add", "--event", "all", "--url", "https://example.org/x")
    assert "its secret, shown this once: whsec_made" in ended.out
    assert "whsec_made" not in cli("hook", "list").out
    secret = tmp_path / "secret"
    secret.write_text("\nwhsec_mine\n")
    ended = cli(
        *("hook", "add", "--event", "all", "--url", "http://x/", "--allow-http"),
        *("--secret-file", str(secret)),
    )
    assert "secret" not in ended.out
    assert cli.service.calls[-1][4:7] == ("http://x/", "whsec_mine", True)


@pytest.mark.parametrize(
    ("words", "says"),
    [
        (("--command", "x"), "--event"),
        (("--event", "all"), "--command or --url"),
        (("--event", "all", "--command", "x", "--url", "https://x/"), "--command or --url"),
        (("--event", "all", "--command", "x", "--allow-http"), "belong to --url"),
        (("--event", "all", "--command", "'x"), "No closing quotation"),
        (("--event", "all", "--command", "  "), "it names no program"),
    ],
    ids=lambda words: " ".join(words) if isinstance(words, tuple) else "",
)
def test_what_makes_no_hook_is_refused(cli: CommandLine, words: tuple[str, ...], says: str) -> None:
    ended = cli("hook", "add", *words)
    assert ended.code == 2
    assert says in ended.err
    assert cli.service.hooks == []


def test_the_desktop_tells_why_it_shows_nothing(cli: CommandLine) -> None:
    assert cli.json("notify", "status") == {"desktop": "off", "cause": "there is no desktop"}
    assert "there is no desktop" in cli("notify", "off").out
    assert cli("notify", "on").code == 4


def test_alerts_are_closed_one_by_one_or_all_at_once(cli: CommandLine) -> None:
    for number in range(3):
        cli.service.raise_event(f"alert {number}", severity="alert")
    assert cli("alerts", "--close", "1").out == "alert 1 is closed\n"
    assert cli("alerts", "--close", "all").out == "2 alerts are closed\n"
    assert cli("alerts").out == "no alert is open\n"
    for words in (("--close", "one"), ("Acme", "--close", "1"), ("--close", "1", "--history")):
        assert cli("alerts", *words).code == 2


def test_the_history_is_paged_and_says_how_to_go_on(cli: CommandLine) -> None:
    for number in range(5):
        cli.service.raise_event(f"message {number}", mandate_name="Acme")
    ended = cli("messages", "--limit", "2", "--type", "posted", "--severity", "message")
    lines = ended.out.splitlines()
    assert ["message 4" in lines[1], "message 3" in lines[2]] == [True, True]
    assert lines[-1] == "more: --before 4"
    assert cli.service.calls[-1] == ("messages", None, None, 2, ["posted"], "message")
    assert cli.json("messages", "--before", "2")["more"] is False
    cli("alerts", "--history", "--before", "7")
    last: object = cli.service.calls.pop()
    assert last == ("messages", None, 7, 100, [], "alert")
    assert cli("messages", "--severity", "loud").code == 2
    assert cli("messages", "--before", "1").out == "nothing was told\n"


def test_a_promise_is_typed_as_a_duration(cli: CommandLine) -> None:
    cli("mandate", "create", "Acme")
    assert cli("expect", "Acme", "sales.ecf", "7d").out == "sales.ecf is expected every 7 days\n"
    assert cli.service.calls[-1] == ("expect", "Acme", "sales.ecf", 604800)
    assert cli("expect", "Acme", "sales.ecf", "never").out == "sales.ecf promises nothing\n"
    assert cli.service.calls[-1] == ("expect", "Acme", "sales.ecf", 0)
    assert cli("expect", "Acme", "sales.ecf", "often").code == 2
