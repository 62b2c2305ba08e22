"""Tells whether a home is where it was: a copy must not write on in the same logs (B-ID-4).

Chosen are facts that stay the same over restarts, updates and renames, and that change when a home
is copied, restored or run from a copied disk:

- the machine id of the system: another machine has another;
- the inode of the home's folder: a copy made file by file has another, on the same machine too.

Left out are host name, addresses and device numbers, which change by themselves. A virtual machine
that was cloned whole, machine id included, is not told by this; a peer tells then. A change that is
no clone (a new disk, a reinstalled system) costs one new incarnation of the logs, nothing else.
"""

import os
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from p2psync.core import crypto

FINGERPRINT_BYTES = 16
_MACHINE_ID_FILES = (Path("/etc/machine-id"), Path("/var/lib/dbus/machine-id"))
_MACHINE_ID_BYTES_MAX = 256


@dataclass(frozen=True, slots=True)
class MachineFacts:
    """What the fingerprint is made of; a fact that the system does not give is empty, or 0."""

    machine_id: str
    home_inode: int


def fingerprint(facts: MachineFacts) -> str:
    """Return 32 hex digits that tell one home on one machine; what they are made of stays hidden.

    machine-id(5) asks that the machine id be shown to others only hashed; it is here too, because
    backups of the database travel.
    """
    machine = facts.machine_id.strip().encode()
    inode = str(facts.home_inode).encode()
    return crypto.digest(b"p2psync.machine", machine, b"\0", inode, size=FINGERPRINT_BYTES).hex()


def machine_facts(home: Path) -> MachineFacts:
    """Ask the system for the facts."""
    machine_id = ""
    for path in _MACHINE_ID_FILES:
        with suppress(OSError, UnicodeDecodeError), path.open(encoding="ascii") as file:
            machine_id = file.read(_MACHINE_ID_BYTES_MAX).strip()
        if machine_id:
            break
    inode = 0
    with suppress(OSError):
        inode = os.stat(home).st_ino
    return MachineFacts(machine_id, inode)
