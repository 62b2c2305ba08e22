"""What a fuzz target is: a property of any bytes, and inputs to start from."""

from collections.abc import Callable, Iterable
from dataclasses import dataclass

from p2psync.errors import P2PSyncError


@dataclass(frozen=True, slots=True)
class Target:
    """``run`` raises when the property does not hold for its input.

    ``seeds`` gives inputs made by the product's own encoders. ``bytes_max`` bounds an input;
    ``short_runs`` is how often the tests run it.
    """

    name: str
    holds: str
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    bytes_max: int = 4096
    short_runs: int = 1_670


def explained(error: P2PSyncError) -> None:
    """What must hold of every error: it says what is wrong, in characters that can be written."""
    assert error.text
    error.text.encode()
    error.hint.encode()
