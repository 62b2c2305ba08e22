"""Starts and ends the node's process."""

import os
import subprocess
import sys
import time
from pathlib import Path

from p2psync import errors
from p2psync.api.address import ApiAddress, read_address
from p2psync.cli.client import Client
from p2psync.cli.settings import Settings
from p2psync.limits import KIB

LOG_FILE = "node.log"
LOG_BYTES_MAX = 4 * 1024 * KIB
START_SECONDS_MAX = 60.0
STOP_SECONDS_MAX = 30.0
_POLL_SECONDS = 0.05


def running(settings: Settings) -> ApiAddress | None:
    """Return the address of the home's node if it answers."""
    address = read_address(settings.home)
    if address is None:
        return None
    try:
        Client(settings, address).get("status")
    except (errors.NodeNotRunning, errors.ApiAnswerInvalid):
        return None
    except errors.P2PSyncError:
        return address
    return address


def start(settings: Settings, arguments: list[str]) -> tuple[ApiAddress, bool]:
    """Start the home's node in the background and wait until it answers.

    Returns its address, and whether it is this call that started it. Raises ``NodeStartFailed``.
    """
    address = running(settings)
    if address is not None:
        return address, False
    log = settings.home / LOG_FILE
    child = _spawn(settings, arguments, log)
    deadline = time.monotonic() + START_SECONDS_MAX
    while time.monotonic() < deadline:
        ended = child.poll() is not None
        address = running(settings)
        if address is not None:
            # Another start may have won the race for the home.
            return address, address.pid == child.pid
        if ended:
            raise errors.NodeStartFailed(cause=_last_lines(log) or child.returncode, log=log)
        time.sleep(_POLL_SECONDS)
    child.terminate()
    raise errors.NodeStartFailed(cause=f"no answer within {START_SECONDS_MAX:.0f} seconds", log=log)


def stop(settings: Settings) -> bool:
    """Ask the home's node to end and wait for its process; False when none was running.

    Raises ``NodeStopFailed``.
    """
    address = running(settings)
    if address is None:
        return False
    Client(settings, address).post("stop")
    deadline = time.monotonic() + STOP_SECONDS_MAX
    while process_alive(address.pid):
        if time.monotonic() > deadline:
            raise errors.NodeStopFailed(pid=address.pid, seconds=int(STOP_SECONDS_MAX))
        time.sleep(_POLL_SECONDS)
    return True


def process_alive(pid: int) -> bool:
    """Tell whether a process runs; one that ended but was not yet collected does not."""
    if sys.platform == "win32":
        return _process_alive_windows(pid)
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    except PermissionError:
        return True
    try:
        state = Path(f"/proc/{pid}/stat").read_text("utf-8", "replace").rpartition(")")[2]
    except OSError:
        return not sys.platform.startswith("linux")
    return state.split()[0] not in ("Z", "X")


def _process_alive_windows(pid: int) -> bool:
    import ctypes

    synchronize, wait_timeout = 0x00100000, 0x00000102
    kernel = getattr(ctypes, "windll").kernel32  # noqa: B009 - absent from other platforms' types
    handle = kernel.OpenProcess(synchronize, False, pid)
    if not handle:
        return False
    try:
        return bool(kernel.WaitForSingleObject(handle, 0) == wait_timeout)
    finally:
        kernel.CloseHandle(handle)


def _spawn(settings: Settings, arguments: list[str], log: Path) -> "subprocess.Popen[bytes]":
    command = [
        *(sys.executable, "-m", "p2psync", "--home", str(settings.home)),
        *("--lang", settings.language, "node", "run", *arguments),
    ]
    try:
        settings.home.mkdir(mode=0o700, parents=True, exist_ok=True)
        if log.exists() and log.stat().st_size > LOG_BYTES_MAX:
            os.replace(log, log.with_suffix(".log.1"))
        descriptor = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    except OSError as error:
        raise errors.OutputUnwritable(path=log, cause=error.strerror or error) from None
    flags = 0
    if sys.platform == "win32":
        flags = 0x00000008 | 0x00000200  # DETACHED_PROCESS | CREATE_NEW_PROCESS_GROUP
    try:
        return subprocess.Popen(  # noqa: S603 - our own interpreter and arguments
            command,
            stdin=subprocess.DEVNULL,
            stdout=descriptor,
            stderr=descriptor,
            start_new_session=True,
            creationflags=flags,
        )
    finally:
        os.close(descriptor)


def _last_lines(log: Path, count: int = 5) -> str:
    try:
        with log.open("rb") as file:
            file.seek(max(0, log.stat().st_size - 8 * KIB))
            lines = file.read(8 * KIB).decode("utf-8", "replace").splitlines()
    except OSError:
        return ""
    return "\n".join(line for line in lines[-count:] if line.strip())
