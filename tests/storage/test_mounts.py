"""Folders that are no place for a database."""

from pathlib import PurePosixPath

import pytest

from p2psync.storage.mounts import cloud_part, network_type, parse_mounts

MOUNTS = parse_mounts(
    "/dev/sda1 / ext4 rw 0 0\n"
    "server:/home /home nfs4 rw 0 0\n"
    "/dev/sdb1 /home/eva/local ext4 rw 0 0\n"
    "//nas/x /mnt/Mes\\040documents cifs rw 0 0\n"
    "tmpfs /covered nfs rw 0 0\n"
    "tmpfs /covered tmpfs rw 0 0\n"
    "user@host: /ssh fuse.sshfs rw 0 0\n"
    "broken line\n"
    "\n"
)


@pytest.mark.parametrize(
    ("path", "kind"),
    [
        ("/", None),
        ("/var/lib", None),
        ("/home", "nfs4"),
        ("/home/eva/x", "nfs4"),
        ("/home/eva/local/x", None),
        ("/homes/eva", None),
        ("/mnt/Mes documents/p2psync", "cifs"),
        ("/covered/x", None),
        ("/ssh/a", "fuse.sshfs"),
    ],
)
def test_the_longest_and_latest_mount_decides(path: str, kind: str | None) -> None:
    assert network_type(PurePosixPath(path), MOUNTS) == kind


def test_without_mounts_nothing_is_on_the_network() -> None:
    assert network_type(PurePosixPath("/home"), ()) is None


@pytest.mark.parametrize(
    ("path", "part"),
    [
        ("/home/eva/Dropbox/p2psync", "Dropbox"),
        ("/home/eva/OneDrive - Fiduciaire SA/x", "OneDrive - Fiduciaire SA"),
        ("/Users/eva/Library/CloudStorage/x", "CloudStorage"),
        ("/home/eva/kDrive", "kDrive"),
        ("/home/eva/Nextcloud/Documents", "Nextcloud"),
        ("/home/eva/Documents/Dropbox-export", None),
        ("/home/eva/.local/share/p2psync", None),
    ],
)
def test_cloud_folders_are_known_by_their_names(path: str, part: str | None) -> None:
    assert cloud_part(PurePosixPath(path)) == part
