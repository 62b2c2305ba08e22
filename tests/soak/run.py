"""The command line of the soak; ``scripts/soak`` runs it."""

import argparse
import shutil
import signal
import sys
import tempfile
import threading
import time
from pathlib import Path
from types import FrameType

from tests.e2e.homes import ROOT
from tests.soak import summary
from tests.soak.life import ACTION_SECONDS, CHECK_SECONDS, FAULT_SECONDS, Pace, Soak
from tests.soak.watch import Rows

PAGE = ROOT / "docs" / "performance.md"
TELL_SECONDS = 60.0


def main() -> int:
    """Soak as long as asked, or tell of a run that was; return 1 when something was wrong."""
    parser = argparse.ArgumentParser(prog="scripts/soak", description=__doc__)
    parser.add_argument("--nodes", type=int, default=3, help="how many nodes")
    parser.add_argument("--hours", type=float, default=1.0, help="how long")
    parser.add_argument("--seed", type=int, default=0, help="other seeds, other stories")
    parser.add_argument("--dir", type=Path, help="where the homes are; kept (else in a new folder)")
    parser.add_argument("--json", type=Path, help="the rows, written as they come")
    parser.add_argument("--action", type=float, default=ACTION_SECONDS, help="mean seconds")
    parser.add_argument("--fault", type=float, default=FAULT_SECONDS, help="mean seconds")
    parser.add_argument("--check", type=float, default=CHECK_SECONDS, help="seconds")
    parser.add_argument("--of", type=Path, help="soak nothing; tell of the rows of this run")
    parser.add_argument("--plots", type=Path, help="draw into this folder")
    parser.add_argument("--report", action="store_true", help="write into docs/performance.md")
    chosen = parser.parse_args()
    path = chosen.of or _soak(chosen)
    rows = summary.read(path)
    told = summary.text(rows)
    say(told)
    if chosen.plots:
        from tests.soak import plots  # matplotlib is not in every environment

        for written in plots.write(rows, chosen.plots):
            say(f"wrote {written}")
    if chosen.report:
        PAGE.write_text(summary.replaced(PAGE.read_text("utf-8"), told), "utf-8")
    return 1 if summary.of(rows, "problem") else 0


def _soak(chosen: argparse.Namespace) -> Path:
    """Run until the time is over or somebody interrupts; return where the rows are."""
    root: Path = chosen.dir or Path(tempfile.mkdtemp(prefix="p2psync-soak-"))
    root.mkdir(parents=True, exist_ok=True)
    path: Path = chosen.json or root / "rows.jsonl"
    rows = Rows(path)
    rows.write("begin", nodes=chosen.nodes, seed=chosen.seed, hours=chosen.hours)
    say(f"homes in {root}, rows in {path}")
    soak = Soak(
        root, chosen.nodes, chosen.seed, rows, Pace(chosen.action, chosen.fault, chosen.check)
    )
    # SIGINT, too: what a shell starts in the background ignores it.
    for number in (signal.SIGINT, signal.SIGTERM):
        signal.signal(number, _interrupt)
    over = threading.Event()
    teller = threading.Thread(target=_tell, args=(soak, rows, over), daemon=True)
    teller.start()
    try:
        soak.run(chosen.hours * 3600)
    except KeyboardInterrupt:
        rows.write("interrupted")
        say("interrupted")
    except Exception as error:  # the data that is there counts all the same
        rows.write("problem", text=f"the run ended: {type(error).__name__} {error}")
        raise
    finally:
        # A second Ctrl-C does not cut it short.
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_IGN)
        soak.end()
        rows.write("end")
        over.set()
        teller.join()
        rows.close()
        for number in (signal.SIGINT, signal.SIGTERM):
            signal.signal(number, signal.SIG_DFL)
    if not soak.problems and chosen.dir is None and chosen.json is not None:
        shutil.rmtree(root)
    return path


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _tell(soak: Soak, rows: Rows, over: threading.Event) -> None:
    while not over.wait(TELL_SECONDS):
        parts = []
        for node in soak.nodes:
            found = node.measured()
            parts.append(f"{found['rss'] / 1e6:.0f} MB {found['fds']} fds" if found else "down")
        minutes, moment = rows.seconds / 60, time.strftime("%H:%M:%S")
        say(f"{moment} {minutes:.0f} min: {'; '.join(parts)}; {soak.problems} problems")


def say(line: str) -> None:
    """Print at once."""
    print(line, flush=True)  # noqa: T201  # a command line


if __name__ == "__main__":
    sys.exit(main())
