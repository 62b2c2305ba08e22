"""Files of tags: cut the same however they come, and each segment cut out is one alone."""

from itertools import pairwise

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from p2psync.formats import markup
from p2psync.formats.markup import Cut, Rules, cut

RULES = Rules(frozenset({b"ntry"}), frozenset({b"tx"}), frozenset({b"stmt"}))

_TOKENS = st.sampled_from(
    [
        *(b"<Ntry>", b"</Ntry>", b"<n:Ntry a='1'>", b"</n:Ntry>", b"<Ntry/>", b"<NTRY>"),
        *(b"<Tx>", b"</Tx>", b"<Tx/>", b"<Stmt>", b"</Stmt>", b"</Stmt >", b"<a b='>'>", b"</a>"),
        *(b"<!-- <Ntry> -->", b"<!--", b"-->", b"<![CDATA[</Ntry>]]>", b"<![CDATA[", b"]]>"),
        *(b"<?xml ?>", b"<?", b"?>", b"<!DOCTYPE x>", b"<!", b"<", b">", b"'", b'"', b"/"),
        *(b" ", b"\r\n\t", b"text", b"x" * 40, b" " * 40, b"\0", b"\xff"),
    ]
)
_FILES = st.lists(st.one_of(_TOKENS, _TOKENS, st.binary(max_size=4)), max_size=40).map(b"".join)


@pytest.fixture(autouse=True)
def _small_segments(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(markup, "SEGMENT_BYTES_MAX", 60)
    monkeypatch.setattr(markup, "_FORGOTTEN_BYTES", 8)


def _cuts(*blocks: bytes) -> list[Cut]:
    return list(cut(blocks, RULES))


def _raws(data: bytes) -> list[bytes]:
    return [each.raw for each in _cuts(data)]


@settings(deadline=None, max_examples=600)
@given(_FILES, st.lists(st.integers(0, 2000), max_size=6))
def test_a_file_is_cut_the_same_however_it_comes(data: bytes, places: list[int]) -> None:
    whole = _cuts(data)
    assert b"".join(each.raw for each in whole) == data
    assert all(0 < len(each.raw) <= 60 for each in whole)
    at = sorted({0, len(data), *(place % (len(data) + 1) for place in places)})
    blocks = [data[a:b] for a, b in pairwise(at)]
    assert _cuts(*blocks) == whole
    assert _cuts(*[bytes([byte]) for byte in data]) == whole


@settings(deadline=None, max_examples=600)
@given(_FILES)
def test_what_was_cut_out_is_one_segment_alone(data: bytes) -> None:
    for each in _cuts(data):
        if not each.broken:
            alone = _cuts(each.raw)
            assert [part.raw for part in alone] == [each.raw]
            assert alone[0].whole == each.whole
            if each.whole:
                assert alone[0].name == each.name


def test_pieces_stand_between_a_head_and_a_foot() -> None:
    head, foot = b"<D>\n<Stmt><Id>1</Id>", b"\n</Stmt>\n</D>\n"
    pieces = [b"\n  <Ntry>1</Ntry>", b"\n  <x:Ntry>2</x:Ntry>", b"<Ntry/>"]
    assert _raws(head + b"".join(pieces) + foot) == [head, *pieces, foot]
    assert _raws(head + foot) == [head, foot]
    assert _raws(head + b"<Ntry>1" + b"<Ntry>2</Ntry>" + foot) == [
        head,
        b"<Ntry>1",
        b"<Ntry>2</Ntry>",
        foot,
    ]


def test_a_comment_and_raw_text_hide_tags() -> None:
    data = b"<Ntry><!-- </Ntry> --><![CDATA[</Ntry>]]></Ntry>"
    assert _raws(data) == [data]


def test_a_large_piece_is_cut_into_its_parts() -> None:
    parts = [b"<Tx>%s</Tx>" % (b"%d" % place * 20) for place in range(4)]
    data = b"<a/>\n<Ntry><b>1</b>" + b"\n".join(parts) + b"</Ntry>\n<Ntry>2</Ntry>"
    assert _raws(data) == [
        b"<a/>",
        b"\n<Ntry><b>1</b>",
        parts[0],
        *[b"\n" + part for part in parts[1:]],
        b"</Ntry>",
        b"\n<Ntry>2</Ntry>",
    ]


@pytest.mark.parametrize(
    "data", [b"<a><!DOCTYPE x>" + b"<Ntry>1</Ntry>" * 20, b"<!--" + b"<Ntry>1</Ntry>" * 20]
)
def test_behind_a_declaration_or_an_endless_comment_nothing_is_read(data: bytes) -> None:
    assert all(each.broken for each in _cuts(data))
