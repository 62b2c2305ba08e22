"""Looks at a home whose node does not answer: why it does not run, or cannot (B-NET-5)."""

import datetime
import os
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from p2psync import __version__, errors
from p2psync.api.doctor import told
from p2psync.i18n import system
from p2psync.limits import KIB
from p2psync.node.anonymous import report
from p2psync.node.diagnosis import checked, in_order, view
from p2psync.node.fault_types import Finding, Subject
from p2psync.node.faults import found, met
from p2psync.storage.checkup import home_troubles
from p2psync.storage.disk import disk_error

LOG_FILE = "node.log"
LOG_BYTES_READ = 16 * KIB
ERROR_MARKS = ("error: ", "erreur : ")
"""With what the last word of a node begins that could not start."""
LOOKED_AT: tuple[Subject, ...] = ("node", "home", "disk", "folder")


def examine_home(home: Path, answer: errors.P2PSyncError, language: str) -> dict[str, Any]:
    """Say what is wrong with a home, in the shape of ``GET /v1/doctor``.

    ``answer`` is what came of asking its node. Nothing in the home is changed.
    """
    findings = in_order(_home(home))
    is_held = any(each.code == "node-silent" for each in findings)
    if not (is_held and isinstance(answer, errors.NodeNotRunning)):
        findings.insert(0, met(answer, ""))
    checks = checked(findings, LOOKED_AT)
    at = datetime.datetime.now(datetime.UTC).isoformat(timespec="milliseconds")
    facts = {"at": at}
    return {
        "version": __version__,
        "at": at,
        "checks": checks,
        "findings": [told(view(each), language) for each in findings],
        "report": report(findings, checks, facts, system.CAUSE_TEXTS.values()),
    }


def _home(home: Path) -> Iterator[Finding]:
    try:
        os.lstat(home)
    except (FileNotFoundError, NotADirectoryError):
        yield found("home-absent", str(home), {"home": str(home)})
        return
    except OSError as error:
        yield met(disk_error(error, str(home)), str(home), otherwise="disk-failed")
        return
    troubles = home_troubles(home)
    for trouble in troubles:
        if isinstance(trouble, errors.AlreadyRunning):
            yield found("node-silent", "", trouble.params)
        else:
            yield met(trouble, str(home), otherwise="disk-failed")
    if not any(isinstance(each, errors.AlreadyRunning) for each in troubles):
        yield from _last_words(home / LOG_FILE)


def _last_words(log: Path) -> Iterator[Finding]:
    """Why the node ended, or did not start, when its log ends with that."""
    try:
        with log.open("rb") as file:
            size = os.fstat(file.fileno()).st_size
            file.seek(max(0, size - LOG_BYTES_READ))
            lines = file.read(LOG_BYTES_READ).decode("utf-8", "replace").splitlines()
            at_s = os.fstat(file.fileno()).st_mtime
    except OSError:
        return
    said = [line for line in lines if line.strip()][-2:]
    for line in said:
        mark = next((each for each in ERROR_MARKS if line.startswith(each)), None)
        if mark is not None:
            error = errors.NodeStartFailed(cause=line.removeprefix(mark), log=log)
            since = datetime.datetime.fromtimestamp(at_s, datetime.UTC)
            yield met(error, "", since=since.isoformat(timespec="seconds"))
            return
