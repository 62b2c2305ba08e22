"""Announcements: the bytes, the tags, and what nonsense does."""

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from p2psync import limits
from p2psync.engine.ports import DiscoverableMandate
from p2psync.network.announce import (
    NONCE_BYTES,
    TAG_BYTES,
    Announcement,
    compose,
    decode_txt,
    encode_txt,
    hour_of,
    recognise,
    tag,
)

KEY, OTHER_KEY = bytes(range(32)), bytes(range(32, 64))
DEVICE, OTHER_DEVICE = bytes(range(64, 96)), bytes(range(96, 128))
NONCE = bytes(range(16))
HOUR = 500_000

announcements = st.builds(
    Announcement,
    st.binary(min_size=NONCE_BYTES, max_size=NONCE_BYTES),
    st.lists(
        st.binary(min_size=TAG_BYTES, max_size=TAG_BYTES),
        min_size=1,
        max_size=limits.ANNOUNCED_TAGS_MAX,
    ).map(tuple),
)


def made(keys: list[bytes], device: bytes = DEVICE, hour: int = HOUR) -> Announcement:
    source = random.Random(7)
    return compose(keys, device, hour, random_bytes=source.randbytes, choose=source.sample)


def test_the_tag_and_the_record_are_those_of_the_spec() -> None:
    """The vector of docs/spec/discovery.md."""
    assert tag(KEY, NONCE, HOUR, DEVICE).hex() == "f4f382e4d5d9d681"
    record = encode_txt(Announcement(NONCE, (bytes(8), b"\xff" * 8)))
    assert record.hex() == ("03763d31" + "126e3d" + NONCE.hex() + "12743d" + "00" * 8 + "ff" * 8)


@given(announcements)
def test_a_record_reads_back(announcement: Announcement) -> None:
    record = encode_txt(announcement)
    assert len(record) <= limits.ANNOUNCEMENT_BYTES_MAX
    assert decode_txt(record) == announcement


@given(st.binary(max_size=1200))
def test_any_bytes_are_read_or_ignored(raw: bytes) -> None:
    decode_txt(raw)


@given(announcements, st.data())
def test_a_damaged_record_is_read_or_ignored(
    announcement: Announcement, data: st.DataObject
) -> None:
    record = bytearray(encode_txt(announcement))
    at = data.draw(st.integers(0, len(record) - 1))
    record[at] ^= data.draw(st.integers(1, 255))
    got = decode_txt(bytes(record))
    assert got is None or len(got.tags) <= limits.ANNOUNCED_TAGS_MAX


@pytest.mark.parametrize(
    "raw",
    [
        b"",
        b"\x03v=2" + b"\x12n=" + NONCE + b"\x0at=" + bytes(8),
        b"\x03v=1" + b"\x0at=" + bytes(8),
        b"\x03v=1" + b"\x12n=" + NONCE,
        b"\x03v=1" + b"\x12n=" + NONCE + b"\x09t=" + bytes(7),
        b"\x03v=1" + b"\x12n=" + NONCE + b"\x12n=" + NONCE + b"\x0at=" + bytes(8),
        b"\x03v=1" + b"\x12n=" + NONCE + (b"\xfat=" + bytes(248)) * 3,
        b"\x03v=1" + b"\xffn=",
        bytes(2000),
    ],
)
def test_what_we_would_not_say_is_ignored(raw: bytes) -> None:
    assert decode_txt(raw) is None


def test_strings_of_a_later_version_are_skipped() -> None:
    record = encode_txt(Announcement(NONCE, (bytes(8),)))
    assert decode_txt(record + b"\x05x=abc") == Announcement(NONCE, (bytes(8),))


@pytest.mark.parametrize("near", [HOUR - 1, HOUR, HOUR + 1])
def test_a_member_is_recognised_an_hour_around(near: int) -> None:
    mandates = [DiscoverableMandate(KEY, (OTHER_DEVICE, DEVICE))]
    assert recognise(made([OTHER_KEY, KEY]), mandates, OTHER_DEVICE, near) == (DEVICE,)


def test_nobody_else_is_recognised() -> None:
    announcement = made([KEY])
    expected = DiscoverableMandate(KEY, (DEVICE,))
    assert recognise(announcement, [expected], OTHER_DEVICE, HOUR + 2) == ()
    assert recognise(announcement, [expected], DEVICE, HOUR) == (), "not ourselves"
    stranger = [
        DiscoverableMandate(OTHER_KEY, (DEVICE,)),
        DiscoverableMandate(KEY, (OTHER_DEVICE,)),
    ]
    assert recognise(announcement, stranger, bytes(32), HOUR) == ()


def test_two_shared_mandates_are_one_sighting() -> None:
    mandates = [DiscoverableMandate(key, (DEVICE,)) for key in (KEY, OTHER_KEY)]
    assert recognise(made([KEY, OTHER_KEY]), mandates, OTHER_DEVICE, HOUR) == (DEVICE,)


def test_the_number_of_tags_tells_little_and_is_bounded() -> None:
    keys = [number.to_bytes(32, "big") for number in range(200)]
    counts = [len(made(keys[:n]).tags) for n in (1, 7, 8, 9, 64, 200)]
    assert counts == [8, 8, 8, 16, 64, 64]
    tags = made(keys[:9]).tags
    assert list(tags) == sorted(tags)


def test_more_mandates_than_tags_take_turns() -> None:
    keys = [number.to_bytes(32, "big") for number in range(100)]
    source = random.Random(1)
    seen: set[bytes] = set()
    for hour in range(HOUR, HOUR + 20):
        announcement = compose(
            keys, DEVICE, hour, random_bytes=source.randbytes, choose=source.sample
        )
        seen |= {
            key for key in keys if tag(key, announcement.nonce, hour, DEVICE) in announcement.tags
        }
    assert len(seen) == len(keys)


def test_nothing_repeats_between_announcements() -> None:
    source = random.Random(3)
    first, second = (
        compose([KEY], DEVICE, HOUR, random_bytes=source.randbytes, choose=source.sample)
        for _ in range(2)
    )
    assert first.nonce != second.nonce
    assert not set(first.tags) & set(second.tags)
    assert hour_of(3599.9) == 0
    assert hour_of(3600) == 1
