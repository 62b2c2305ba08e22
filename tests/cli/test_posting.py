"""pending, post, unpost, receipts, seat: what the node is asked, what programs and people get."""

import os

import pytest

from tests.cli.rig import CommandLine


def test_pending(acme: CommandLine) -> None:
    said = acme.json("pending", "Acme")
    assert set(said) >= {"added", "deleted", "groups", "changed", "amount", "left_out", "files"}
    [file] = said["files"]
    assert set(file) >= {"name", "period", "added", "deleted", "amount", "records", "left_out"}
    assert {"change", "text", "amount", "date"} <= set(file["records"][0])
    assert acme.service.calls[-1] == ("pending", "Acme", [], 200)


def test_pending_of_some_files_and_few_records(acme: CommandLine) -> None:
    said = acme.json("pending", "Acme", "sales.ecf", "./b.ecf", "--records", "0")
    names = ["sales.ecf", os.path.abspath("b.ecf")]
    assert acme.service.calls[-1] == ("pending", "Acme", names, 0)
    assert (said["added"], said["left_out"], said["files"][0]["records"]) == (1, 1, [])
    shown = acme("pending", "Acme", "--records", "0").out
    assert "1200.50" in shown
    assert "entries" in shown and "groups" not in shown
    assert "more records" not in shown
    assert "Invoice 1" not in shown
    assert "Invoice 1" in acme("pending", "Acme").out


@pytest.mark.parametrize("number", ["-1", "10001", "all"])
def test_pending_lists_a_bounded_number(acme: CommandLine, number: str) -> None:
    assert acme("pending", "Acme", "--records", number).code == 2


def test_post_unpost_receipts(acme: CommandLine) -> None:
    posted = acme.json(
        *("post", "Acme", "sales.ecf", "./b.ecf", "-o", "out.csv", "--format", "csv")
    )
    assert set(posted) == {"receipt", "added", "deleted"}
    assert acme.service.calls[-1] == (
        *("post", "Acme", ["sales.ecf", os.path.abspath("b.ecf")], os.path.abspath("out.csv")),
        *("csv", "CHF"),
    )
    said = acme.json("receipts", "Acme")
    [receipt] = said["receipts"]
    assert set(receipt) == {
        *("receipt", "at", "by", "machine", "files", "added", "deleted", "state"),
    }
    assert said["waiting"][0]["state"] == "delivered"
    acme.json("unpost", "Acme", posted["receipt"])
    assert acme.json("receipts", "Acme")["receipts"][0]["state"] == "retracted"


def test_post_names_every_file_that_it_wrote(
    acme: CommandLine, monkeypatch: pytest.MonkeyPatch
) -> None:
    written = {"receipt": "ab" * 8, "added": 3, "deleted": 2, "output": "/desk/april.csv"}

    async def post(*_asked: object) -> dict[str, object]:
        return written

    monkeypatch.setattr(acme.service, "post", post)
    assert "they are in /desk/april.csv\n" in acme("post", "Acme", "-o", "april.csv").out
    written["output_deleted"] = "/desk/april.csv.deleted"
    said = acme("post", "Acme", "-o", "april.csv").out
    assert "the added records are in /desk/april.csv\n" in said
    assert "the deleted ones, to be taken back, are in /desk/april.csv.deleted\n" in said


def test_post_without_files_means_all(acme: CommandLine) -> None:
    """B-POS-3."""
    acme.json("post", "Acme", "--currency", "EUR")
    assert acme.service.calls[-1] == ("post", "Acme", [], None, "raw", "EUR")


def test_seat(acme: CommandLine) -> None:
    said = acme.json("seat", "show", "Acme")
    assert set(said["seat"]) == {"device", "name", "machine"}
    assert acme.json("seat", "hand", "Acme", "Bruno") == said
    assert acme.service.calls[-1] == ("seat_hand", "Acme", "Bruno")


@pytest.mark.parametrize(
    "command",
    [
        ["pending", "Acme"],
        ["post", "Acme"],
        ["receipts", "Acme"],
        ["seat", "show", "Acme"],
        ["seat", "hand", "Acme", "Ada"],
    ],
)
@pytest.mark.parametrize("lang", ["en", "fr"])
def test_they_speak_to_people(acme: CommandLine, command: list[str], lang: str) -> None:
    ended = acme("--lang", lang, *command)
    assert (ended.code, ended.err) == (0, "")
    assert ended.out.strip()
    assert "{" not in ended.out
