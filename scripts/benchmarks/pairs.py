"""Two folders that a program keeps in sync: the same questions for p2psync and for its peers."""

from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager
from pathlib import Path
from typing import Protocol

from scripts.benchmarks.context import Context
from scripts.benchmarks.figures import OURS
from scripts.benchmarks.nodes import Node, pair
from scripts.benchmarks.wire import sent_bytes

MANDATE = "M"


class Pair(Protocol):
    """A program that runs on two sides of one machine, both idle, with nothing to do yet."""

    subject: str
    source: Path
    """Where files are to be put and saved."""
    target: Path
    """Where their copies appear under the same names."""

    def take_up(self, paths: Sequence[Path]) -> None:
        """Tells the program that these files in the source folder are new."""

    def saved(self) -> None:
        """Tells the program that a file was saved, if it has to be told."""

    def settle(self) -> None:
        """Returns when both sides have the same."""

    def sent_bytes(self) -> int:
        """Returns what the source side sent to the other so far."""

    def pids(self) -> tuple[int, ...]:
        """Returns the processes of both sides; the source's first."""


class Restartable(Pair, Protocol):
    """A program whose sides are processes that stay."""

    def stop(self, side: int) -> None:
        """Ends the process of one side in order: 0 is the source's, 1 the other."""

    def launch(self, side: int) -> None:
        """Runs it again, without waiting until it is ready."""

    def ready(self, side: int) -> None:
        """Returns when it says that it is ready."""


Opener = Callable[[Context, str], AbstractContextManager[Pair]]


class Ours:
    """Two nodes that share a mandate."""

    subject = OURS

    def __init__(self, a: Node, b: Node, kind: str) -> None:
        self.a, self.b, self._kind = a, b, kind
        self.source, self.target = a.work, b.folder(MANDATE)

    def take_up(self, paths: Sequence[Path]) -> None:
        """Attaches the files."""
        self.a.attach(MANDATE, *paths, kind=self._kind)

    def saved(self) -> None:
        """Does nothing: the node watches the file."""

    def settle(self) -> None:
        """Waits until the other side has all."""
        self.a.wait_synced(MANDATE)

    def sent_bytes(self) -> int:
        """Counts the bytes of the node's sockets to the other."""
        return sent_bytes({self.a.pid}, {self.b.pid})

    def pids(self) -> tuple[int, ...]:
        """Gives the two nodes."""
        return self.a.pid, self.b.pid

    def stop(self, side: int) -> None:
        """Ends a node in order."""
        (self.a, self.b)[side].stop()

    def launch(self, side: int) -> None:
        """Runs a node again, at the port that it had."""
        (self.a, self.b)[side].launch()

    def ready(self, side: int) -> None:
        """Waits for its own word."""
        (self.a, self.b)[side].await_ready()


@contextmanager
def ours(context: Context, kind: str = "other") -> Iterator[Ours]:
    """Opens two nodes with a mandate; ``kind`` is that of the files to be attached."""
    with context.fresh("nodes") as folder:
        yield Ours(*pair(context, folder, MANDATE), kind)
