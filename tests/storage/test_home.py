"""The home: its layout, its lock, and where it may not be."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

import p2psync
from p2psync.errors import (
    AlreadyRunning,
    FolderMissing,
    HomeExposed,
    HomeUnsuitable,
    NotAFolder,
    NotARegularFile,
    StorageError,
)
from p2psync.storage.home import Home
from p2psync.storage.mounts import Mount


def test_a_home_is_made_for_its_owner_alone(tmp_path: Path) -> None:
    root = tmp_path / "new" / "home"
    home = Home.open(root, mounts=())
    assert home.root == root
    for folder in (home.root, home.chunks, home.mandates):
        assert folder.stat().st_mode & 0o777 == 0o700
        assert folder.is_relative_to(root)
    paths = [home.device_key, home.database, home.log, home.lock_file, home.chunks, home.mandates]
    assert len(set(paths)) == len(paths)
    Home.open(root, mounts=())


def test_a_home_that_others_may_write_into_is_refused(tmp_path: Path) -> None:
    tmp_path.chmod(0o777)
    with pytest.raises(HomeExposed, match=str(tmp_path)):
        Home.open(tmp_path, mounts=())


def test_a_file_in_the_place_of_the_home_is_named(tmp_path: Path) -> None:
    (tmp_path / "home").touch()
    with pytest.raises(NotAFolder, match="it is a file"):
        Home.open(tmp_path / "home", mounts=())
    with pytest.raises(StorageError):
        Home.open(tmp_path / "home" / "below", mounts=())


def test_a_home_on_a_network_drive_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    mounts = (Mount(Path("/"), "ext4"), Mount(tmp_path, "cifs"))
    with pytest.raises(HomeUnsuitable, match=r"network drive \(cifs\)"):
        Home.open(tmp_path / "home", mounts)
    (tmp_path / "link").symlink_to(tmp_path / "target")
    mounts = (Mount(Path("/"), "ext4"), Mount(tmp_path / "target", "nfs4"))
    with pytest.raises(HomeUnsuitable, match="nfs4"):
        Home.open(tmp_path / "link" / "home", mounts)
    assert os.listdir(tmp_path) == ["link"]


def test_a_home_in_a_cloud_folder_is_refused(tmp_path: Path) -> None:
    (tmp_path / "OneDrive").symlink_to(tmp_path / "files")
    for root in (tmp_path / "Dropbox" / "home", tmp_path / "OneDrive" / "home"):
        with pytest.raises(HomeUnsuitable, match="cloud-synchronised folder"):
            Home.open(root, mounts=())
    assert os.listdir(tmp_path) == ["OneDrive"]


def test_one_process_at_a_time(tmp_path: Path) -> None:
    first = Home.open(tmp_path, mounts=())
    second = Home.open(tmp_path, mounts=())
    with first:
        first.lock()
        assert first.lock_file.stat().st_mode & 0o777 == 0o600
        with pytest.raises(AlreadyRunning, match=str(os.getpid())) as refused:
            second.lock()
        assert refused.value.exit_code == 4
    second.lock()
    second.unlock()
    second.unlock()


def test_the_lock_ends_with_its_process(tmp_path: Path) -> None:
    code = (
        "import sys, pathlib; from p2psync.storage.home import Home\n"
        "Home.open(pathlib.Path(sys.argv[1]), ()).lock()\n"
        "print('locked', flush=True); sys.stdin.read()"
    )
    home = Home.open(tmp_path, mounts=())
    with subprocess.Popen(
        [sys.executable, "-c", code, str(tmp_path)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=Path(p2psync.__file__).parents[1],
    ) as process:
        assert process.stdout is not None
        assert process.stdout.readline() == "locked\n"
        with pytest.raises(AlreadyRunning, match=f"process {process.pid}"):
            home.lock()
        process.kill()
        process.wait()
    home.lock()
    home.unlock()


def test_the_lock_is_no_link_and_no_pipe(tmp_path: Path) -> None:
    home = Home.open(tmp_path, mounts=())
    os.mkfifo(home.lock_file)
    with pytest.raises(NotARegularFile, match="pipe"):
        home.lock()
    home.lock_file.unlink()
    home.lock_file.symlink_to("elsewhere")
    with pytest.raises(StorageError):
        home.lock()
    assert not (tmp_path / "elsewhere").exists()


def test_a_home_below_a_dangling_link_is_missing(tmp_path: Path) -> None:
    (tmp_path / "home").mkdir()
    (tmp_path / "home" / "mandates").symlink_to(tmp_path / "nowhere")
    with pytest.raises((NotAFolder, FolderMissing)):
        Home.open(tmp_path / "home", mounts=())
