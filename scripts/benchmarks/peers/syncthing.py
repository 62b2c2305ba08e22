"""Syncthing: two instances on loopback, with everything that reaches beyond switched off."""

import http.client
import json
import shutil
import subprocess
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

from scripts.benchmarks.context import BenchmarkFailed, Context
from scripts.benchmarks.pairs import Restartable
from scripts.benchmarks.peers.rsync import free_port
from scripts.benchmarks.processes import END_SECONDS_MAX, family
from scripts.benchmarks.wire import sent_bytes

FOLDER = "bench"
SHIPPED_DELAY_SECONDS = 10.0
_KEY = "bench-key-of-a-loopback-only-instance"
_MEET_SECONDS_MAX = 60.0
_OPTIONS = {
    "globalAnnounceEnabled": "false",
    "localAnnounceEnabled": "false",
    "relaysEnabled": "false",
    "natEnabled": "false",
    "stunServer": "",
    "startBrowser": "false",
    "urAccepted": "-1",
    "autoUpgradeIntervalH": "0",
    "crashReportingEnabled": "false",
    "announceLANAddresses": "false",
    "reconnectionIntervalS": "1",
    "setLowPriority": "false",
    "releasesURL": "",
    "urURL": "",
    "crashReportingURL": "",
}


def version() -> str:
    """Returns the version that is installed, or nothing."""
    if shutil.which("syncthing") is None:
        return ""
    said = subprocess.run(["syncthing", "--version"], capture_output=True, text=True, check=True)
    return said.stdout.split()[1].removeprefix("v")


def minimum_delay_seconds() -> float:
    """Returns the least that the installed version lets its watcher wait."""
    numbers = [int(each) for each in version().partition("-")[0].split(".")]
    # Version 1.19 takes whole seconds only; 0 means the default.
    return 0.01 if numbers >= [1, 27] else 1.0


class Instance:
    """One Syncthing with a home, a folder, and its REST interface."""

    def __init__(self, root: Path) -> None:
        self.root = root
        self.shared = root / "folder"
        self.shared.mkdir(parents=True)
        (self.shared / ".stfolder").mkdir()
        self.sync_port, self.api_port = free_port(), free_port()
        self.process: subprocess.Popen[bytes] | None = None
        subprocess.run(
            [
                *("syncthing", "generate", f"--home={root / 'home'}"),
                *("--no-default-folder", "--skip-port-probing"),
            ],
            check=True,
            capture_output=True,
            env=self._environment(),
        )
        self.config = ElementTree.parse(root / "home" / "config.xml")
        device = self.config.find("./device")
        assert device is not None
        self.device = device.attrib["id"]

    @property
    def pid(self) -> int:
        """The process, which has the one that does the work as its child."""
        assert self.process is not None
        return self.process.pid

    def _environment(self) -> dict[str, str]:
        return {
            "PATH": "/usr/local/bin:/usr/bin:/bin",
            "HOME": str(self.root),
            "STNOUPGRADE": "1",
            "STNORESTART": "1",
        }

    def configure(self, other: "Instance", delay_seconds: float) -> None:
        """Shares the folder with the other, and switches off what reaches beyond loopback."""
        root = self.config.getroot()
        for name, value in _OPTIONS.items():
            for each in root.findall(f"./options/{name}"):
                each.text = value
        _set(root, "./options/listenAddress", f"tcp://127.0.0.1:{self.sync_port}")
        _set(root, "./gui/address", f"127.0.0.1:{self.api_port}")
        _set(root, "./gui/apikey", _KEY)
        device = ElementTree.SubElement(root, "device", id=other.device, compression="metadata")
        ElementTree.SubElement(device, "address").text = f"tcp://127.0.0.1:{other.sync_port}"
        folder = ElementTree.SubElement(
            root,
            "folder",
            id=FOLDER,
            path=str(self.shared),
            type="sendreceive",
            rescanIntervalS="3600",
            fsWatcherEnabled="true",
            fsWatcherDelayS=f"{delay_seconds:g}",
        )
        for sharer in (self.device, other.device):
            ElementTree.SubElement(folder, "device", id=sharer)
        self.config.write(self.root / "home" / "config.xml")

    def launch(self, context: Context) -> None:
        """Runs it."""
        with (self.root / "log").open("ab") as log:
            self.process = context.processes.start(
                [
                    *("syncthing", "serve", f"--home={self.root / 'home'}"),
                    *("--no-browser", "--no-restart", "--no-upgrade"),
                ],
                folder=self.root,
                environment=self._environment(),
                log=log,
                out=log,
            )

    def ask(self, method: str, path: str) -> Any:
        """Asks the REST interface; raises ``OSError`` while nobody answers."""
        link = http.client.HTTPConnection("127.0.0.1", self.api_port, timeout=600)
        try:
            link.request(method, path, headers={"X-API-Key": _KEY})
            data = link.getresponse().read()
            return json.loads(data) if data.strip() else None
        finally:
            link.close()

    def has_all_that(self, other: "Instance") -> bool:
        """Tells whether the two are connected and the other misses nothing of this one's."""
        try:
            linked = self.ask("GET", "/rest/system/connections")["connections"]
            if not linked.get(other.device, {}).get("connected"):
                return False
            path = f"/rest/db/completion?folder={FOLDER}&device={other.device}"
            idle = self.ask("GET", f"/rest/db/status?folder={FOLDER}")["state"] == "idle"
            return bool(idle and self.ask("GET", path)["completion"] == 100)
        except (OSError, http.client.HTTPException, ValueError, KeyError):
            return False


class Syncthing:
    """Two instances; ``asked`` ones are told to scan at once, as its interface allows."""

    def __init__(
        self, context: Context, a: Instance, b: Instance, subject: str, asked: bool
    ) -> None:
        self._context, self.a, self.b, self.subject, self._asked = context, a, b, subject, asked
        self.source, self.target = a.shared, b.shared

    def take_up(self, paths: Sequence[Path]) -> None:
        """Has the folder scanned at once, whatever the watcher waits for."""
        self.a.ask("POST", f"/rest/db/scan?folder={FOLDER}")

    def saved(self) -> None:
        """Has the folder scanned if it is one that is asked."""
        if self._asked:
            self.take_up(())

    def settle(self) -> None:
        """Waits until both miss nothing."""
        end = time.monotonic() + _MEET_SECONDS_MAX
        while not (self.a.has_all_that(self.b) and self.b.has_all_that(self.a)):
            if time.monotonic() > end:
                raise BenchmarkFailed("the two Syncthing instances do not meet")
            time.sleep(0.1)

    def sent_bytes(self) -> int:
        """Counts the bytes of the sender's sockets to the other."""
        return sent_bytes(set(family(self.a.pid)), set(family(self.b.pid)))

    def pids(self) -> tuple[int, ...]:
        """Gives the two instances."""
        return self.a.pid, self.b.pid

    def stop(self, side: int) -> None:
        """Ends an instance in order."""
        process = (self.a, self.b)[side].process
        assert process is not None
        process.terminate()
        process.wait(END_SECONDS_MAX)

    def launch(self, side: int) -> None:
        """Runs an instance again."""
        (self.a, self.b)[side].launch(self._context)

    def ready(self, side: int) -> None:
        """Waits until both are connected."""
        self.settle()


@contextmanager
def syncthing(
    context: Context, delay_seconds: float = SHIPPED_DELAY_SECONDS, asked: bool = True
) -> Iterator[Restartable]:
    """Opens two instances that share a folder; ``delay_seconds`` is the watcher's."""
    shipped = delay_seconds == SHIPPED_DELAY_SECONDS
    subject = f"Syncthing {version()}".partition("-")[0] + (
        ", asked to scan" if asked else " as shipped" if shipped else f", delay {delay_seconds:g} s"
    )
    with context.fresh("syncthing") as folder:
        a, b = Instance(folder / "a"), Instance(folder / "b")
        a.configure(b, delay_seconds)
        b.configure(a, delay_seconds)
        a.launch(context)
        b.launch(context)
        made = Syncthing(context, a, b, subject, asked)
        made.settle()
        yield made


def _set(root: ElementTree.Element, path: str, value: str) -> None:
    found = root.find(path)
    assert found is not None, path
    found.text = value
