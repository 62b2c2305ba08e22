"""Hypothesis strategies for values that many tests make."""

from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

from p2psync.core import ops
from p2psync.core.ops import Operation, OpId
from p2psync.limits import (
    CHUNK_BYTES,
    EXPECTED_SECONDS_MAX,
    FILE_CHUNKS_MAX,
    INVITATION_USES_MAX,
)


def exactly(count: int) -> st.SearchStrategy[bytes]:
    """Byte strings of one length, cheap to draw and rarely equal."""
    return st.integers(0, 255).map(lambda byte: bytes([byte]) * count) | st.binary(
        min_size=count, max_size=count
    )


keys = exactly(32)
signatures = exactly(64)
files = exactly(ops.FILE_ID_BYTES)
names = st.text(max_size=40)
roles = st.sampled_from(ops.ROLES)
terms = st.integers(1, 1 << 32)
days = st.none() | st.integers(1, 3_652_059)
raws = st.binary(min_size=1, max_size=40)

scalars: st.SearchStrategy[Any] = (
    st.none()
    | st.booleans()
    | st.integers(-(1 << 63), (1 << 63) - 1)
    | st.binary(max_size=40)
    | st.text(max_size=20)
)
values: st.SearchStrategy[Any] = st.recursive(
    scalars, lambda inner: st.lists(inner, max_size=5).map(tuple), max_leaves=20
)


def op_ids(maximum: int = 6) -> st.SearchStrategy[tuple[OpId, ...]]:
    """Ascending references without repetition."""
    pairs = st.tuples(keys, st.integers(0, 300))
    return st.lists(pairs, max_size=maximum, unique=True).map(lambda ids: tuple(sorted(ids)))


def _tuples(inner: st.SearchStrategy[Any], maximum: int = 4) -> st.SearchStrategy[Any]:
    return st.lists(inner, max_size=maximum).map(tuple)


@st.composite
def _edits(draw: st.DrawFn) -> ops.Edits:
    elements = draw(op_ids())
    return ops.Edits(elements, tuple(draw(raws) for _ in elements))


@st.composite
def _taken(draw: st.DrawFn) -> ops.Taken:
    elements = draw(op_ids())
    return ops.Taken(draw(files), elements, b"".join(draw(exactly(16)) for _ in elements))


chunked = st.builds(
    ops.Chunked, st.booleans(), st.integers(0, 3).map(lambda count: b"r" * 64 * count)
)
runs = st.builds(ops.Run, st.binary(min_size=1, max_size=20), _tuples(raws))

by_code: dict[int, st.SearchStrategy[Operation]] = {
    0: st.builds(ops.Create, keys, exactly(16), names),
    1: st.builds(ops.OpenLog, keys, st.integers(0, 1 << 32), signatures),
    2: st.builds(ops.Describe, names, names),
    3: st.builds(
        ops.Invite, keys, roles, st.integers(0, (1 << 63) - 1), st.integers(1, INVITATION_USES_MAX)
    ),
    4: st.builds(ops.Revoke, keys),
    5: st.builds(ops.Redeem, keys, signatures),
    6: st.builds(ops.Admit, keys, keys),
    7: st.builds(ops.SetRole, keys, roles),
    8: st.builds(ops.Remove, keys, _tuples(keys)),
    9: st.builds(
        ops.Rotate,
        exactly(16),
        _tuples(st.builds(ops.SealedKey, keys, exactly(80))),
        st.binary(max_size=128),
    ),
    10: st.just(ops.Share()),
    11: st.builds(ops.Rename, names),
    12: st.builds(ops.ClaimSeat, terms),
    13: st.builds(ops.HandSeat, terms, keys),
    14: st.just(ops.Observe()),
    20: st.builds(
        ops.AddFile,
        files,
        names,
        st.sampled_from(ops.FILE_KINDS),
        st.text(max_size=20),
        names,
        st.none() | files,
        days,
        days,
    ),
    21: st.builds(ops.Detach, files, op_ids()),
    22: st.builds(ops.Lines, files, _tuples(runs), _edits(), op_ids()),
    23: st.builds(
        ops.Save,
        files,
        op_ids(),
        _tuples(keys),
        st.none() | chunked,
        st.booleans(),
        st.integers(0, FILE_CHUNKS_MAX * CHUNK_BYTES),
        keys,
    ),
    24: st.builds(ops.Reattach, files, op_ids()),
    25: st.builds(ops.Place, files, names, names),
    26: st.builds(ops.Expect, files, st.integers(0, EXPECTED_SECONDS_MAX)),
    27: st.builds(ops.Register, files, names, names, st.sampled_from(ops.LICENCES)),
    30: st.builds(
        ops.Post,
        st.integers(0, 1 << 32),
        _tuples(_taken()),
        _tuples(_taken()),
        st.integers(0, 1 << 62),
        st.integers(0, 1 << 62),
    ),
    31: st.builds(ops.Unpost, op_ids()),
    40: st.just(ops.Close()),
    41: st.builds(ops.Reopen, op_ids()),
    48: st.builds(ops.Readmit, keys, op_ids()),
    50: st.builds(ops.SetRelay, keys, _tuples(st.text(max_size=16)), op_ids()),
    42: st.just(ops.Leave()),
    43: st.just(ops.Return()),
    45: st.builds(
        ops.Hold,
        files,
        keys,
        *[st.integers(0, 1 << 62)] * 6,
        st.text(max_size=16),
        days,
        days,
    ),
    46: st.builds(
        ops.Answer,
        files,
        op_ids().map(lambda each: each[:1]).filter(bool),
        st.sampled_from(ops.VERDICTS),
    ),
    44: st.builds(
        ops.Policy,
        st.booleans(),
        st.booleans(),
        st.booleans(),
        _tuples(st.builds(ops.Minimum, names, names)),
    ),
}
"""One strategy for each operation, by its code."""

operations: st.SearchStrategy[Operation] = st.one_of(*by_code.values())


def shuffles(count: int, rounds: int = 4) -> st.SearchStrategy[list[list[int]]]:
    """Some permutations of ``range(count)``."""
    return st.lists(st.permutations(range(count)), min_size=1, max_size=rounds)


def mutated(make: Callable[..., Any]) -> st.SearchStrategy[Any]:
    """Values with one node replaced by something of any type."""
    return st.builds(_replace, make(), values, st.lists(st.integers(0, 8), max_size=4))


def _replace(value: Any, other: Any, path: list[int]) -> Any:
    if not path or not isinstance(value, tuple | list) or not value:
        return other
    place = path[0] % len(value)
    return (*value[:place], _replace(value[place], other, path[1:]), *value[place + 1 :])
