"""What a program did to the files below a folder, in order, as strace(1) saw it.

Nothing of the program takes part: SQLite's own calls are seen like ours. A call that changes files
in a way that is not understood here is an error, never passed over, and the calls played again
must give the folder that is really there (``Recording.check_complete``).
"""

import json
import os
import re
import shutil
import stat
import subprocess
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

MARKS = "marks"
"""A file beside the machines' folders; each line that is written to it is a ``Mark``."""
NOT_KEPT = "-shm"
"""SQLite's shared memory: written through a mapping, and made anew by who comes first."""
TRACED = (
    "openat open creat write pwrite64 writev pwritev pwritev2 ftruncate truncate fallocate "
    "rename renameat renameat2 link linkat symlink symlinkat unlink unlinkat mkdir mkdirat rmdir "
    "fsync fdatasync syncfs sync sync_file_range close dup dup2 dup3 fcntl lseek copy_file_range "
    "sendfile splice mmap fchmod fchmodat chmod ioctl io_uring_setup clone clone3 fork vfork"
).split()
STRACE_STRING_BYTES_MAX = 1 << 28


class NotUnderstood(Exception):
    """A call that this recorder cannot play again."""


class NoStrace(Exception):
    """Without strace no crash point can be known."""

    def __init__(self, cause: str) -> None:
        super().__init__(
            f"strace cannot trace here ({cause}): the crash tests need it. "
            "Install it (apt-get install strace), and allow ptrace (a container: "
            "--cap-add=SYS_PTRACE)"
        )


@dataclass(frozen=True, slots=True)
class Write:
    """Bytes that came into a file."""

    inode: int
    offset: int
    data: bytes


@dataclass(frozen=True, slots=True)
class Resize:
    """A file got another size."""

    inode: int
    size: int


@dataclass(frozen=True, slots=True)
class Naming:
    """Names of folders that change in one step: (folder, name, what it leads to then)."""

    changes: tuple[tuple[int, str, int | None], ...]


@dataclass(frozen=True, slots=True)
class Mode:
    """A file got another mode."""

    inode: int
    mode: int


@dataclass(frozen=True, slots=True)
class Sync:
    """All that was done to a file or folder before is durable now.

    With ``disk``, to any on the disk of a machine: all that is in one of the folders right below
    the recorded one (0 for all machines).
    """

    inode: int
    disk: bool = False


@dataclass(frozen=True, slots=True)
class Mark:
    """Something that the scenario told: that it began, had an answer, sent a frame."""

    value: dict[str, Any]


What = Write | Resize | Naming | Mode | Sync | Mark


@dataclass(frozen=True, slots=True)
class Operation:
    """One call that ended. ``began``: how many had ended when it began."""

    what: What
    began: int


@dataclass(slots=True)
class Node:
    """A file, or a folder when ``names`` is not ``None``, as the running system shows it."""

    mode: int
    content: bytearray = field(default_factory=bytearray)
    names: dict[str, int] | None = None


@dataclass(slots=True)
class _Opened:
    """An open file description: shared by what ``dup`` made."""

    inode: int
    offset: int
    append: bool


@dataclass(slots=True)
class Recording:
    """The folder as it was before, and what was done. Node 0 is the folder itself."""

    root: Path
    before: dict[int, Node]
    operations: list[Operation]
    after: dict[int, Node]
    machines: dict[int, int]
    """Which of the folders right below the recorded one each node is in, or was made in."""

    def check_complete(self) -> None:
        """Raise ``NotUnderstood`` unless what was recorded gives what is there."""
        recorded = tree(self.after)
        for path, expected in recorded.items():
            place = self.root / path
            found = None if expected is None else place.read_bytes()
            if found != expected or place.is_dir() != (expected is None):
                raise NotUnderstood(f"{path} is not what was recorded")
        for place in self.root.rglob("*"):
            path = str(place.relative_to(self.root))
            if path not in recorded and not path.endswith(NOT_KEPT) and path != MARKS:
                raise NotUnderstood(f"{path} was not recorded")


def tree(nodes: dict[int, Node], inode: int = 0, prefix: str = "") -> dict[str, bytes | None]:
    """Every path with its content; ``None`` for a folder."""
    out: dict[str, bytes | None] = {}
    for name, inner in sorted((nodes[inode].names or {}).items()):
        node = nodes[inner]
        if node.names is None:
            out[prefix + name] = bytes(node.content)
        else:
            out[prefix + name] = None
            out |= tree(nodes, inner, f"{prefix}{name}/")
    return out


def record(root: Path, command: Sequence[str], **options: Any) -> Recording:
    """Run a command under strace; return what it did below ``root``.

    Raises ``NoStrace``, ``NotUnderstood``, and ``CalledProcessError`` when the command fails.
    """
    if shutil.which("strace") is None:
        raise NoStrace("there is none")
    log = root.with_name(root.name + ".strace")
    strace = ["strace", "-f", "--seccomp-bpf", "-xx", "-s", str(STRACE_STRING_BYTES_MAX)]
    strace += ["-e", "trace=" + ",".join(TRACED), "-o", str(log)]
    probe = subprocess.run(
        [*strace[:-2], "-o", os.devnull, "true"], capture_output=True, text=True, check=False
    )
    if probe.returncode != 0:
        raise NoStrace(probe.stderr.strip().splitlines()[-1] if probe.stderr else "it failed")
    parser = Parser(root)
    subprocess.run([*strace, *command], check=True, **options)
    with log.open(encoding="ascii") as lines:
        recording = parser.read(lines.read().splitlines())
    log.unlink()
    return recording


_WHOLE = re.compile(r"(\d+) +(\w+)\((.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?: .*)?$", re.DOTALL)
_BEGUN = re.compile(r"(\d+) +(\w+)\((.*) <unfinished \.\.\.>$", re.DOTALL)
_ENDED = re.compile(
    r"(\d+) +<\.\.\. (\w+) resumed>(.*)\) += (-?\d+|\?|0x[0-9a-f]+)(?: .*)?$", re.DOTALL
)
_TEXT = re.compile(r'"((?:\\x[0-9a-f]{2})*)"')
_NUMBER = re.compile(r"(-?\d+|AT_FDCWD)")


def _texts(arguments: str) -> list[bytes]:
    return [bytes.fromhex(text.replace("\\x", "")) for text in _TEXT.findall(arguments)]


def _plain(arguments: str) -> list[str]:
    """The arguments, the content of texts left out."""
    return [each.strip() for each in _TEXT.sub("T", arguments).split(",")]


def _other_processes(lines: Sequence[str]) -> set[str]:
    """The ids of processes that the first one started, and of all their threads."""
    begun: dict[str, str] = {}
    others: set[str] = set()
    for line in lines:
        if "clone" not in line and "fork" not in line:
            continue
        if found := _BEGUN.match(line):
            begun[found[1]] = found[3]
        elif found := _ENDED.match(line) or _WHOLE.match(line):
            parent, call, arguments, child = found.groups()
            if call in ("clone", "clone3", "fork", "vfork"):
                arguments = begun.pop(parent, "") + arguments
                if parent in others or "CLONE_THREAD" not in arguments:
                    others.add(child)
    return others


class Parser:
    """Turns strace's lines into operations on the folder that is there when it is made."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self._umask = os.umask(0o022)
        os.umask(self._umask)
        self.nodes: dict[int, Node] = {}
        self._machines: dict[int, int] = {}
        self._load(root, 0)
        self.before = {
            number: Node(node.mode, node.content[:], None if node.names is None else {**node.names})
            for number, node in self.nodes.items()
        }
        self.operations: list[Operation] = []
        self._open: dict[int, _Opened] = {}
        self._marks: set[int] = set()
        self._begun: dict[str, tuple[str, str, int]] = {}

    def _load(self, path: Path, machine: int) -> int:
        number = len(self.nodes)
        self._machines[number] = machine or number
        mode = stat.S_IMODE(path.stat().st_mode)
        node = self.nodes[number] = Node(mode)
        if path.is_dir():
            node.names = {}
            for inner in sorted(path.iterdir()):
                node.names[inner.name] = self._load(inner, self._machines[number])
        else:
            node.content[:] = path.read_bytes()
        return number

    def read(self, lines: Sequence[str]) -> Recording:
        """Read all lines of the log; only the first process may touch our folder."""
        others = _other_processes(lines)
        for line in lines:
            if line.partition(" ")[0] in others:
                continue
            if found := _BEGUN.match(line):
                thread, call, arguments = found.groups()
                if call == "close":
                    # The number may be given anew before this thread is heard of again.
                    self._closed(int(arguments))
                self._begun[thread] = (call, arguments, len(self.operations))
            elif found := _ENDED.match(line):
                thread, call, arguments, result = found.groups()
                name, first, began = self._begun.pop(thread)
                assert name == call, line
                if call != "close":
                    self._call(call, first + arguments, result, began)
            elif found := _WHOLE.match(line):
                _, call, arguments, result = found.groups()
                self._call(call, arguments, result, len(self.operations))
            elif not re.match(r"\d+ +(\+\+\+|---|\w+\(.*= \?)", line):
                raise NotUnderstood(line[:200])
        return Recording(self.root, self.before, self.operations, self.nodes, self._machines)

    # -- where things are ---------------------------------------------------------------------

    def _closed(self, number: int) -> None:
        self._open.pop(number, None)
        self._marks.discard(number)

    def _node_at(self, folder: str, path: bytes) -> tuple[int, str] | None:
        """The folder and the name that a path stands for; ``None`` outside of our folder."""
        text = os.fsdecode(path)
        if text.startswith("/"):
            root = str(self.root)
            if text != root and not text.startswith(root + "/"):
                return None
            at, rest = 0, text[len(root) + 1 :]
        elif folder == "AT_FDCWD":
            return None
        elif int(folder) in self._open:
            at, rest = self._open[int(folder)].inode, text
        else:
            return None
        *parts, name = [part for part in rest.split("/") if part not in ("", ".")] or ["."]
        for part in parts:
            names = self.nodes[at].names
            if names is None or part == ".." or part not in names:
                raise NotUnderstood(f"the path {text}")
            at = names[part]
        return at, name

    def _found(self, at: tuple[int, str]) -> int | None:
        names = self.nodes[at[0]].names
        assert names is not None
        return at[0] if at[1] == "." else names.get(at[1])

    # -- calls --------------------------------------------------------------------------------

    def _call(self, call: str, arguments: str, result: str, began: int) -> None:
        if result.startswith("-") or result == "?":
            return
        value = int(result, 0)
        plain = _plain(arguments)
        match call:
            case "openat" | "open" | "creat":
                self._opening(call, arguments, plain, value, began)
            case "close":
                self._closed(int(plain[0]))
            case "dup" | "dup2" | "dup3":
                self._again(int(plain[0]), value)
            case "fcntl":
                if plain[1].startswith("F_DUPFD"):
                    self._again(int(plain[0]), value)
            case "lseek":
                if opened := self._open.get(int(plain[0])):
                    opened.offset = value
            case "write" | "pwrite64" | "writev" | "pwritev" | "pwritev2":
                self._writing(call, arguments, plain, value, began)
            case "ftruncate":
                if opened := self._open.get(int(plain[0])):
                    self._add(Resize(opened.inode, int(plain[1])), began)
            case "fallocate":
                self._allocating(plain, began)
            case "copy_file_range" | "sendfile":
                self._copying(call, plain, value, began)
            case "fchmod":
                if opened := self._open.get(int(plain[0])):
                    self._add(Mode(opened.inode, int(plain[1], 8)), began)
            case "fsync" | "fdatasync":
                if opened := self._open.get(int(plain[0])):
                    self._add(Sync(opened.inode), began)
            case "syncfs":
                if opened := self._open.get(int(plain[0])):
                    self._add(Sync(self._machines[opened.inode], disk=True), began)
            case "sync":
                self._add(Sync(0, disk=True), began)
            case "rename" | "renameat" | "renameat2" | "link" | "linkat":
                self._naming(call, arguments, plain, began)
            case "unlink" | "unlinkat" | "rmdir" | "mkdir" | "mkdirat":
                self._one_name(call, arguments, plain, began)
            case "sync_file_range":
                pass  # promises nothing
            case "clone" | "clone3" | "fork" | "vfork":
                pass
            case "mmap":
                self._mapping(arguments, plain)
            case "ioctl":
                if "CLONE" in plain[1] and int(plain[0]) in self._open:
                    raise NotUnderstood(f"{call}({arguments[:100]})")
            case "splice" if int(plain[2]) not in self._open:
                pass
            case "chmod" | "fchmodat":
                self._mode(call, arguments, plain, began)
            case "symlink" | "symlinkat" | "truncate":
                # The text of a link may be any; where it is to be comes last.
                folder = plain[1] if call == "symlinkat" else "AT_FDCWD"
                if self._node_at(folder, _texts(arguments)[-1]) is not None:
                    raise NotUnderstood(f"{call}({arguments[:100]})")
            case _:
                raise NotUnderstood(f"{call}({arguments[:100]})")

    def _add(self, what: What, began: int) -> None:
        match what:
            case Write(inode=inode, offset=offset, data=data):
                content = self.nodes[inode].content
                content.extend(bytes(max(0, offset + len(data) - len(content))))
                content[offset : offset + len(data)] = data
            case Resize(inode=inode, size=size):
                content = self.nodes[inode].content
                del content[size:]
                content.extend(bytes(size - len(content)))
            case Mode(inode=inode, mode=mode):
                self.nodes[inode].mode = mode
            case Naming(changes=changes):
                for folder, name, leads_to in changes:
                    names = self.nodes[folder].names
                    assert names is not None
                    if leads_to is None:
                        names.pop(name, None)
                    else:
                        names[name] = leads_to
            case Sync() | Mark():
                pass
        self.operations.append(Operation(what, began))

    def _new(self, at: tuple[int, str], node: Node, began: int) -> int:
        number = len(self.nodes)
        self.nodes[number] = node
        self._machines[number] = self._machines[at[0]] or number
        self._add(Naming(((*at, number),)), began)
        return number

    def _opening(
        self, call: str, arguments: str, plain: list[str], number: int, began: int
    ) -> None:
        self._closed(number)
        folder, flags = (plain[0], plain[2]) if call == "openat" else ("AT_FDCWD", plain[1])
        if call == "creat":
            flags = "O_CREAT|O_WRONLY|O_TRUNC"
        (path,) = _texts(arguments)
        at = self._node_at(folder, path)
        if at is None or at[1].endswith(NOT_KEPT):
            return
        if at == (0, MARKS):
            self._marks.add(number)
            return
        inode = self._found(at)
        options = set(flags.split("|"))
        if inode is None:
            if "O_CREAT" not in options:
                raise NotUnderstood(f"{at[1]} is opened and was never made")
            inode = self._new(at, Node(int(plain[-1], 8) & ~self._umask), began)
        elif "O_TRUNC" in options and self.nodes[inode].content:
            self._add(Resize(inode, 0), began)
        if options & {"O_SYNC", "O_DSYNC", "O_TMPFILE", "__O_TMPFILE"}:
            raise NotUnderstood(f"{at[1]} is opened with {flags}")
        self._open[number] = _Opened(inode, 0, "O_APPEND" in options)

    def _again(self, number: int, other: int) -> None:
        if number == other:
            return
        self._closed(other)
        if opened := self._open.get(number):
            self._open[other] = opened

    def _writing(self, call: str, arguments: str, plain: list[str], count: int, began: int) -> None:
        number = int(plain[0])
        if number in self._marks:
            for line in b"".join(_texts(arguments)).splitlines():
                self._add(Mark(json.loads(line)), began)
            return
        opened = self._open.get(number)
        if opened is None or not count:
            return
        data = b"".join(_texts(arguments))[:count]
        assert len(data) == count, arguments[:100]
        if call in ("pwrite64", "pwritev", "pwritev2"):
            offset = int(plain[-2] if call == "pwritev2" else plain[-1])
        else:
            if opened.append:
                opened.offset = len(self.nodes[opened.inode].content)
            offset = opened.offset
            opened.offset += count
        self._add(Write(opened.inode, offset, data), began)

    def _allocating(self, plain: list[str], began: int) -> None:
        opened = self._open.get(int(plain[0]))
        if opened is None or "KEEP_SIZE" in plain[1]:
            return
        if plain[1] != "0":
            raise NotUnderstood(f"fallocate({', '.join(plain)})")
        size = int(plain[2]) + int(plain[3])
        if size > len(self.nodes[opened.inode].content):
            self._add(Resize(opened.inode, size), began)

    def _copying(self, call: str, plain: list[str], count: int, began: int) -> None:
        if call == "copy_file_range":
            source, source_at, target, target_at = plain[:4]
        else:
            target, source, source_at = plain[:3]
            target_at = "NULL"
        into = self._open.get(int(target))
        if into is None or not count:
            return
        out = self._open.get(int(source))
        if out is None:
            raise NotUnderstood(f"{call} from outside")
        # With an offset strace shows it before and after: [from] => [to].
        start = out.offset if source_at == "NULL" else int(_NUMBER.findall(source_at)[0])
        if source_at == "NULL":
            out.offset += count
        data = bytes(self.nodes[out.inode].content[start : start + count])
        if len(data) != count:
            raise NotUnderstood(f"{call} beyond the end")
        offset = into.offset if target_at == "NULL" else int(_NUMBER.findall(target_at)[0])
        if target_at == "NULL":
            into.offset += count
        self._add(Write(into.inode, offset, data), began)

    def _naming(self, call: str, arguments: str, plain: list[str], began: int) -> None:
        old, new = _texts(arguments)
        at = "at" in call
        source = self._node_at(plain[0] if at else "AT_FDCWD", old)
        target = self._node_at(plain[2] if at else "AT_FDCWD", new)
        if source is None and target is None:
            return
        if source is None or target is None:
            raise NotUnderstood(f"{call} into or out of the folder")
        if source[1].endswith(NOT_KEPT):
            return
        inode, there = self._found(source), self._found(target)
        assert inode is not None
        if call.startswith("link"):
            changes: tuple[tuple[int, str, int | None], ...] = ((*target, inode),)
        elif "RENAME_EXCHANGE" in plain[-1]:
            changes = ((*target, inode), (*source, there))
        elif inode == there:
            return
        else:
            changes = ((*target, inode), (*source, None))
        self._add(Naming(changes), began)

    def _one_name(self, call: str, arguments: str, plain: list[str], began: int) -> None:
        (path,) = _texts(arguments)
        at = self._node_at(plain[0] if call.endswith("at") else "AT_FDCWD", path)
        if at is None or at[1].endswith(NOT_KEPT):
            return
        if call.startswith("mkdir"):
            self._new(at, Node(int(plain[-1], 8) & ~self._umask, names={}), began)
        else:
            self._add(Naming(((*at, None),)), began)

    def _mode(self, call: str, arguments: str, plain: list[str], began: int) -> None:
        folder, mode = (plain[0], plain[2]) if call == "fchmodat" else ("AT_FDCWD", plain[1])
        at = self._node_at(folder, _texts(arguments)[0])
        inode = None if at is None else self._found(at)
        if inode is not None:
            self._add(Mode(inode, int(mode, 8)), began)

    def _mapping(self, arguments: str, plain: list[str]) -> None:
        shared = "MAP_SHARED" in arguments and "PROT_WRITE" in arguments
        if shared and int(plain[4]) in self._open:
            raise NotUnderstood("a file is written through a mapping")
