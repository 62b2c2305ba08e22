"""Progress bars on standard error, drawn from the node's ``progress`` events."""

import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from p2psync.cli.client import Client
from p2psync.cli.output import safe
from p2psync.cli.settings import current
from p2psync.errors import P2PSyncError


@contextmanager
def shown_progress(text: str, mandate: str | None = None) -> Iterator[None]:
    """Show what the node is doing while the block runs; only for people at a terminal."""
    if current().json or not sys.stderr.isatty():
        yield
        return
    from rich.console import Console
    from rich.progress import BarColumn, Progress, SpinnerColumn, TextColumn, TimeElapsedColumn

    columns = (SpinnerColumn(), TextColumn("{task.description}", markup=False), BarColumn())
    console = Console(stderr=True)
    with Progress(*columns, TimeElapsedColumn(), console=console, transient=True) as progress:
        tasks = {"": progress.add_task(text, total=None)}
        settings = current()

        def follow() -> None:
            try:
                for event in Client(settings).events(mandate, None):
                    if event.get("type") == "progress":
                        _draw(progress, tasks, event)
            except P2PSyncError:
                # The bar is an extra: the command itself reports what goes wrong.
                return

        threading.Thread(target=follow, daemon=True).start()
        yield


def _draw(progress: Any, tasks: dict[str, Any], event: dict[str, Any]) -> None:
    name = safe(str(event.get("file") or event.get("phase") or ""))
    total, done = event.get("total_bytes"), event.get("done_bytes", 0)
    if name not in tasks:
        tasks[name] = progress.add_task(name, total=total)
    progress.update(tasks[name], completed=done, total=total)
