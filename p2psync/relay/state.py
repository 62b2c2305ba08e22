"""What a relay remembers over its restart: who had a place until when, and today's use.

One small file in the relay's home (0600), replaced whole. It is written by a thread, a moment after
something changed: nobody who reserves waits for a disk. Canonical msgpack behind a line of text
and a digest; without a file that holds the relay begins anew.
"""

import logging
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import trio

from p2psync import limits
from p2psync.core import codec, crypto
from p2psync.core.schema import array, binary, choice, integer, structure, text
from p2psync.errors import CodecError, FileAbsent, P2PSyncError
from p2psync.network.access import GROUP_BYTES
from p2psync.storage.file_state import ANYTHING
from p2psync.storage.folder import Folder

logger = logging.getLogger(__name__)

FILE: Final = "relay-state"
_TITLE: Final = b"p2psync relay state 1\n"
_DIGEST: Final = b"p2psync.relstate"
_DIGEST_BYTES: Final = 16
MARK_BYTES: Final = 16


@dataclass(frozen=True, slots=True)
class Kept:
    """A device (key of 32 bytes) with a reservation until ``expires`` (seconds since 1970).

    ``token`` is a digest of the token that it showed, empty for none; ``shown`` are its groups and
    ``counted`` those of them that the reservation counts for.
    """

    device: bytes
    expires: int
    token: bytes
    shown: tuple[bytes, ...]
    counted: tuple[bytes, ...]
    origin: str


@dataclass(frozen=True, slots=True)
class KeptUse:
    """Bytes of one day (days since 1970) for a token, group or address."""

    kind: str
    key: bytes
    day: int
    count: int


@dataclass(frozen=True, slots=True)
class State:
    """All that is remembered."""

    places: tuple[Kept, ...] = ()
    used: tuple[KeptUse, ...] = ()


_groups = array(binary(GROUP_BYTES), limits.RELAY_GROUPS_PER_DEVICE_MAX)
_state = structure(
    State,
    places=array(
        structure(
            Kept,
            device=binary(32),
            expires=integer(),
            token=binary(0, MARK_BYTES),
            shown=_groups,
            counted=_groups,
            origin=text(limits.ADDRESS_BYTES_MAX),
        ),
        1_000_000,
    ),
    used=array(
        structure(
            KeptUse,
            kind=choice("token", "group", "address"),
            key=binary(0, limits.ADDRESS_BYTES_MAX),
            day=integer(),
            count=integer(),
        ),
        limits.RELAY_ACCOUNTS_MAX,
    ),
)


def encode(state: State) -> bytes:
    """The file's content."""
    body = codec.pack(_state.dump(state))
    return _TITLE + crypto.digest(_DIGEST, body, size=_DIGEST_BYTES) + body


def decode(data: bytes) -> State:
    """The reverse; raises ``CodecError`` for anything else."""
    head = len(_TITLE) + _DIGEST_BYTES
    body = data[head:]
    digest = crypto.digest(_DIGEST, body, size=_DIGEST_BYTES)
    if data[:head] != _TITLE + digest:
        raise CodecError(cause="it was damaged, or written by another version")
    return _state.load(codec.unpack(body, limits.RELAY_STATE_BYTES_MAX))


def load(home: Path) -> State:
    """What the last process remembered; nothing where there is no file, or one that is damaged."""
    try:
        with Folder.open(home) as folder:
            data, _found = folder.read(FILE, limits.RELAY_STATE_BYTES_MAX)
        return decode(data)
    except FileAbsent:
        pass
    except P2PSyncError as error:
        logger.warning("the places that devices had are forgotten: %s", error.text)
    return State()


class StateFile:
    """Writes the file when something changed, at most once in ``pause_seconds``, and again after
    ``again_seconds`` when the disk failed.

    ``snapshot`` gives what is to be remembered.
    """

    def __init__(
        self,
        home: Path,
        snapshot: Callable[[], State],
        *,
        pause_seconds: float = 0.2,
        again_seconds: float = 5.0,
    ) -> None:
        self._home = home
        self._snapshot = snapshot
        self._pause_seconds = pause_seconds
        self._again_seconds = again_seconds
        self._changed = trio.Event()
        self.failed = False
        """Whether the last write came to nothing."""

    def touch(self) -> None:
        """Something changed."""
        self._changed.set()

    async def run(self) -> None:
        """Write until cancelled, and then once more."""
        await trio.to_thread.run_sync(self._clear_up)
        try:
            while True:
                await self._changed.wait()
                self._changed = trio.Event()
                await self.write()
                if self.failed:
                    self.touch()
                await trio.sleep(self._again_seconds if self.failed else self._pause_seconds)
        finally:
            with trio.CancelScope(shield=True):
                await self.write()

    def _clear_up(self) -> None:
        """Remove what a process left that was killed while it wrote."""
        with suppress(P2PSyncError), Folder.open(self._home) as folder:
            folder.remove_leftovers()

    async def write(self) -> None:
        """Write now; a disk that fails is told of once."""
        state = self._snapshot()
        try:
            await trio.to_thread.run_sync(self._replace, state)
        except P2PSyncError as error:
            if not self.failed:
                logger.warning("the places of devices cannot be kept: %s", error.text)
            self.failed = True
        else:
            self.failed = False

    def _replace(self, state: State) -> None:
        with Folder.open(self._home) as folder:
            folder.replace(FILE, [encode(state)], ANYTHING)
