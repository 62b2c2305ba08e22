"""The real command line without its start-up time: a process that has imported it forks for each
command.

``serve`` puts a ``p2psync`` into a folder for ``PATH``. It hands its arguments, folder, environment
and its three descriptors to the server, whose fork runs the command as a process of its own would:
terminals, pipes, signals and exit codes are the real ones.
"""

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]
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


@contextmanager
def serve(folder: Path) -> Iterator[Path]:
    """Run the server; yield a folder that holds ``p2psync`` for ``PATH``."""
    folder.mkdir(parents=True, exist_ok=True)
    path, program = folder / "socket", folder / "p2psync"
    program.write_text(SHIM.format(python=sys.executable, path=str(path)), "utf-8")
    program.chmod(program.stat().st_mode | stat.S_IXUSR)
    server = subprocess.Popen(
        [sys.executable, "-m", "tests.docs_stories.forked", str(path)],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": str(ROOT), "PYTHONIOENCODING": "utf-8"},
        stdin=subprocess.DEVNULL,
    )
    try:
        deadline = time.monotonic() + READY_SECONDS_MAX
        while not path.exists():
            assert server.poll() is None, "the server of commands ended"
            assert time.monotonic() < deadline, "the server of commands does not start"
            time.sleep(0.02)
        yield folder
    finally:
        server.terminate()
        server.wait(READY_SECONDS_MAX)


def main(path: str) -> None:
    """Serve commands for ever."""
    import httpx  # noqa: F401 - so that no fork has to
    import rich.console
    import rich.progress
    import rich.table  # noqa: F401

    import p2psync.cli.app
    import p2psync.cli.main  # noqa: F401

    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    listener = socket.socket(socket.AF_UNIX)
    listener.bind(path + ".new")
    listener.listen(64)
    os.rename(path + ".new", path)
    while True:
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
