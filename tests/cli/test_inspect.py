"""``p2psync inspect``, without a node: any file, any terminal, both languages."""

import json
import os
import pty
import select
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from p2psync.cli.main import run
from tests.cli.rig import Ended
from tests.formats.files import CRP, EXAMPLES, HEADER, V1, V2, posting

Inspect = Callable[..., Ended]


@pytest.fixture
def inspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> Inspect:
    """Runs the command in a home where there is no node."""

    def call(*words: str) -> Ended:
        code = run(["--home", str(tmp_path / "nobody"), "inspect", *words])
        captured = capsys.readouterr()
        return Ended(code, captured.out, captured.err)

    return call


def example(name: str) -> str:
    return str(EXAMPLES / name)


def test_json_of_one_file(inspect: Inspect) -> None:
    said = inspect(example("atelier_2025_v1.ecf"), "--json").json
    assert set(said) == {
        *("file", "size_bytes", "format", "title", "recognised_by", "name_says", "merge"),
        *("why_whole", "encoding", "line_ends", "segments", "records", "groups", "bare"),
        *("counts", "embedded_id", "first", "last", "totals", "years", "months", "problems"),
        *("problem_count", "sample"),
    }
    assert (said["records"], said["groups"], said["merge"]) == (7, 1, "records")
    (total,) = said["totals"]
    assert (total["debit"], total["currency"]) == ("7405.81", None)
    assert said["sample"][0]["fields"]["voucher"] == "R-2001"


def test_json_of_two_files(inspect: Inspect) -> None:
    words = example("atelier_2025_v1.ecf"), example("atelier_2025_v2.ecf"), "--json"
    said = inspect(*words).json
    assert (said["added"], said["deleted"], said["changed"], said["left_out"]) == (2, 1, 1, 0)
    assert "diff" not in said
    assert inspect(*words, "--records", "1").json["left_out"] == 3
    assert "-18.03.2025" in "\n".join(inspect(*words, "--diff").json["diff"])


def test_tables_speak_both_languages(inspect: Inspect) -> None:
    english = inspect(example("atelier_2025_v1.ecf")).out
    assert "recognised by             its content, its name" in english
    french = inspect(example("atelier_2025_v1.ecf"), "--lang", "fr").out
    assert "écritures Crésus Facturation (cresus-ecf)" in french
    compared = inspect(
        example("atelier_2025_v1.ecf"), example("atelier_2025_v2.ecf"), "--lang", "fr"
    )
    assert "montant : 615.75 → 580.75" in compared.out


def test_a_diff_of_a_pipe_is_plain(inspect: Inspect) -> None:
    ended = inspect(example("atelier_2025_v1.ecf"), example("atelier_2025_v2.ecf"), "--diff")
    lines = ended.out.splitlines()
    assert lines[0].startswith("--- ")
    assert lines[1].startswith("+++ ")
    assert lines[2] == "@@ -4 +4 @@"
    assert sum(line.startswith("-") for line in lines) == 3
    assert sum(line.startswith("+") for line in lines) == 4


def test_settings_differ_by_lines_and_never_show_paths(inspect: Inspect, tmp_path: Path) -> None:
    other = tmp_path / "b.crp"
    other.write_bytes(CRP.replace(b"D:\\Exemple", b"E:\\Secret"))
    ended = inspect(example("atelier_2025.crp"), str(other))
    assert "the files differ, but in nothing that is shown" in ended.out
    ended = inspect(example("atelier_2025.crp"), str(other), "--diff")
    assert "Secret" not in ended.out
    assert "Exemple" not in inspect(example("atelier_2025.crp")).out


@pytest.mark.parametrize(
    ("name", "data", "code"),
    [
        ("a.ecf", b"", "empty"),
        ("a.ecf", V1.replace(b"\r\n", b"\n"), "line-end"),
        ("a.ecf", V1[:-2], "truncated-tail"),
        ("a.ecf", V1.replace(b"2340", b"\0" * 4), "nul"),
        ("a.ecf", HEADER + b"x" * 300_000 + b"\r\n", "line-too-long"),
        ("a.ecf", "#FSC\t9\tECF\r\n".encode("utf-16"), "utf-16"),
    ],
)
def test_a_file_with_problems_is_an_answer(
    inspect: Inspect, tmp_path: Path, name: str, data: bytes, code: str
) -> None:
    (tmp_path / name).write_bytes(data)
    said = inspect(str(tmp_path / name), "--json").json
    assert code in [problem["code"] for problem in said["problems"]]
    assert inspect(str(tmp_path / name)).code == 0


def test_what_cannot_be_read_is_an_error(inspect: Inspect, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "pipe")  # nobody writes to it: it must not hang
    for path in ("pipe", ".", "absent.ecf", "/dev/null"):
        ended = inspect(str(tmp_path / path), "--json")
        assert (ended.code, ended.error["code"]) == (5, "input-unreadable")


@pytest.mark.parametrize(
    ("words", "code"),
    [
        (("v1", "--diff"), "usage"),
        (("v1", "--format", "nonsense"), "format-unknown"),
        (("v1", "ecs"), "formats-differ"),
        (("v1", "--records", "-1"), "usage"),
    ],
)
def test_wrong_usage(inspect: Inspect, words: tuple[str, ...], code: str) -> None:
    paths = {"v1": example("atelier_2025_v1.ecf"), "ecs": example("atelier_2025.ecs")}
    ended = inspect(*[paths.get(word, word) for word in words], "--json")
    assert ended.error["code"] == code
    assert ended.code in (2, 5)


def test_a_format_can_be_forced(inspect: Inspect) -> None:
    path = example("atelier_2025.ecs")
    said = inspect(path, "--format", "cresus-ecf", "--json").json
    assert (said["format"], said["recognised_by"], said["records"]) == ("cresus-ecf", ["told"], 3)
    compared = inspect(path, example("atelier_2025_v1.ecf"), "--format", "opaque", "--json").json
    assert compared["lines"] == {"added": 9, "deleted": 5}


def test_nothing_that_is_printed_drives_the_terminal(inspect: Inspect, tmp_path: Path) -> None:
    evil = "\x1b[2J\x1b]0;x\x07\r\x08"
    data = (HEADER + posting(text=evil, voucher=evil, date="x" + evil)).replace(b"\x07", b"\x9b7")
    (tmp_path / "a\x1b[31m.ecf").write_bytes(data)
    (tmp_path / "b.ecf").write_bytes(HEADER + posting(text="b", amount="3"))
    one, other = str(tmp_path / "a\x1b[31m.ecf"), str(tmp_path / "b.ecf")
    for words in ([one], [one, other], [one, other, "--diff"], ["--lang", "fr", one]):
        ended = inspect(*words)
        assert ended.code == 0
        assert all(char.isprintable() or char == "\n" for char in ended.out)


def at_a_terminal(*words: str) -> str:
    """What a terminal of 100 columns gets."""
    ours, theirs = pty.openpty()
    process = subprocess.Popen(
        [sys.executable, "-m", "p2psync", "inspect", *words],
        stdout=theirs,
        stderr=theirs,
        stdin=theirs,
        env={**os.environ, "TERM": "xterm-256color", "COLUMNS": "100", "PYTHONIOENCODING": "utf-8"},
    )
    os.close(theirs)
    got = b""
    while select.select([ours], [], [], 60)[0]:
        try:
            piece = os.read(ours, 65536)
        except OSError:
            break  # the other end was closed
        if not piece:
            break
        got += piece
    os.close(ours)
    assert process.wait(60) == 0
    return got.decode()


def test_a_terminal_sees_colours(tmp_path: Path) -> None:
    one, other = tmp_path / "a.ecf", tmp_path / "b.ecf"
    one.write_bytes(V1)
    other.write_bytes(V2)
    shown = at_a_terminal(str(one), str(other), "--diff")
    assert "\x1b[31m-18.03.2025" in shown
    assert "\x1b[32m+28.03.2025" in shown


def test_json_is_one_line_for_any_file(inspect: Inspect, tmp_path: Path) -> None:
    (tmp_path / "x").write_bytes(bytes(range(256)) * 100)
    said = json.loads(inspect(str(tmp_path / "x"), "--json").out)
    assert (said["format"], said["encoding"]) == ("opaque", "binary")
