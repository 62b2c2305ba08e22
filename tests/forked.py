"""The real command line without its start-up time: a process that has imported it forks for each
command.

A command's arguments, folder, environment and three descriptors go to the server, whose fork runs
it as a process of its own would: terminals, pipes, signals and exit codes are the real ones.
``serve`` puts a ``p2psync`` that does so into a folder for ``PATH``; ``run`` needs no further
process at all.
"""

import atexit
import json
import os
import select
import signal
import socket
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager
from functools import cache
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
READY_SECONDS_MAX = 30.0
SHIM = """#!{python} -IS
import array, json, os, signal, socket, sys
link = socket.socket(socket.AF_UNIX)
link.connect({path!r})
asked = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ)]).encode() + b"\\n"
link.sendmsg([asked[:1]], [(socket.SOL_SOCKET, socket.SCM_RIGHTS, array.array("i", [0, 1, 2]))])
link.sendall(asked[1:])
said = link.makefile("rb")
child = int(said.readline() or 0)
for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
    signal.signal(number, lambda number, _: os.kill(child, number))
os._exit(int(said.readline() or 137))
"""


_starting = threading.Lock()


@contextmanager
def serve(folder: Path) -> Iterator[Path]:
    """Run the server; yield a folder that holds ``p2psync`` for ``PATH``."""
    folder.mkdir(parents=True, exist_ok=True)
    path, program = folder / "socket", folder / "p2psync"
    program.write_text(SHIM.format(python=sys.executable, path=str(path)), "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.forked", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.PIPE,  # its end is the server's end
    )
    assert server.stdin is not None
    try:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not path.exists():
            assert server.poll() is None, "the server of commands ended"
            assert time.monotonic() < deadline, "the server of commands does not start"
            time.sleep(0.02)
        yield folder
    finally:
        server.stdin.close()
        server.wait(READY_SECONDS_MAX)


@cache
def _shared() -> str:
    """Where the server listens that all tests of this process share."""
    stack = ExitStack()
    atexit.register(stack.close)
    folder = stack.enter_context(tempfile.TemporaryDirectory(prefix="p2psync-"))
    return str(stack.enter_context(serve(Path(folder))) / "socket")


def run(
    arguments: Sequence[str], folder: Path, environment: Mapping[str, str], timeout: float
) -> tuple[int, bytes, bytes]:
    """Run one command to its end, with nothing to read; returns its exit code and what it said.

    Raises ``subprocess.TimeoutExpired`` after killing it.
    """
    with _starting:
        path = _shared()
    asked = json.dumps([list(arguments), str(folder), dict(environment)]).encode() + b"\n"
    with (
        tempfile.TemporaryFile() as out,
        tempfile.TemporaryFile() as err,
        open(os.devnull, "rb") as nothing,
        socket.socket(socket.AF_UNIX) as link,
    ):
        link.settimeout(timeout)
        link.connect(path)
        socket.send_fds(link, [asked[:1]], [each.fileno() for each in (nothing, out, err)])
        link.sendall(asked[1:])
        with link.makefile("rb") as said:
            child = int(said.readline())
            try:
                code = int(said.readline() or 128 + signal.SIGKILL)
            except TimeoutError:
                os.kill(child, signal.SIGKILL)
                raise subprocess.TimeoutExpired(list(arguments), timeout) from None
        out.seek(0)
        err.seek(0)
        return code, out.read(), err.read()


def main(path: str) -> None:
    """Serve commands until standard input ends."""
    import rich.console  # so that no fork has to
    import rich.progress
    import rich.table  # noqa: F401
    import typer.main  # noqa: F401

    import p2psync.cli.app
    import p2psync.cli.client
    import p2psync.cli.main  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(64)
    os.rename(path + ".new", path)
    while True:
        if sys.stdin in select.select([listener, sys.stdin], (), ())[0]:
            return
        link, _ = listener.accept()
        with link:
            first, descriptors, _, _ = socket.recv_fds(link, 1, 3)
            if len(descriptors) == 3 and os.fork() == 0:
                listener.close()
                os._exit(_command(link, first, descriptors))
            for descriptor in descriptors:
                os.close(descriptor)


def _command(link: socket.socket, first: bytes, descriptors: list[int]) -> int:
    """Run one command in this fork; returns its exit code after telling it."""
    from p2psync.cli.main import main as command_line

    code = 1
    try:
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
        with link.makefile("rb") as asked:
            arguments, folder, environment = json.loads(first + asked.readline())
        link.sendall(b"%d\n" % os.getpid())
        for number, descriptor in enumerate(descriptors):
            os.dup2(descriptor, number)
            os.close(descriptor)
        os.chdir(folder)
        os.environ.clear()
        os.environ.update(environment)
        time.tzset()
        sys.stdin = os.fdopen(0, encoding="utf-8", closefd=False)
        sys.stdout = os.fdopen(1, "w", encoding="utf-8", closefd=False)
        sys.stderr = os.fdopen(2, "w", encoding="utf-8", closefd=False, buffering=1)
        sys.argv = ["p2psync", *arguments]
        command_line()
    except SystemExit as ended:
        code = ended.code if isinstance(ended.code, int) else 1
    finally:
        link.sendall(b"%d\n" % code)
    return code


if __name__ == "__main__":
    main(sys.argv[1])
