"""Which file systems and folders are no place for a database, and tell of no remote change."""

import os
import re
from collections.abc import Iterable
from dataclasses import dataclass
from pathlib import Path, PurePath

_NETWORK_TYPES = frozenset(
    [
        "9p",
        "afs",
        "ceph",
        "cifs",
        "coda",
        "davfs",
        "glusterfs",
        "gfs2",
        "lustre",
        "ncpfs",
        "nfs",
        "nfs4",
        "ocfs2",
        "smb2",
        "smb3",
        "smbfs",
        "vboxsf",
        "vmhgfs",
        "fuse.ceph",
        "fuse.cephfs",
        "fuse.davfs",
        "fuse.davfs2",
        "fuse.glusterfs",
        "fuse.google-drive-ocamlfuse",
        "fuse.gvfsd-fuse",
        "fuse.kio-fuse",
        "fuse.onedriver",
        "fuse.pcloud",
        "fuse.rclone",
        "fuse.s3fs",
        "fuse.seadrive",
        "fuse.smbnetfs",
        "fuse.sshfs",
        "fuse.vmhgfs-fuse",
    ]
)

_CLOUD_NAMES = frozenset(
    [
        "box sync",
        "cloudstorage",
        "com~apple~clouddocs",
        "dropbox",
        "google drive",
        "googledrive",
        "icloud drive",
        "iclouddrive",
        "kdrive",
        "mega",
        "megasync",
        "my drive",
        "nextcloud",
        "onedrive",
        "owncloud",
        "pcloud drive",
        "pclouddrive",
        "proton drive",
        "seafile",
        "synologydrive",
        "tresorit",
    ]
)
_CLOUD_BEGINNINGS = ("dropbox (", "onedrive - ", "googledrive-", "kdrive-", "nextcloud-")
_OCTAL = re.compile(r"\\([0-7]{3})")


@dataclass(frozen=True, slots=True)
class Mount:
    """A mounted file system: where, and its type as the kernel calls it."""

    point: PurePath
    type: str


def parse_mounts(text: str) -> tuple[Mount, ...]:
    """Return the mounts that a text in the form of ``/proc/mounts`` lists (fstab(5))."""
    mounts = []
    for line in text.splitlines():
        fields = line.split(" ")
        if len(fields) >= 3:
            point = _OCTAL.sub(lambda found: chr(int(found[1], 8)), fields[1])
            mounts.append(Mount(PurePath(point), fields[2]))
    return tuple(mounts)


def current_mounts() -> tuple[Mount, ...]:
    """Return the mounts of this machine; none where the system does not list them like Linux."""
    try:
        text = Path("/proc/mounts").read_bytes().decode("utf-8", "surrogateescape")
    except OSError:
        return ()
    return parse_mounts(text)


def network_type(path: PurePath, mounts: Iterable[Mount]) -> str | None:
    """Return the type of the network file system that holds an absolute path; None if local.

    The longest mount point counts; of two on one point the later covers the earlier.
    """
    holding: Mount | None = None
    for mount in mounts:
        if path.is_relative_to(mount.point) and (
            holding is None or len(mount.point.parts) >= len(holding.point.parts)
        ):
            holding = mount
    if holding is None or holding.type.lower() not in _NETWORK_TYPES:
        return None
    return holding.type


def cloud_part(path: PurePath) -> str | None:
    """Return the part of a path that a cloud service's folder is called by; None if there is none.

    Names alone decide, so a folder of another purpose called ``Dropbox`` counts as well.
    """
    for part in path.parts:
        name = part.casefold()
        if name in _CLOUD_NAMES or name.startswith(_CLOUD_BEGINNINGS):
            return part
    return None


def on_network(path: Path) -> bool:
    """Whether a path is on a network file system now; may block on a drive that does not answer."""
    return network_type(Path(os.path.realpath(path)), current_mounts()) is not None
