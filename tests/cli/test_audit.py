"""audit export, verify, stamp, report: what the node is asked, what programs and people get."""

import html.parser
import json
import sys
from pathlib import Path

import pytest

from p2psync.core import ops
from tests.audit.authority import made, serving
from tests.audit.book import Book, small_book
from tests.cli.rig import CommandLine
from tests.fakes.service import FakeService

NASTY = '<script>alert(1)</script>"&\u202e\x1b[31m=1+1'


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "acme.p2psync-audit"
    path.write_bytes(small_book().export())
    return path


@pytest.fixture
def home_only(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> CommandLine:
    """A command line without a node, without even a home."""
    return CommandLine(tmp_path / "nowhere", FakeService(), capsys)


def nasty() -> Book:
    """A mandate, a member and a file whose names want to be more than names."""
    book = small_book()
    book.write(book.anna, ops.Describe(NASTY, NASTY), ops.Rename(NASTY))
    book.write(book.anna, ops.Place(b"f" * 16, NASTY, NASTY))
    return book


def test_export(acme: CommandLine, tmp_path: Path) -> None:
    out = str(tmp_path / "acme.p2psync-audit")
    said = acme.json("audit", "export", "Acme", "-o", out)
    assert acme.service.calls[-1] == ("audit_export", "Acme", out, True, False)
    assert set(said) == {
        *("path", "mandate", "name", "at", "sealed", "entries", "logs", "waiting", "contents"),
        *("lacking", "heads"),
    }
    shown = acme("audit", "export", "Acme", "-o", out).out
    assert "can read the whole mandate" in shown and said["mandate"] in shown
    shown = acme("audit", "export", "Acme", "-o", out, "--without-keys").out
    assert acme.service.calls[-1] == ("audit_export", "Acme", out, False, False)
    assert "nobody can read" in shown
    acme("audit", "export", "Acme", "-o", out, "--contents")
    assert acme.service.calls[-1] == ("audit_export", "Acme", out, True, True)


@pytest.mark.parametrize(
    "words", [("--without-keys", "--contents"), ("--ca", "x.pem"), ("--sealed", "--contents")]
)
def test_export_refuses_what_makes_no_sense(acme: CommandLine, words: tuple[str, ...]) -> None:
    assert acme("audit", "export", "Acme", "-o", "x", *words).code == 2


def test_verify(home_only: CommandLine, file: Path) -> None:
    said = home_only.json("audit", "verify", str(file))
    assert said["verified"] and said["name"] == "Dupont SA" and said["problems"] == []
    assert {"unchanged", "chains", "closed"} <= {each["code"] for each in said["proven"]}
    assert {"pin", "tail", "clock"} <= {each["code"] for each in said["unproven"]}
    pinned = home_only.json("audit", "verify", str(file), "--mandate", said["mandate"].upper())
    assert "pin" not in {each["code"] for each in pinned["unproven"]}
    shown = home_only("audit", "verify", str(file))
    assert shown.out.startswith("VERIFIED") and "It does not prove:" in shown.out
    french = home_only("audit", "verify", str(file), "--lang", "fr").out
    assert french.startswith("VÉRIFIÉ") and "Il ne prouve pas :" in french


def test_verify_against_heads(home_only: CommandLine, file: Path, tmp_path: Path) -> None:
    """Another file, and what verify printed of it, say the same."""
    (tmp_path / "heads.json").write_text(json.dumps(home_only.json("audit", "verify", str(file))))
    older = tmp_path / "older.p2psync-audit"
    older.write_bytes(Book().found().export())
    for heads in (str(file), str(tmp_path / "heads.json")):
        said = home_only.json("audit", "verify", str(file), "--heads", heads)
        assert "heads" in {each["code"] for each in said["proven"]}
        missed = home_only("audit", "verify", str(older), "--heads", heads, "--json")
        assert missed.code == 3 and missed.json["requests"]
    for bad in (b"", b"{}", b"[1]", b'{"heads": [{"log": "zz", "seq": 1, "entry": ""}]}', b"[" * 9):
        (tmp_path / "bad").write_bytes(bad)
        ended = home_only("audit", "verify", str(file), "--heads", str(tmp_path / "bad"), "--json")
        assert (ended.code, ended.error["code"]) == (5, "heads-invalid")


def test_verify_what_does_not_hold(home_only: CommandLine, file: Path, tmp_path: Path) -> None:
    data = bytearray(file.read_bytes())
    data[900] ^= 1
    file.write_bytes(data)
    ended = home_only("audit", "verify", str(file), "--json")
    assert ended.code == 5
    assert not ended.json["verified"] and ended.json["problems"] and not ended.json["proven"]
    shown = home_only("audit", "verify", str(file))
    assert shown.code == 5 and shown.out.startswith("NOT VERIFIED") and "✗" in shown.out
    report = home_only("audit", "report", str(file), "-o", str(tmp_path / "r.html"), "--json")
    assert (report.code, report.error["code"]) == (5, "audit-not-verified")
    assert not (tmp_path / "r.html").exists()
    none = home_only("audit", "verify", str(tmp_path / "none"), "--json")
    assert none.error["code"] == "input-unreadable"
    other = home_only("audit", "verify", str(file), "--mandate", "12")
    assert other.code == 2


def test_another_mandate_ends_with_3(home_only: CommandLine, file: Path, tmp_path: Path) -> None:
    wrong = ("--mandate", "0" * 64)
    assert home_only("audit", "verify", str(file), *wrong).code == 3
    ended = home_only("audit", "report", str(file), "-o", str(tmp_path / "r.html"), *wrong)
    assert ended.code == 3


class Page(html.parser.HTMLParser):
    """What a browser makes of a page: its tags, attributes and text."""

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.names: set[str] = set()
        self.text = ""

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        self.names |= {name for name, _ in attrs}

    def handle_data(self, data: str) -> None:
        self.text += data


def test_the_page_escapes_all_and_loads_nothing(home_only: CommandLine, tmp_path: Path) -> None:
    path = tmp_path / "n.p2psync-audit"
    path.write_bytes(nasty().export())
    out = tmp_path / "r.html"
    assert home_only("audit", "report", str(path), "-o", str(out)).code == 0
    text = out.read_text("utf-8")
    page = Page()
    page.feed(text)
    assert not page.tags & {"script", "img", "link", "iframe", "a", "object", "form", "base"}
    assert not page.names & {"src", "href", "style", "onclick", "onerror"}
    assert "<script>alert(1)</script>" in page.text
    assert "\x1b" not in text and "\u202e" not in text
    assert "url(" not in text and "@import" not in text and "default-src" in text
    assert "@media print" in text and "@page" in text


def test_the_report_tells_what_was_done(home_only: CommandLine, file: Path, tmp_path: Path) -> None:
    out = tmp_path / "r.html"
    said = home_only.json("audit", "report", str(file), "-o", str(out))
    assert said["path"] == str(out)
    text = out.read_text("utf-8")
    for word in ("Anna", "Ben", "Dupont SA", "a.ecf", "What is proven", "What is not proven"):
        assert word in text
    again = home_only("audit", "report", str(file), "-o", str(out), "--json")
    assert (again.code, again.error["code"]) == (3, "not-overwritten")
    french = home_only("audit", "report", str(file), "-o", str(out), "--force", "--lang", "fr")
    assert french.code == 0 and "Ce qui est prouvé" in out.read_text("utf-8")
    assert home_only("audit", "report", str(file), "-o", "r.doc").code == 2


def test_a_sealed_file_has_a_report_without_content(home_only: CommandLine, tmp_path: Path) -> None:
    path, out = tmp_path / "s.p2psync-audit", tmp_path / "r.html"
    path.write_bytes(small_book().export(keys=()))
    assert home_only("audit", "report", str(path), "-o", str(out)).code == 0
    text = out.read_text("utf-8")
    assert "The keys are not in the file" in text and "Dupont" not in text


def test_pdf(home_only: CommandLine, tmp_path: Path) -> None:
    """Twice the same bytes; letters that the font lacks are written out."""
    book = nasty()
    book.write(book.anna, ops.Rename("Zürich 字 Œuvre"))
    book.write(book.anna, ops.Place(b"f" * 16, "W" * 1000, ""))  # no cell is higher than a page
    path = tmp_path / "n.p2psync-audit"
    path.write_bytes(book.export())
    made_of = []
    for name in ("one.pdf", "two.pdf"):
        assert home_only("audit", "report", str(path), "-o", str(tmp_path / name)).code == 0
        made_of.append((tmp_path / name).read_bytes())
    assert made_of[0].startswith(b"%PDF-") and made_of[0].rstrip().endswith(b"%%EOF")
    assert made_of[0] == made_of[1]
    assert b"/JavaScript" not in made_of[0] and b"/URI" not in made_of[0]


def test_pdf_without_its_library(
    home_only: CommandLine, file: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, "reportlab.platypus", None)
    ended = home_only("audit", "report", str(file), "-o", str(tmp_path / "r.pdf"), "--json")
    assert (ended.code, ended.error["code"]) == (4, "pdf-unavailable")
    assert "p2psync[pdf]" in ended.error["hint"]


def test_stamp(home_only: CommandLine, file: Path, tmp_path: Path) -> None:
    with serving(made(tmp_path / "tsa")) as authority:
        root = ("--ca", str(authority.root))
        words = ("--authority", authority.url)
        said = home_only.json("audit", "stamp", str(file), *words, *root)
        assert said["stamp"]["trusted"] is True and said["stamp"]["authority"] == authority.url
        shown = home_only("audit", "stamp", str(file), *words).out
        assert "were not checked" in shown
        found = home_only.json("audit", "verify", str(file), *root)
        assert found["verified"] and [each["trusted"] for each in found["stamps"]] == [True, True]
        authority.status = 503
        ended = home_only("audit", "stamp", str(file), *words, "--json")
    assert (ended.code, ended.error["code"]) == (4, "time-stamp-failed")
