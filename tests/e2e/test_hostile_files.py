"""Names and content from a hostile writer: nothing outside the mandate folder is touched."""

import os
import time
import unicodedata
from collections.abc import Iterator, Sequence
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from p2psync.core import codec, crypto, ops
from p2psync.core.names import TEMPORARY_PREFIX, check_name, name_key
from p2psync.core.ops import AddFile, Chunked, Edits, Lines, Run, Save
from p2psync.core.ticket import Ticket
from p2psync.limits import CHUNK_BYTES
from tests.e2e.attackers import Puppet, ask, expect, found, invite, rss_bytes, until
from tests.e2e.homes import CRP, Home, example, held, homes

MIB = 1 << 20
Tree = dict[str, tuple[int, int, bytes | str | None]]


@pytest.fixture(scope="module")
def node(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Home]:
    """The victim."""
    with homes(tmp_path_factory.mktemp("files"), "victim") as (home,):
        yield home


@pytest.fixture
def mandate(node: Home, request: pytest.FixtureRequest) -> str:
    """A mandate of the test's own, with one honest file."""
    name = request.node.name.removeprefix("test_")[:40]
    folder = node.work / name
    folder.mkdir()
    (folder / CRP).write_bytes(example(CRP))
    return found(node, name, folder / CRP)


def tree(root: Path, *but: Path) -> Tree:
    """Everything below a folder, without some folders: kind, mode, content."""
    seen: Tree = {}
    for path in sorted(root.rglob("*")):
        if any(each == path or each in path.parents for each in but):
            continue
        found_ = path.lstat()
        content: bytes | str | None = None
        if path.is_symlink():
            content = os.readlink(path)
        elif path.is_file():
            content = path.read_bytes()
        seen[str(path)] = (found_.st_mode, found_.st_nlink, content)
    return seen


def outside(node: Home, mandate: str) -> Tree:
    """What no member can change: all but the mandate's folder and the node's own bookkeeping."""
    own = [node.home / "chunks", folder(node, mandate)]
    own += [node.home / name for name in ("p2psync.db", "p2psync.db-wal", "p2psync.db-shm")]
    return tree(node.root, *own, node.home / "highwater", node.log)


def folder(node: Home, mandate: str) -> Path:
    """The mandate's folder."""
    return Path(expect(node, "GET", f"/v1/mandates/{mandate}")["folder"])


def file_id(name: str) -> bytes:
    return crypto.digest(b"test file", name.encode("utf-8", "surrogatepass"), size=16)


class Writer(Puppet):
    """Writes files of any name and content into one mandate."""

    said: Ticket

    def add(self, name: str, content: bytes, **lies: Any) -> bytes:
        """Attach a file and save it, whole; return its id."""
        file = file_id(name + self.name)
        fields: dict[str, Any] = {
            "kind": "other",
            "format": "opaque",
            "folder": "/",
            "follows": None,
        }
        fields |= {"period_from": None, "period_to": None}
        mandate = self.said.mandate
        self.author(mandate, AddFile(file, name, **(fields | lies)))
        self.save(file, content)
        return file

    def save(self, file: bytes, data: bytes, **lies: Any) -> None:
        """Save a version on top of what is there."""
        mandate = self.said.mandate
        chunked = self.machine.store(mandate, data)
        known = self.replica(mandate).state.files.get(file)
        fields: dict[str, Any] = {
            "parents": tuple(sorted(known.heads)) if known else (),
            "parts": (),
            "content": chunked,
            "mergeable": False,
            "size_bytes": len(data),
            "digest": crypto.content_digest(data),
        }
        self.author(mandate, Save(file, **(fields | lies)))


async def arrives(node: Home, mandate: str, contents: Sequence[bytes]) -> dict[str, bytes]:
    """Wait until all contents are in the mandate folder; return what it holds then."""

    def look() -> dict[str, bytes] | None:
        there: dict[str, bytes] = {}
        for path in folder(node, mandate).iterdir():
            with suppress(FileNotFoundError):  # it got its name meanwhile
                if path.is_file() and not path.is_symlink():
                    there[path.name] = path.read_bytes()
        return there if set(contents) <= set(there.values()) else None

    result: dict[str, bytes] = await until(look, what="all contents are there")
    return result


NAMES = [
    *("..", ".", "../../outside", "../p2psync.db", "/etc/passwd", "a/b", "a\\b", "..\\..\\x"),
    *("C:\\x", "C:x", "\\\\server\\share", "CON", "con.ecf", "aux.ecf", "COM¹", "NUL", "CONIN$"),
    *("nul\0.ecf", "bell\x07.ecf", "esc\x1b[2J.ecf", "line\nbreak.ecf", "gpj.\u202eexe.ecf"),
    *("zero\u200bwidth.ecf", "end.", "end ", " begin", "PROGRA~1.ECF", "x:stream", "x::$DATA"),
    *("*?.ecf", '"quoted".ecf', "|pipe", "~", "-rf", "$(id)", "${HOME}", "%PATH%", "", "\ufeff"),
    *(
        "．．／full-width",
        "ｃｏｎ",
        "ａ／ｂ",
        f"{TEMPORARY_PREFIX}0123",
        TEMPORARY_PREFIX,
        "p2psync.db",
    ),
    *("n" * 1000 + ".ecf", "é" * 500, "🦀" * 250, "a." + "b" * 300),
]


async def test_no_name_leads_outside_the_mandate_folder(node: Home, mandate: str) -> None:
    said, _ = await ask(invite, node, mandate)
    before = await ask(outside, node, mandate)
    root = tree(Path("/etc")) if os.access("/etc", os.W_OK) else {}
    writer = Writer("names")
    writer.said = said
    async with writer.join(node, said):
        contents = {f"content of {index}".encode(): name for index, name in enumerate(NAMES)}
        for content, name in contents.items():
            writer.add(name, content)
        there = await arrives(node, mandate, list(contents))
    assert len(there) == len(NAMES) + 1
    for name in there:
        check_name(name)
    assert len({name_key(name) for name in there}) == len(there)
    assert await ask(outside, node, mandate) == before
    assert {path: seen for path, seen in tree(Path("/etc")).items() if path in root} == root
    shown = await ask(expect, node, "GET", f"/v1/mandates/{mandate}")
    assert {file["name"] for file in shown["files"]} == set(there)


async def test_names_that_some_system_takes_for_one_are_kept_apart(
    node: Home, mandate: str
) -> None:
    twins = ["été.ecf", unicodedata.normalize("NFD", "été.ecf"), "ÉTÉ.ecf", "A.ecf", "a.ecf"]
    twins += [
        "Straße.ecf",
        "STRASSE.ecf",
        "\ufb01le.ecf",
        "file.ecf",
        "\u2126.ecf",
        "\u03a9.ecf",
        "①.ecf",
        "1.ecf",
    ]
    said, _ = await ask(invite, node, mandate)
    writer = Writer("twins")
    writer.said = said
    async with writer.join(node, said):
        for index, name in enumerate(twins):
            writer.add(name, f"twin {index}".encode())
        there = await arrives(
            node, mandate, [f"twin {index}".encode() for index in range(len(twins))]
        )
    assert len({name_key(name) for name in there}) == len(there) == len(twins) + 1


async def test_a_name_of_five_thousand_bytes_is_no_operation(
    node: Home, mandate: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    def unchecked(operations: Sequence[ops.Operation]) -> bytes:
        return codec.pack([ops._operations.dump(operation) for operation in operations])

    monkeypatch.setattr(ops, "encode", unchecked)  # an honest writer refuses to write it
    said, _ = await ask(invite, node, mandate)
    writer = Writer("long")
    writer.said = said
    async with writer.join(node, said):
        writer.add("n" * 5000, b"too long")
        writer.add("short.bin", b"short")
        there = await arrives(node, mandate, [b"short"])
    assert b"too long" not in there.values()


async def test_links_planted_in_the_mandate_folder_are_not_followed(
    node: Home, mandate: str
) -> None:
    """To a file, to a folder, dangling, a second name of a file outside, a pipe, a folder."""
    target = folder(node, mandate)
    prey = node.work / f"prey of {mandate}"
    prey.mkdir()
    (prey / "diary").write_bytes(b"my diary")
    (prey / "linked").write_bytes(b"linked twice")
    (target / "file.bin").symlink_to(prey / "diary")
    (target / "dangling.bin").symlink_to(prey / "not there")
    (target / "folder.bin").symlink_to(prey)
    os.link(prey / "linked", target / "hard.bin")
    os.mkfifo(target / "pipe.bin")
    (target / "real.bin").mkdir()
    said, _ = await ask(invite, node, mandate)
    before = await ask(outside, node, mandate)
    names = ["file.bin", "dangling.bin", "folder.bin", "hard.bin", "pipe.bin", "real.bin"]
    writer = Writer("links")
    writer.said = said
    async with writer.join(node, said):
        for name in names:
            writer.add(name, f"attack on {name}".encode())
        writer.add("harmless.bin", b"harmless")
        await arrives(node, mandate, [b"harmless"])
        states = await until(
            lambda: _states(node, mandate, names), what="the names in the way are shown"
        )
    assert set(states.values()) <= {"cannot-write", "cannot-read"}
    assert await ask(outside, node, mandate) == before
    assert (prey / "diary").read_bytes() == b"my diary"
    assert (target / "file.bin").is_symlink()


def _states(node: Home, mandate: str, names: Sequence[str]) -> dict[str, str] | None:
    files = expect(node, "GET", f"/v1/mandates/{mandate}")["files"]
    states = {file["name"]: file["state"] for file in files if file["name"] in names}
    return states if "ok" not in states.values() else None


# -- content


async def goes_on(writer: Writer, node: Home, mandate: str) -> None:
    """An honest file of the same writer still syncs."""
    content = f"honest after {mandate}".encode()
    writer.add("honest.bin", content)
    await arrives(node, mandate, [content])


async def test_content_that_is_not_what_it_says_is_not_written(node: Home, mandate: str) -> None:
    said, _ = await ask(invite, node, mandate)
    writer = Writer("liar")
    writer.said = said
    async with writer.join(node, said):
        add = partial(writer.add, "base.bin", b"base")
        base = add()
        await arrives(node, mandate, [b"base"])
        reference = writer.machine.store(said.mandate, b"x" * 100).references
        other = writer.machine.store(said.mandate, b"y" * 100).references
        lies: list[dict[str, Any]] = [
            {"digest": b"d" * 32},
            {"size_bytes": 1},
            {"size_bytes": 1 << 30},
            {"size_bytes": 0},
            {"size_bytes": CHUNK_BYTES * (1 << 20)},
            {"content": Chunked(False, b"")},
            {"content": Chunked(False, b"nowhere!" * 8)},
            {"content": Chunked(True, b"nowhere!" * 8)},
            {"content": Chunked(True, reference)},
            {"content": Chunked(False, reference[:32] + b"p" * 32)},
            {"content": Chunked(False, reference[:32] + other[32:])},
            {"content": Chunked(True, reference * 64), "size_bytes": CHUNK_BYTES * 4096 * 64},
            {"parents": ((b"q" * 32, 3),)},
            {"content": None},
            {"content": None, "mergeable": True, "parts": (b"z" * 32,) * 4000},
        ]
        for index, lie in enumerate(lies):
            file = writer.add(f"lie {index}.bin", b"first")
            writer.save(file, b"x" * 100, **lie)
        await goes_on(writer, node, mandate)
        await until(lambda: _quiet(node))
        assert held(folder(node, mandate) / "base.bin") == b"base"
        for path in folder(node, mandate).iterdir():
            assert path.stat().st_size <= len(example(CRP))
        shown = await ask(expect, node, "GET", f"/v1/mandates/{mandate}")
        assert len(shown["files"]) == len(lies) + 3
        assert base
    await ask(node.restart)
    await ask(expect, node, "GET", f"/v1/mandates/{mandate}")


def _quiet(node: Home) -> bool:
    """Whether nothing is written at this moment."""
    before = len(node.entries())
    time.sleep(0.3)
    return len(node.entries()) == before


async def test_lines_that_fit_nothing_change_nothing_else(node: Home, mandate: str) -> None:
    """Values that are not there, places that collide, endless places, parts of others."""
    said, _ = await ask(invite, node, mandate)
    writer = Writer("lines")
    writer.said = said
    lines = example("atelier_2025_v1.ecf").splitlines(keepends=True)
    async with writer.join(node, said):
        file = file_id("lines")
        operation = AddFile(*(file, "lignes.ecf", "invoicing", "cresus-ecf", "/", file, 700_000, 1))
        writer.author(said.mandate, operation)
        ghost = tuple((b"g" * 32, index) for index in range(1000))
        hostile = [
            Lines(file, (Run(b"\x40", tuple(lines)),), Edits((), ()), ghost),
            Lines(file, tuple(Run(b"\x40", (lines[2],)) for _ in range(50)), Edits((), ()), ()),
            Lines(file, (Run(b"\xff" * 1024, (lines[3],)),), Edits((), ()), ()),
            Lines(file, (Run(b"\x00" * 1024, (b"\x00\xff" * 100,)),), Edits((), ()), ()),
            Lines(file, (), Edits(((b"g" * 32, 1),), (lines[4],)), ()),
            Lines(file, (Run(b"\x50", (b"9" * 60_000 + b"\t1\r\n",)),), Edits((), ()), ()),
        ]
        for change in hostile:
            known = writer.replica(said.mandate).state.files[file]
            parents = tuple(sorted(known.heads))
            version = Save(file, parents, (b"p" * 32,), None, True, 7, b"d" * 32)
            writer.author(said.mandate, change, version)
        await goes_on(writer, node, mandate)
        await until(lambda: (folder(node, mandate) / "lignes.ecf").exists())
        path = folder(node, mandate) / "lignes.ecf"
        await until(_quiet_file(path))
        # An honest person changes the copy in between: the node takes it up all the same.
        text = path.read_bytes()
        assert lines[2] in text
        changed = text.replace(lines[2], lines[2] + lines[2], 3)
        path.write_bytes(changed)
        await until(
            lambda: writer.replica(said.mandate).state.files[file].segments.emit() == changed
        )
        assert await ask(node.pending, mandate)


def _quiet_file(path: Path) -> Any:
    def look() -> bool:
        before = path.read_bytes()
        time.sleep(0.3)
        return path.read_bytes() == before

    return look


async def test_a_hundred_thousand_segments_of_one_byte_leave_the_node_working(
    node: Home, mandate: str
) -> None:
    said, _ = await ask(invite, node, mandate)
    writer = Writer("many")
    writer.said = said
    memory = await ask(rss_bytes, node)
    async with writer.join(node, said):
        file = file_id("many")
        add = AddFile(file, "m.ecf", "other", "cresus-ecf", "/", None, None, None)
        writer.author(said.mandate, add)
        for number in range(5):
            change = Lines(file, (Run(bytes([64 + number]), (b"x",) * 20_000),), Edits((), ()), ())
            known = writer.replica(said.mandate).state.files[file]
            version = Save(file, tuple(sorted(known.heads)), (), None, True, 7, b"d" * 32)
            writer.author(said.mandate, change, version)
            await ask(expect, node, "GET", "/v1/status")
        await goes_on(writer, node, mandate)
    assert await ask(rss_bytes, node) - memory < 300 * MIB
