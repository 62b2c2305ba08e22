"""What the fuzzing found, each by name, and mended."""

from contextlib import suppress

import pytest

from p2psync import limits
from p2psync.api.guard import check_json
from p2psync.errors import ApiBodyInvalid, TimeInvalid
from p2psync.node.past import read_time


@pytest.mark.parametrize("piece", [b'\\"', b'"', b"\\\\", b'["', b"]", b'{"'])
def test_a_body_of_nothing_but_quotes_is_read_once(piece: bytes) -> None:
    """Each quote without an end was once looked for to the end: two hours for one body."""
    body = (b'{"a": ' + piece * limits.API_BODY_BYTES_MAX)[: limits.API_BODY_BYTES_MAX]
    with pytest.raises(ApiBodyInvalid):
        check_json(body)


def test_brackets_within_strings_are_no_nesting() -> None:
    check_json(b'{"a": "' + b'[{\\"' * 50 + b'"}')
    with pytest.raises(ApiBodyInvalid):
        check_json(b'{"a": "\\\\", "b": ' + b"[" * 50 + b"]" * 50 + b"}")


@pytest.mark.parametrize(
    "text",
    ["0001-01-01", "9999-12-31", "0001-01-01T00:00:00+23:59", "9999-12-31T23:59:59-23:59"],
)
def test_the_first_and_the_last_year_are_no_fault(text: str) -> None:
    """They have no local time; history answered 500."""
    with suppress(TimeInvalid):
        read_time(text)
