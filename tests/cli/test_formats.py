"""``p2psync format``, and ``--format`` where a file is attached or looked at."""

from collections.abc import Callable
from pathlib import Path

import pytest

from p2psync.cli.main import run
from p2psync.formats import registry
from p2psync.limits import DEFINITION_BYTES_MAX
from tests.cli.rig import CommandLine, Ended
from tests.formats.files import EXAMPLES

Call = Callable[..., Ended]
DEFINITION = str(EXAMPLES / "kassenbuch.toml")
CASH = str(EXAMPLES / "kassenbuch_2025-01.txt")


@pytest.fixture
def call(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Call:
    """Runs a command in a home where there is no node."""

    def call(*words: str) -> Ended:
        code = run(["--home", str(tmp_path / "nobody"), *words])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def test_every_format_is_listed(call: Call) -> None:
    listed = call("format", "list", "--json").json["formats"]
    assert [each["name"] for each in listed] == [form.name for form in registry.all_formats()]
    fec = next(each for each in listed if each["name"] == "fec")
    assert fec == {
        "name": "fec",
        "title": "FEC, French accounting entries",
        "suffixes": [".txt", ".csv"],
        "merge": "records",
    }
    shown = call("--lang", "fr", "format", "list").out
    assert "FEC, écritures comptables françaises" in shown
    assert "Texte délimité" in shown


def test_a_definition_is_checked(call: Call) -> None:
    said = call("format", "check", DEFINITION, "--json").json
    assert said["name"] == "Kasse 3000"
    assert said["title"] == "Delimited text (Kasse 3000)"
    assert said["format"].startswith('delimited:{"columns":["date","voucher"')
    assert said["columns"][0] == "date"
    assert said["sample"] is None


def test_a_sample_shows_what_is_read_by_a_definition(call: Call) -> None:
    said = call("format", "check", DEFINITION, CASH, "--records", "2", "--json").json
    assert (said["sample"]["records"], said["sample"]["groups"]) == (7, 3)
    assert len(said["sample"]["sample"]) == 2
    assert said["header_records"] == []
    shown = call("format", "check", DEFINITION, CASH)
    assert shown.code == 0
    assert "1000/... K-101 Barverkauf Karten" in shown.out
    assert "Delimited text (Kasse 3000) (delimited)" in shown.out
    assert "{" not in shown.out  # nobody is shown the short form


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("name = 1\n", "line 1, name: it must be a text"),
        ("name = \n", "is not valid TOML"),
        ("name = 'x'\ndelimiter = ';'\ncolumns = ['date', 'amount', '%s']\n", "in its short form"),
    ],
    ids=["key", "syntax", "length"],
)
def test_what_is_wrong_with_a_definition_names_its_file(
    call: Call, tmp_path: Path, text: str, told: str
) -> None:
    long = "', '".join(f"column_with_a_long_name_{number}" for number in range(60))
    definition = tmp_path / "bad.toml"
    definition.write_text(text.replace("%s", long))
    for words in (
        ("format", "check", str(definition)),
        ("inspect", CASH, "--format", str(definition)),
    ):
        ended = call(*words)
        assert ended.code != 0
        assert str(definition) in ended.err
        assert told in " ".join(ended.err.split())


def test_a_header_that_reads_as_a_record_is_told(call: Call, tmp_path: Path) -> None:
    sample = tmp_path / "a.csv"
    sample.write_bytes(b"2025-01-01;1\n2025-01-02;2\n")
    definition = tmp_path / "a.toml"
    definition.write_text(
        'name = "x"\ndelimiter = ";"\nheader_lines = 1\ncolumns = ["date", "amount"]\n'
    )
    assert call("format", "check", str(definition), str(sample), "--json").json[
        "header_records"
    ] == [1]
    assert "line 1" in call("format", "check", str(definition), str(sample)).out


@pytest.mark.parametrize(
    ("text", "code", "part"),
    [
        ('name = "x"\ncolumns = ["date", "Betrag"]\n', 2, "line 2, columns: "),
        ('name = "x"\ndelimiter = ";"\ncolumns = ["date", "amount"]\ncolour = 1\n', 2, "line 4"),
        ("name = \n", 2, "line 1"),
        ("# nothing\n", 5, "it defines nothing"),
        ("x = 1\n" * DEFINITION_BYTES_MAX, 5, "too long"),
        (b"\xff\xfe=", 5, "UTF-8"),
        (None, 5, "a.toml"),
    ],
)
def test_what_is_wrong_with_a_definition_is_told(
    call: Call, tmp_path: Path, text: str | bytes | None, code: int, part: str
) -> None:
    path = tmp_path / "a.toml"
    if text is not None:
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
    ended = call("format", "check", str(path))
    assert ended.code == code
    assert part in ended.err
    assert call("--lang", "fr", "format", "check", str(path)).code == code


def test_attach_sends_a_name_or_the_text_of_a_definition(acme: CommandLine, tmp_path: Path) -> None:
    acme.json("attach", "Acme", "a.txt", "--kind", "other", "--format", "fec")
    assert acme.service.calls[-1] == ("attach as", "fec")
    acme.json("attach", "Acme", "a.txt", "--kind", "other", "--format", DEFINITION)
    text = Path(DEFINITION).read_text("utf-8")
    assert acme.service.calls[-1] == ("attach as", text)
    absent = str(tmp_path / "absent.toml")
    assert acme("attach", "Acme", "a.txt", "--kind", "other", "--format", absent).code == 5


def test_inspect_reads_a_file_by_a_definition(call: Call) -> None:
    said = call("inspect", CASH, "--format", DEFINITION, "--json").json
    assert (said["records"], said["title"]) == (7, "Delimited text (Kasse 3000)")
    french = call("--lang", "fr", "inspect", CASH, "--format", DEFINITION).out
    assert "Texte délimité (Kasse 3000) (delimited)" in french
    assert call("inspect", CASH, "--format", "nope").code == 2
    batch = str(EXAMPLES / "EXTF_Buchungsstapel_2025-02.csv")
    assert call("inspect", batch, batch, "--json").json["same"] is True
