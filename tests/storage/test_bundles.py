"""Bundle files: whole or refused, whatever was done to them (B-NET-4)."""

from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync.core import bundle, crypto
from p2psync.core.bundle import Manifest, Sealer
from p2psync.errors import (
    BundleForeign,
    BundleInvalid,
    FileAbsent,
    NotARegularFile,
    NotOverwritten,
)
from p2psync.storage import bundles
from p2psync.storage.bundles import BundleFile, Spot

MANDATE = bytes(range(32))
EPOCHS = (b"\1" * 32, b"\2" * 32)
WRITER = crypto.SigningKey.from_seed(b"w" * 32)
FRAMES = (b"one", b"2" * 300, b"three")


def manifest(mandate: bytes = MANDATE) -> Manifest:
    return Manifest(mandate, WRITER.public, 7, False, 3, 0, (), b"", (), "p2psync test")


def sealed(
    frames: tuple[bytes, ...] = FRAMES,
    said: Manifest | None = None,
    signer: crypto.SigningKey = WRITER,
) -> bytes:
    head = bundle.dump_head(MANDATE, EPOCHS, b"n" * 32, b"k" * 32)
    sealer = Sealer(b"k" * 32, head)
    return b"".join([head, *map(sealer.seal, frames), sealer.finish(said or manifest(), signer)])


def read(path: Path, keys: tuple[bytes, ...] = EPOCHS[:1]) -> tuple[Manifest, list[bytes]]:
    found: list[bytes] = []
    with BundleFile.open(path, [(bytes(32), EPOCHS), (MANDATE, keys)]) as file:
        said = file.check(lambda _, frame: found.append(frame))
        assert list(file.frames()) == found
        return said, found


def test_what_was_sealed_is_read_with_the_key_of_any_epoch(tmp_path: Path) -> None:
    path = tmp_path / "b"
    assert bundles.write(path, [sealed()], 1) == path.stat().st_size
    for key in EPOCHS:
        assert read(path, (b"9" * 32, key)) == (manifest(), list(FRAMES))


def test_a_frame_is_read_where_it_stands(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(sealed())
    spots: list[Spot] = []
    with BundleFile.open(path, [(MANDATE, EPOCHS)]) as file:
        file.check(lambda spot, _: spots.append(spot))
        assert [file.frame(spot) for spot in reversed(spots)] == list(reversed(FRAMES))


def test_no_byte_can_be_changed_or_left_out(tmp_path: Path) -> None:
    path = tmp_path / "b"
    whole = sealed()
    for at in range(len(whole)):
        for damaged in (whole[:at], whole[:at] + bytes([whole[at] ^ 0x80]) + whole[at + 1 :]):
            path.write_bytes(damaged)
            # Whoever has one epoch's key does not read the other epoch's slot before the records.
            with pytest.raises((BundleInvalid, BundleForeign)):
                read(path)
    path.write_bytes(whole + b"\0")
    with pytest.raises(BundleInvalid, match="after its end"):
        read(path)


def records() -> list[bytes]:
    head = bundle.dump_head(MANDATE, EPOCHS, b"n" * 32, b"k" * 32)
    sealer = Sealer(b"k" * 32, head)
    return [head, *map(sealer.seal, FRAMES), sealer.finish(manifest(), WRITER)]


@pytest.mark.parametrize(
    "change",
    [
        lambda parts: [parts[0], parts[2], parts[1], *parts[3:]],
        lambda parts: [*parts[:2], *parts[3:]],
        lambda parts: [*parts[:2], parts[1], *parts[2:]],
        lambda parts: [*parts[:-1], parts[1]],
        lambda parts: [parts[0], parts[-1]],
    ],
    ids=["swapped", "left out", "twice", "never ends", "all left out"],
)
def test_records_have_their_place(
    tmp_path: Path, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"".join(change(records())))
    with pytest.raises(BundleInvalid):
        read(path)


def test_what_another_one_signed_is_refused(tmp_path: Path) -> None:
    """Whoever has the mandate's key can open and seal, but not sign for another member."""
    path = tmp_path / "b"
    path.write_bytes(sealed(signer=crypto.SigningKey.from_seed(b"x" * 32)))
    with pytest.raises(BundleInvalid, match="signature"):
        read(path)
    path.write_bytes(sealed(said=manifest(bytes(32))))
    with pytest.raises(BundleInvalid, match="another mandate"):
        read(path)


def test_nothing_is_written_over_and_nothing_but_a_file_is_read(tmp_path: Path) -> None:
    path = tmp_path / "b"
    path.write_bytes(b"mine")
    with pytest.raises(NotOverwritten):
        bundles.write(path, [sealed()], 1)
    assert path.read_bytes() == b"mine"
    with pytest.raises(BundleInvalid, match="begin"):
        read(path)
    with pytest.raises(NotARegularFile):
        read(tmp_path)
    with pytest.raises(FileAbsent):
        read(tmp_path / "absent")


def test_a_write_that_fails_leaves_nothing(tmp_path: Path) -> None:
    def blocks() -> Iterator[bytes]:
        yield b"half"
        raise BundleInvalid(cause="on purpose")

    with pytest.raises(BundleInvalid, match="on purpose"):
        bundles.write(tmp_path / "b", blocks(), 1)
    assert list(tmp_path.iterdir()) == []


@given(st.binary(max_size=400))
def test_any_bytes_are_a_bundle_or_refused(data: bytes) -> None:
    try:
        head = bundle.load_head(data)
    except BundleInvalid:
        return
    assert bundle.open_head(head, MANDATE, EPOCHS) is None


@given(st.lists(st.binary(min_size=1, max_size=50), max_size=5).map(tuple))
def test_every_sequence_of_frames_comes_back(frames: tuple[bytes, ...]) -> None:
    head = bundle.dump_head(MANDATE, EPOCHS, b"n" * 32, b"k" * 32)
    sealer, opener = Sealer(b"k" * 32, head), bundle.Opener(b"k" * 32, head)
    for frame in frames:
        record = sealer.seal(frame)
        length, last = bundle.read_prefix(record[:4])
        assert (length, last) == (len(record) - 4, False)
        assert opener.open(record[:4], record[4:]) == frame
    final = sealer.finish(manifest(), WRITER)
    assert bundle.read_prefix(final[:4])[1]
    assert opener.finish(final[:4], final[4:]) == manifest()
