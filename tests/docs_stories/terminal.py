"""One person's terminal: a shell on a pseudo-terminal, whose folder and exported variables stay
from command to command."""

import fcntl
import os
import re
import select
import signal
import struct
import subprocess
import termios
import time
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

COMMAND_SECONDS_MAX = 240.0
COLUMNS = 400
"""So wide that no table is folded."""
# What is left in the background goes on when the shell ends, as it does at a person's terminal.
SCRIPT = r"""
set -eo pipefail
trap '' HUP
trap 'code=$?; { pwd; env -0; printf "\0"; } >&"$STATE"; exit $code' EXIT
eval "$1"
"""
ESCAPES = re.compile(r"\x1b(\[[0-9;?]*[A-Za-z]|\][^\x07]*\x07|[=>])")


@dataclass
class Terminal:
    """Where one person types."""

    folder: Path
    environment: dict[str, str]

    def run(self, command: str, questions: Sequence[str] = ()) -> tuple[int, list[str]]:
        """Run one command; returns its exit code and the lines that it showed.

        A question is a line as it looks when it was answered: when the beginning of one waits at
        the terminal, the rest is typed.
        """
        ours, theirs = os.openpty()
        state, their_state = os.pipe()
        try:
            fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, COLUMNS, 0, 0))
            shell = subprocess.Popen(
                ["bash", "--noprofile", "--norc", "-c", SCRIPT, "bash", command],
                cwd=self.folder,
                env={**self.environment, "STATE": str(their_state), "PWD": str(self.folder)},
                stdin=theirs,
                stdout=theirs,
                stderr=theirs,
                pass_fds=(their_state,),
                start_new_session=True,
            )
            os.close(theirs)
            os.close(their_state)
            theirs = their_state = -1
            shown = self._follow(shell, ours, list(questions))
            self._remember(state)
        finally:
            for descriptor in (ours, theirs, state, their_state):
                if descriptor >= 0:
                    os.close(descriptor)
        return shell.returncode, plain(shown)

    def _follow(self, shell: "subprocess.Popen[bytes]", ours: int, questions: list[str]) -> bytes:
        shown, answered, deadline = b"", 0, time.monotonic() + COMMAND_SECONDS_MAX
        while True:
            ended = shell.poll() is not None
            if select.select([ours], [], [], 0 if ended else 0.02)[0]:
                with suppress(OSError):
                    more = os.read(ours, 65536)
                    shown += more
                    if more:
                        continue
                shell.wait(COMMAND_SECONDS_MAX)
                return shown
            if ended:
                return shown
            if time.monotonic() > deadline:
                os.killpg(shell.pid, signal.SIGKILL)
                shell.wait()
                raise AssertionError(f"it does not end: {plain(shown)}")
            waits = plain(shown[answered:])[-1]
            for question in questions:
                if waits.endswith(":") and question.startswith(waits):
                    os.write(ours, question[len(waits) :].strip().encode() + b"\n")
                    answered = len(shown)
                    questions.remove(question)
                    break

    def _remember(self, state: int) -> None:
        kept = b""
        while not kept.endswith(b"\0\0") and (more := os.read(state, 65536)):
            kept += more
        folder, _, variables = kept.partition(b"\n")
        pairs = (each.partition("=") for each in variables.decode().split("\0") if each)
        self.folder = Path(folder.decode())
        self.environment = {name: value for name, _, value in pairs}


def plain(shown: bytes) -> list[str]:
    """What a person reads at last: no escapes, and of a line that was written over the rest."""
    text = ESCAPES.sub("", shown.decode("utf-8", "replace"))
    lines = [line.rstrip("\r\n").rpartition("\r")[2].strip() for line in text.split("\n")]
    return [line for line in lines if line] or [""]
