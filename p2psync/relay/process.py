"""The relay's process: opens a home, runs the relay and its monitor, hears signals, ends in
order."""

import json
import logging
import secrets
import signal
import socket
import sys
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import trio
from base58 import b58encode

from p2psync import limits
from p2psync.core import crypto
from p2psync.errors import (
    AlreadyRunning,
    KeyMissing,
    P2PSyncError,
    PortTaken,
    RelayHomeInUse,
    RelayKeyMissing,
    RelayTokenUnreadable,
)
from p2psync.network.address import is_token
from p2psync.network.identity import peer_id_text
from p2psync.relay import config as configuration
from p2psync.relay import monitor, state
from p2psync.relay.config import RelayConfig, Token
from p2psync.relay.serving import RelayProcess as RelayProcess
from p2psync.storage.home import Home
from p2psync.storage.keys import PlainKey, create_device_key, load_device_key

logger = logging.getLogger("p2psync.relay")

ADDRESS_FILE = "relay.json"
"""In the home: where the running relay's monitor is."""
HANDED_OUT_FILE = "addresses"
"""In the home: the addresses to hand out, as of the last start."""
TOKEN_FILE = "relay-token"  # noqa: S105 - the name of a file
FLUSH_SECONDS = 5.0
_TOKEN_BYTES = 20


class _Lines(logging.Formatter):
    """One JSON object a line: time, level, where, text; never a token or an address of a device."""

    def format(self, record: logging.LogRecord) -> str:
        said = {
            "time": time.strftime("%Y-%m-%dT%H:%M:%SZ", time.gmtime(record.created)),
            "level": record.levelname.lower(),
            "logger": record.name,
            "text": record.getMessage(),
        }
        if record.exc_info:
            said["trace"] = self.formatException(record.exc_info)
        return json.dumps(said, ensure_ascii=False)


def run(root: Path, config_path: Path | None, on_ready: Callable[[Mapping[str, Any]], None]) -> int:
    """Run a relay until it is stopped; returns the exit code.

    Raises what keeps it from starting: ``RelayConfigInvalid``, ``AlreadyRunning``, ``PortTaken``,
    storage errors.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_Lines())
    logging.basicConfig(handlers=[handler], level=logging.WARNING)
    logging.getLogger("p2psync.relay").setLevel(logging.INFO)
    config = RelayConfig() if config_path is None else configuration.load(config_path)
    try:
        trio.run(_main, root, config_path, config, on_ready, strict_exception_groups=True)
    except* P2PSyncError as group:
        raise _first(group) from None
    return 0


def _first(error: BaseException) -> BaseException:
    while isinstance(error, BaseExceptionGroup):
        error = error.exceptions[0]
    return error


async def _main(
    root: Path,
    config_path: Path | None,
    config: RelayConfig,
    on_ready: Callable[[Mapping[str, Any]], None],
) -> None:
    home = Home.open(root, for_relay=True)
    with home:
        try:
            home.lock()
        except AlreadyRunning as error:
            raise RelayHomeInUse(home=root, pid=error.params["pid"]) from None
        seed = _seed(home)
        config = _with_own_token(home, config)
        stopping = trio.Event()
        async with trio.open_nursery() as nursery:
            relay = RelayProcess(seed, config)
            relay.restore(state.load(home.root), time.time())
            kept = state.StateFile(home.root, relay.snapshot)
            relay.changed = kept.touch
            relay.state_kept = lambda: not kept.failed
            again = partial(_read_again, home, config_path, relay)
            nursery.start_soon(_wait_for_signals, stopping, again)
            await nursery.start(relay.transport.run)
            host, port = config.monitor
            _check_free(host, port)
            nursery.start_soon(monitor.run, relay.status, host, port)
            nursery.start_soon(relay.look_after)
            nursery.start_soon(kept.run)
            note = home.root / ADDRESS_FILE
            note.write_text(json.dumps({"monitor": f"http://{_url_host(host)}:{port}"}))
            logger.info("running as %s", peer_id_text(relay.transport.device))
            ready = relay.ready()
            _keep_addresses(home, ready)
            on_ready(ready)
            try:
                await stopping.wait()
                relay.state = "stopping"
                logger.info("stopping")
                with trio.move_on_after(FLUSH_SECONDS):
                    await relay.drain()
            finally:
                with suppress(OSError):
                    note.unlink()
            nursery.cancel_scope.cancel()


def _keep_addresses(home: Home, ready: Mapping[str, Any]) -> None:
    """Leave the addresses to hand out where the operator alone reads them: they hold tokens."""
    path = home.root / HANDED_OUT_FILE
    path.unlink(missing_ok=True)
    path.touch(mode=0o600)
    lines = [f"{each['token']}: {each['address']}\n" for each in ready["addresses"]]
    path.write_text("".join(lines), "utf-8")


def _url_host(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _check_free(host: str, port: int) -> None:
    """Raise ``PortTaken`` for the monitor's port, before the web server tries in its own words."""
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    with socket.socket(family, socket.SOCK_STREAM) as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind((host, port))
        except OSError as error:
            raise PortTaken(address=f"{_url_host(host)}:{port}") from error


def _seed(home: Home) -> bytes:
    try:
        key = load_device_key(home.device_key)
    except KeyMissing:
        if (home.root / TOKEN_FILE).exists():
            raise RelayKeyMissing(path=home.device_key, token=TOKEN_FILE) from None
        key = PlainKey(secrets.token_bytes(crypto.SEED_BYTES))
        create_device_key(home.device_key, key)
    assert isinstance(key, PlainKey), "a relay's key has no passphrase"
    return key.seed


def _with_own_token(home: Home, config: RelayConfig) -> RelayConfig:
    """Where nobody is named, let in who has the one token that is made at the first start."""
    if config.open or config.tokens or config.groups:
        return config
    path = home.root / TOKEN_FILE
    try:
        if not path.exists():
            made = b58encode(secrets.token_bytes(_TOKEN_BYTES)).decode()
            path.touch(mode=0o600)
            path.write_text(made + "\n")
        with path.open("rb") as file:
            secret = file.read(2 * limits.RELAY_TOKEN_BYTES_MAX).decode().strip()
    except OSError as error:
        raise RelayTokenUnreadable(path=path, cause=error.strerror or str(error)) from None
    except UnicodeDecodeError:
        secret = ""
    if not is_token(secret):
        # An empty one would let everybody in.
        raise RelayTokenUnreadable(path=path, cause="it holds no token")
    return replace(config, tokens=(Token("all", secret),))


async def _wait_for_signals(stopping: trio.Event, again: Callable[[], None]) -> None:
    wanted = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
    with trio.open_signal_receiver(*wanted) as signals:
        async for number in signals:
            if number == signal.SIGHUP:
                again()
            else:
                stopping.set()


def _read_again(home: Home, path: Path | None, relay: RelayProcess) -> None:
    """Take the configuration file as it is now; one with a mistake changes nothing."""
    if path is None:
        logger.info("there is no configuration file to read again")
        return
    try:
        later = relay.reload(_with_own_token(home, configuration.load(path)))
    except P2PSyncError as error:
        relay.refuse_config()
        logger.error("all stays as it was: %s", error.text)
        return
    for name in later:
        logger.warning("%s: takes effect at the next start", name)
    logger.info("the configuration was read again")
