"""Operations: every one survives its encoding, and nothing else is let in."""

import contextlib
import tracemalloc
from typing import Any

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from p2psync.core import codec, ops
from p2psync.core.schema import runs, unrun
from p2psync.errors import CodecError, OperationError
from p2psync.limits import ENTRY_BYTES_MAX, ENTRY_OPERATIONS_MAX, ENTRY_REFERENCES_MAX
from tests.strategies import by_code, mutated, operations, values

FILE = b"f" * 16
ENTRY = b"e" * 32


@pytest.mark.parametrize("code", sorted(by_code))
def test_each_operation_survives_its_encoding(code: int) -> None:
    @settings(max_examples=20, deadline=None, suppress_health_check=list(HealthCheck))
    @given(by_code[code])
    def check(operation: ops.Operation) -> None:
        payload = ops.encode([operation])
        assert codec.unpack(payload, ENTRY_BYTES_MAX)[0][0] == code
        assert ops.decode(payload) == (operation,)

    check()


def test_every_operation_has_a_strategy() -> None:
    assert sorted(by_code) == sorted(ops._operations._kinds)


@given(st.lists(operations, min_size=1, max_size=5))
def test_operations_keep_their_order(several: list[ops.Operation]) -> None:
    payload = ops.encode(several)
    assert ops.decode(payload) == tuple(several)


def _reencode(decoded: tuple[ops.Operation, ...]) -> bytes:
    return ops.encode(decoded)


@settings(suppress_health_check=[HealthCheck.too_slow])
@given(mutated(lambda: operations.map(lambda op: codec.unpack(ops.encode([op]), 1 << 20))))
def test_an_altered_operation_is_refused_or_has_one_encoding(value: Any) -> None:
    """Nothing but the two errors comes out, and no two payloads mean the same."""
    payload = codec.pack(value)
    try:
        decoded = ops.decode(payload)
    except (CodecError, OperationError):
        return
    if not any(isinstance(operation, ops.Unknown) for operation in decoded):
        assert ops.encode(decoded) == payload


@given(st.binary(max_size=200) | values.map(codec.pack))
def test_garbage_raises_nothing_else(payload: bytes) -> None:
    with contextlib.suppress(CodecError, OperationError):
        ops.decode(payload)


def test_operations_of_a_newer_version_are_kept_by_their_code() -> None:
    payload = codec.pack([[99, "what", ["ever"]], [10]])
    assert ops.decode(payload) == (ops.Unknown(99), ops.Share())


@pytest.mark.parametrize("count", [0, ENTRY_OPERATIONS_MAX + 1])
def test_the_number_of_operations_is_bounded(count: int) -> None:
    with pytest.raises(OperationError):
        ops.encode([ops.Share()] * count)
    with pytest.raises(OperationError):
        ops.decode(codec.pack([[10]] * count))


@pytest.mark.parametrize(
    "fields",
    [
        [22, FILE, [], [[[ENTRY, [0, 1]]], []], []],  # an edit without its content
        [22, FILE, [[b"b", [b""]]], [[], []], []],  # an empty segment
        [22, FILE, [], [[], []], [[ENTRY, [0, 1]], [ENTRY, [1, 1]]]],  # one entry twice
        [22, FILE, [], [[], []], [[ENTRY, []]]],  # no index
        [22, FILE, [], [[], []], [[ENTRY, [0, 1, 0, 1]]]],  # runs that adjoin
        [22, FILE, [], [[], []], [[ENTRY, [0, 0]]]],
        [22, FILE, [], [[], []], [[ENTRY, [0, True]]]],
        [22, FILE, [], [[], []], [[ENTRY, [(1 << 63) - 1, 1]]]],  # no entry has so many
        [23, FILE, [], [], [False, b"x" * 63], True, 0, ENTRY],
        [30, 0, [[FILE, [[ENTRY, [0, 2]]], b"k" * 16]], [], 0, 0],
        [0, ENTRY, b"s" * 15, "name"],
        [3, ENTRY, "king", 0, 1],
        [3, ENTRY, "owner", 0, 0],
        [10, 1],
        [-1],
        [True],
        [],
        10,
    ],
)
def test_operations_that_break_a_rule(fields: Any) -> None:
    with pytest.raises(OperationError):
        ops.decode(codec.pack([fields]))


@pytest.mark.parametrize(
    "payload",
    [
        codec.pack([[30, 0, [[FILE, [[ENTRY, [0, 1 << 17]]], b""]] * 1024, [], 0, 0]]),
        codec.pack([[22, FILE, [], [[[ENTRY, [0, 1 << 17]]], []], []]] * 2000),
        codec.pack([[22, FILE, [], [[], []], [[ENTRY, [0, ENTRY_REFERENCES_MAX]]]]] * 2000),
        codec.pack([[31, [[ENTRY, [0, 1024]]]]] * 2000),
        codec.pack([[23, FILE, [[ENTRY, [0, 1024]]], [], None, True, 0, ENTRY]] * 2000),
    ],
    ids=["post", "edits", "removes", "unpost", "save"],
)
def test_few_bytes_cannot_name_many_operations(payload: bytes) -> None:
    assert len(payload) <= ENTRY_BYTES_MAX
    tracemalloc.start()
    try:
        with pytest.raises(OperationError):
            ops.decode(payload)
        assert tracemalloc.get_traced_memory()[1] < 32 << 20
    finally:
        tracemalloc.stop()


@given(st.sets(st.integers(0, 500), max_size=60).map(sorted))
def test_runs_survive_their_encoding(indexes: list[int]) -> None:
    assert unrun(runs(indexes), 60) == indexes


@given(st.lists(st.integers(-2, 5), max_size=8))
def test_runs_are_canonical(encoded: list[int]) -> None:
    try:
        indexes = unrun(encoded, 100)
    except ValueError:
        return
    assert runs(indexes) == encoded
    assert indexes == sorted(set(indexes))


def test_runs_are_bounded_before_they_are_built() -> None:
    with pytest.raises(ValueError):
        unrun([0, 1 << 60], 1000)


def test_a_receipt_pairs_elements_with_keys_in_order() -> None:
    items = [((b"z" * 32, 1), b"1" * 16), ((b"a" * 32, 2), b"2" * 16)]
    taken = ops.take(FILE, items)
    assert list(ops.keyed([taken])) == [(FILE, *item) for item in sorted(items)]


@pytest.mark.parametrize(
    "operation",
    [
        ops.AddFile(b"f" * 16, "a.ecf", "weird", "opaque", "/", None, None, None),
        ops.AddFile(b"f" * 16, "a" * 2000, "other", "opaque", "/", None, None, None),
        ops.AddFile(b"f", "a", "other", "opaque", "/", None, None, None),
        ops.Invite(b"i" * 32, "king", 0, 1),
        ops.Invite(b"i" * 32, "owner", -1, 1),
        ops.Rename("x" * 300),
        ops.Save(b"f" * 16, (), (), ops.Chunked(False, b"r" * 63), False, 1, b"d" * 32),
    ],
)
def test_what_nobody_could_read_is_not_written(operation: ops.Operation) -> None:
    with pytest.raises(OperationError):
        ops.encode([ops.Observe(), operation])


def test_what_no_value_may_be_is_refused_inside_operations_too() -> None:
    """Floats, also those that equal a code or a length, true for one, and what nobody knows."""
    lines = codec.pack([[22, FILE, [], [[], []], []]])
    save = codec.pack([[23, FILE, [[ENTRY, [0, 1]]], [], None, True, 1, bytes(32)]])
    assert len(ops.decode(lines)) == len(ops.decode(save)) == 1
    single = b"\xca\x41\xb0\x00\x00"  # 22.0
    unknown = b"\x91\x92\x64" + single
    for payload in (
        lines.replace(b"\x16", single, 1),
        save.replace(b"\x92\x00\x01", b"\x92\x00\xc3", 1),
        save.replace(b"\xc3\x01", b"\xc3\xc3", 1),
        save.replace(b"\xc3\x01", b"\xc3" + single, 1),
        unknown,
        b"\x91\x92\x64" + b"\xcf" + b"\xff" * 8,
        b"\x91" + b"\x92\x64" + b"\x91" * 100 + b"\xc0",
    ):
        with pytest.raises((CodecError, OperationError)):
            ops.decode(payload)
