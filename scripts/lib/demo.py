"""Plays the main job of p2psync with two real nodes on this machine, and checks the outcome.

One temporary folder holds two homes and the files of two programs. Every command is run as it is
shown. Whatever happens, the nodes are ended and the folder is removed.
"""

import contextlib
import hashlib
import json
import os
import re
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from types import FrameType

from p2psync.i18n import environment_language

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
COMMAND_SECONDS_MAX = 60
ARRIVAL_SECONDS_MAX = 20
KILL_SECONDS_MAX = 10
POLL_SECONDS = 0.0005
LOG_LINES_MAX = 30
ENDING_SIGNALS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
LOOPBACK = ("--listen", "/ip4/127.0.0.1/tcp/0", "--no-lan")
PASSPHRASE = re.compile(r"(?:[a-z]{4} ){5}[a-z]{4}")

MANDATE = "Atelier"
ACCOUNTANT, WORKSHOP = "accountant", "workshop"
SETTINGS = Path("books/atelier_2025.crp")
SALES = Path("sales/atelier_2025.ecf")

FRENCH = {
    "Two nodes on this machine, one for each side: each has its own keys, database and folders": (
        "Deux nœuds sur cette machine, un par côté : chacun a ses clés, sa base et ses dossiers"
    ),
    "Each side says who it is; there is no account anywhere": (
        "Chaque côté dit qui il est ; il n'y a de compte nulle part"
    ),
    "The accountant makes a mandate from the settings of the accounting, and shares it": (
        "La comptable crée un mandat à partir des paramètres de la comptabilité, et le partage"
    ),
    "She makes a ticket; its passphrase travels another way, by telephone say": (
        "Elle établit un ticket ; la phrase de passe prend un autre chemin, "
        "le téléphone par exemple"
    ),
    "The workshop subscribes with both, and attaches the file that its invoicing program writes": (
        "L'atelier s'abonne avec les deux, et rattache le fichier qu'écrit sa facturation"
    ),
    "The accountant sees what waits to be posted": (
        "La comptable voit ce qui attend d'être comptabilisé"
    ),
    "A week later invoicing saves: two postings added, one deleted, one changed": (
        "Une semaine plus tard, la facturation enregistre : deux écritures ajoutées, "
        "une supprimée, une modifiée"
    ),
    "Invoicing writes the same postings under other numbers: no change": (
        "La facturation récrit les mêmes écritures sous d'autres numéros : aucun changement"
    ),
    "The accountant posts: she gets the records, the workshop gets a signed receipt": (
        "La comptable comptabilise : elle obtient les écritures, l'atelier une quittance signée"
    ),
    "The workshop sees that its postings were taken": (
        "L'atelier voit que ses écritures ont été prises"
    ),
    "Invoicing goes back to its older file: what was posted is not overwritten silently": (
        "La facturation revient à l'ancien fichier : rien de comptabilisé n'est écrasé en silence"
    ),
    "The accountant posts the correction as well": "La comptable comptabilise aussi la correction",
    "Both mandate folders hold the same": "Les deux dossiers du mandat contiennent la même chose",
    "The work is done: she closes the mandate for everyone; no file is touched": (
        "Le travail est fini : elle ferme le mandat pour tous ; aucun fichier n'est touché"
    ),
    "after the save": "après l'enregistrement",
    "after the command was given": "après que la commande a été donnée",
    "{file} is there, byte for byte: {ms} ms {since}": (
        "{file} est là, à l'octet près : {ms} ms {since}"
    ),
    "byte-identical: {count} files on both sides": (
        "identiques à l'octet près : {count} fichiers de chaque côté"
    ),
    "done in {seconds} s; the nodes are stopped and the temporary folder is removed": (
        "fini en {seconds} s ; les nœuds sont arrêtés et le dossier temporaire est supprimé"
    ),
    "FAILED: {cause}": "ÉCHEC : {cause}",
    "interrupted": "interrompu",
}


class DemoFailed(Exception):
    """Something was not as it must be."""


class Interrupted(Exception):
    """Somebody ended the demo."""


class Screen:
    """What a person sees."""

    def __init__(self) -> None:
        self._french = environment_language() == "fr"
        self._colours = sys.stdout.isatty() and "NO_COLOR" not in os.environ
        self._step = 0
        # A heading must not fail where the locale cannot write its accents.
        for stream in (sys.stdout, sys.stderr):
            if hasattr(stream, "reconfigure"):
                stream.reconfigure(errors="replace")

    def say(self, template: str, **params: object) -> str:
        """Return a text in the language that the environment asks for."""
        text = FRENCH[template] if self._french else template
        return text.format(**params)

    def heading(self, template: str) -> None:
        """Begin a step."""
        self._step += 1
        self.line("")
        self.line(f"{self._step}. {self.say(template)}", "1")

    def command(self, text: str) -> None:
        """Show what is about to be run."""
        self.line(f"$ {text}", "36")

    def good(self, text: str) -> None:
        """Show something that was checked."""
        self.line(f"✓ {text}" if self._can_tick() else f"ok: {text}", "32")

    def aside(self, text: str) -> None:
        """Show something of less weight."""
        self.line(text, "2")

    def line(self, text: str, colour: str = "") -> None:
        """Show a line at once; ``colour`` is a number of ECMA-48, for terminals only."""
        if colour and self._colours:
            text = f"\033[{colour}m{text}\033[0m"
        sys.stdout.write(text + "\n")
        sys.stdout.flush()

    def _can_tick(self) -> bool:
        with contextlib.suppress(UnicodeError, LookupError):
            "✓".encode(sys.stdout.encoding or "ascii")
            return True
        return False


class Demo:
    """One run, in a folder that is the working directory of every command."""

    def __init__(self, folder: Path, screen: Screen) -> None:
        self._folder = folder
        self._screen = screen
        self._environment = {
            name: value for name, value in os.environ.items() if name != "P2PSYNC_HOME"
        }
        # No proxy: the nodes are on this machine.
        self._opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))

    # -- the story ----------------------------------------------------------------------------

    def play(self) -> None:
        """Play all steps; raises ``DemoFailed`` when one does not come out as it must."""
        screen = self._screen
        shutil.copytree(EXAMPLES, self._folder / "examples")
        for file, name in ((SETTINGS, SETTINGS.name), (SALES, "atelier_2025_v1.ecf")):
            (self._folder / file.parent).mkdir()
            shutil.copyfile(EXAMPLES / name, self._folder / file)

        screen.heading(
            "Two nodes on this machine, one for each side: "
            "each has its own keys, database and folders"
        )
        self._run_on_both("node", "start", *LOOPBACK)

        screen.heading("Each side says who it is; there is no account anywhere")
        self._run(ACCOUNTANT, "identity", "set", "--name", "Léa Fiduciaire")
        self._run(WORKSHOP, "identity", "set", "--name", "Marc Atelier")

        screen.heading(
            "The accountant makes a mandate from the settings of the accounting, and shares it"
        )
        self._run(ACCOUNTANT, "mandate", "create", MANDATE, "--accounting", str(SETTINGS))
        self._run(ACCOUNTANT, "mandate", "share", MANDATE)

        screen.heading("She makes a ticket; its passphrase travels another way, by telephone say")
        said = self._run(ACCOUNTANT, "invite", MANDATE, "-o", "atelier.crsync", capture=True)
        found = PASSPHRASE.search(said)
        if found is None:
            raise DemoFailed("the invitation shows no passphrase")

        screen.heading(
            "The workshop subscribes with both, "
            "and attaches the file that its invoicing program writes"
        )
        began = time.monotonic()
        self._run(
            *(WORKSHOP, "subscribe", "atelier.crsync", "--passphrase-file", "-"),
            *("--attach", str(SALES), "--kind", "invoicing"),
            typed=found[0],
        )
        for home, file in ((ACCOUNTANT, SALES), (WORKSHOP, SETTINGS)):
            wanted = (self._folder / file).read_bytes()
            self._arrives(home, file, wanted, began, "after the command was given")

        screen.heading("The accountant sees what waits to be posted")
        self._pending(7, 0)

        screen.heading("A week later invoicing saves: two postings added, one deleted, one changed")
        self._save("atelier_2025_v2.ecf")
        self._pending(8, 0)

        screen.heading("Invoicing writes the same postings under other numbers: no change")
        self._save("atelier_2025_v2_renumbered.ecf")
        self._pending(8, 0)

        screen.heading(
            "The accountant posts: she gets the records, the workshop gets a signed receipt"
        )
        self._run(ACCOUNTANT, "post", MANDATE, "-o", "books/to-import.txt")
        taken = (self._folder / "books/to-import.txt").read_bytes().count(b"\n")
        self._check("records handed over", taken, 8)
        self._pending(0, 0)

        screen.heading("The workshop sees that its postings were taken")
        self._until("receipt", lambda: self._receipts(WORKSHOP), [(8, 0, "posted")])
        self._run(WORKSHOP, "receipts", MANDATE)

        screen.heading(
            "Invoicing goes back to its older file: what was posted is not overwritten silently"
        )
        self._save("atelier_2025_v1.ecf")
        self._pending(2, 3)

        screen.heading("The accountant posts the correction as well")
        self._run(ACCOUNTANT, "post", MANDATE, "-o", "books/corrections.txt")
        self._pending(0, 0)

        screen.heading("Both mandate folders hold the same")
        self._run(ACCOUNTANT, "wait", MANDATE, "--synced", "--timeout", "20")
        self._compare()

        screen.heading("The work is done: she closes the mandate for everyone; no file is touched")
        self._run(ACCOUNTANT, "mandate", "close", MANDATE)
        self._until("state", lambda: self._ask(WORKSHOP)["state"], "closed")
        self._run(WORKSHOP, "mandate", "list")

    # -- its parts ----------------------------------------------------------------------------

    def _run(self, home: str, *words: str, typed: str = "", capture: bool = False) -> str:
        """Run a command as it is shown; what is typed comes by a pipe."""
        shown = shlex.join(("p2psync", "--home", home, *words))
        self._screen.command(f"echo {shlex.quote(typed)} | {shown}" if typed else shown)
        began = time.monotonic()
        done = self._p2psync(home, *words, typed=typed, capture=capture)
        if capture:
            self._screen.line(done.stdout.rstrip("\n"))
        if done.returncode:
            raise DemoFailed(f"{shown}: exit code {done.returncode}")
        self._screen.aside(f"({time.monotonic() - began:.2f} s)")
        return done.stdout or ""

    def _run_on_both(self, *words: str) -> None:
        """Run a command on both sides at once, as two people would."""
        began = time.monotonic()
        with ThreadPoolExecutor() as pool:
            running = [
                (home, pool.submit(self._p2psync, home, *words, capture=True))
                for home in (ACCOUNTANT, WORKSHOP)
            ]
            for home, result in running:
                shown = shlex.join(("p2psync", "--home", home, *words))
                self._screen.command(shown)
                done = result.result()
                self._screen.line(done.stdout.rstrip("\n"))
                if done.returncode:
                    raise DemoFailed(f"{shown}: exit code {done.returncode}")
        self._screen.aside(f"({time.monotonic() - began:.2f} s)")

    def _p2psync(
        self, home: str, *words: str, typed: str = "", capture: bool = False, quiet: bool = False
    ) -> "subprocess.CompletedProcess[str]":
        return subprocess.run(  # noqa: S603 - our own interpreter and arguments
            [sys.executable, "-m", "p2psync", "--home", home, *words],
            cwd=self._folder,
            env=self._environment,
            input=typed + "\n" if typed else None,
            stdin=None if typed else subprocess.DEVNULL,
            stdout=subprocess.PIPE if capture else subprocess.DEVNULL if quiet else None,
            stderr=subprocess.DEVNULL if quiet else None,
            encoding="utf-8",
            errors="replace",
            timeout=COMMAND_SECONDS_MAX,
            check=False,
        )

    def _ask(self, home: str, *path: str) -> dict[str, object]:
        """Ask the node over its local API: what is checked is not what was printed."""
        folder = self._folder / home
        address = json.loads((folder / "api.json").read_text("utf-8"))["address"]
        token = (folder / "api.token").read_text("ascii").strip()
        request = urllib.request.Request(  # noqa: S310 - the node's own address
            "/".join((address, "v1/mandates", MANDATE, *path)),
            headers={"Authorization": f"Bearer {token}"},
        )
        with self._opener.open(request, timeout=COMMAND_SECONDS_MAX) as answer:
            said: dict[str, object] = json.load(answer)
        return said

    def _save(self, example: str) -> None:
        content = (EXAMPLES / example).read_bytes()
        self._screen.command(f"cp examples/{example} {SALES}")
        began = time.monotonic()
        shutil.copyfile(EXAMPLES / example, self._folder / SALES)
        self._arrives(ACCOUNTANT, SALES, content, began, "after the save")

    def _arrives(self, home: str, file: Path, wanted: bytes, began: float, since: str) -> None:
        """Watch the other side's mandate folder until it holds the bytes."""
        path = Path(home, "mandates", MANDATE, file.name)
        while True:
            with contextlib.suppress(OSError):
                if (self._folder / path).read_bytes() == wanted:
                    break
            if time.monotonic() - began > ARRIVAL_SECONDS_MAX:
                raise DemoFailed(f"{path} did not arrive within {ARRIVAL_SECONDS_MAX} s")
            time.sleep(POLL_SECONDS)
        ms = f"{(time.monotonic() - began) * 1000:.0f}"
        self._screen.good(
            self._screen.say(
                "{file} is there, byte for byte: {ms} ms {since}",
                file=path,
                ms=ms,
                since=self._screen.say(since),
            )
        )

    def _pending(self, added: int, deleted: int) -> None:
        def counted() -> tuple[object, object]:
            said = self._ask(ACCOUNTANT, "pending")
            return said["added"], said["deleted"]

        self._run(ACCOUNTANT, "pending", MANDATE)
        self._check("pending (added, deleted)", counted(), (added, deleted))

    def _receipts(self, home: str) -> list[tuple[object, object, object]]:
        listed = self._ask(home, "receipts")["receipts"]
        assert isinstance(listed, list)
        return [(each["added"], each["deleted"], each["state"]) for each in listed]

    def _until(self, what: str, look: Callable[[], object], wanted: object) -> None:
        deadline = time.monotonic() + ARRIVAL_SECONDS_MAX
        while (found := look()) != wanted:
            if time.monotonic() > deadline:
                self._check(what, found, wanted)
            time.sleep(POLL_SECONDS * 20)

    def _check(self, what: str, found: object, wanted: object) -> None:
        if found != wanted:
            raise DemoFailed(f"{what}: {found}, expected {wanted}")

    def _compare(self) -> None:
        here, there = (self._digests(home) for home in (ACCOUNTANT, WORKSHOP))
        for home, digests in ((ACCOUNTANT, here), (WORKSHOP, there)):
            for name, digest in digests.items():
                self._screen.line(f"{digest}  {home}/mandates/{MANDATE}/{name}")
        wanted = {file.name: _sha256(self._folder / file) for file in (SETTINGS, SALES)}
        self._check("files of the accountant's mandate folder", here, wanted)
        self._check("files of the workshop's mandate folder", there, wanted)
        self._screen.good(
            self._screen.say("byte-identical: {count} files on both sides", count=len(here))
        )

    def _digests(self, home: str) -> dict[str, str]:
        folder = self._folder / home / "mandates" / MANDATE
        return {path.name: _sha256(path) for path in sorted(folder.iterdir())}

    # -- the end ------------------------------------------------------------------------------

    def logs(self) -> str:
        """Return the end of what the nodes logged, for whoever looks into a failure."""
        out = ""
        for home in (ACCOUNTANT, WORKSHOP):
            with contextlib.suppress(OSError):
                lines = (
                    (self._folder / home / "node.log").read_text("utf-8", "replace").splitlines()
                )
                out += "".join(f"{home}/node.log: {line}\n" for line in lines[-LOG_LINES_MAX:])
        return out

    def end(self) -> None:
        """End the nodes, whatever state they are in, and remove the folder."""
        with ThreadPoolExecutor() as pool:
            pool.map(self._stop, (ACCOUNTANT, WORKSHOP))
        # A node that did not end when asked, or was only starting: it works in our folder.
        deadline = time.monotonic() + KILL_SECONDS_MAX
        while (left := self._nodes()) and time.monotonic() < deadline:
            for pid in left:
                with contextlib.suppress(OSError):
                    os.kill(pid, signal.SIGKILL)
            time.sleep(POLL_SECONDS * 20)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _nodes(self) -> list[int]:
        """The processes of ours that run in our folder."""
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            with contextlib.suppress(OSError):
                ours = (process / "cwd").readlink() == self._folder
                if ours and b"p2psync" in (process / "cmdline").read_bytes().split(b"\0"):
                    found.append(int(process.name))
        return found

    def _stop(self, home: str) -> None:
        if (self._folder / home / "api.json").exists():
            with contextlib.suppress(OSError, subprocess.SubprocessError):
                self._p2psync(home, "node", "stop", quiet=True)


def _sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def _interrupt(_number: int, _frame: FrameType | None) -> None:
    raise Interrupted


def main() -> int:
    """Play, clean up, and return the exit code."""
    screen = Screen()
    began = time.monotonic()
    demo: Demo | None = None
    code, cause = 0, ""
    try:
        for number in ENDING_SIGNALS:
            signal.signal(number, _interrupt)
        demo = Demo(Path(tempfile.mkdtemp(prefix="p2psync-demo-")).resolve(), screen)
        demo.play()
    except Interrupted:
        code, cause = 130, screen.say("interrupted")
    except (DemoFailed, OSError, subprocess.SubprocessError) as error:
        code, cause = 1, str(error)
        if demo is not None:
            sys.stderr.write(demo.logs())
    finally:
        # Cleaning up takes a second or two and is not to be cut short.
        for number in ENDING_SIGNALS:
            signal.signal(number, signal.SIG_IGN)
        if demo is not None:
            demo.end()
    if code:
        sys.stderr.write(screen.say("FAILED: {cause}", cause=cause) + "\n")
        return code
    screen.line("")
    seconds = f"{time.monotonic() - began:.0f}"
    screen.line(
        screen.say(
            "done in {seconds} s; the nodes are stopped and the temporary folder is removed",
            seconds=seconds,
        ),
        "1",
    )
    return 0


if __name__ == "__main__":
    sys.exit(main())
