"""What the operator of a relay says in one TOML file, or leaves as it is (docs/relay.md)."""

import datetime
import ipaddress
import re
import tomllib
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar

from p2psync import limits
from p2psync.errors import BadAddress, RelayConfigInvalid, RelayConfigUnreadable
from p2psync.network.access import read_group
from p2psync.network.address import TcpAddress, is_token, parse_address
from p2psync.relay.certificate import CertificateFiles

T = TypeVar("T")

_UNITS = {"": 1, "B": 1, "kB": 10**3, "MB": 10**6, "GB": 10**9, "TB": 10**12}
_SIZE = re.compile(r"([0-9]{1,12})\s*(B|kB|MB|GB|TB)")
_SECONDS = {"s": 1, "m": 60, "h": 3600, "d": 86_400}
_DURATION = re.compile(r"([0-9]{1,6})(s|m|h|d)")


@dataclass(frozen=True, slots=True)
class Token:
    """Whom the operator lets in: the holders of ``secret``, until ``expires`` (seconds since 1970).

    0 is no limit: for its devices and circuits at once, for the bytes that it carries in a day.
    """

    name: str
    secret: str
    expires: float | None = None
    devices_max: int = 0
    circuits_max: int = 0
    day_bytes_max: int = 0


@dataclass(frozen=True, slots=True)
class Group:
    """A mandate that the operator lets in, by what it is called at this relay: 16 bytes.

    ``devices_max`` and the others are as of a ``Token``.
    """

    name: str
    group: bytes
    expires: float | None = None
    devices_max: int = 0
    circuits_max: int = 0
    day_bytes_max: int = 0


@dataclass(frozen=True, slots=True)
class RelayConfig:
    """All that can be said; ``announce`` are addresses that the relay cannot know by itself."""

    listen: tuple[str, ...] = ("/ip4/0.0.0.0/tcp/4001", "/ip6/::/tcp/4001")
    announce: tuple[TcpAddress, ...] = ()
    tls: CertificateFiles | None = None
    """What is shown where ``listen`` says ``/tls/ws``."""
    reverse_proxies: tuple[str, ...] = ()
    """IP addresses whose ``X-Forwarded-For`` is believed."""
    monitor: tuple[str, int] = ("127.0.0.1", 4002)
    """Host and port of the health endpoint and the metrics."""
    open: bool = False
    """Whether devices without a token are let in."""
    tokens: tuple[Token, ...] = ()
    groups: tuple[Group, ...] = ()
    others: Group = Group("", b"")
    """What a mandate may have that the operator did not name."""
    devices_max: int = limits.RELAY_DEVICES_MAX
    circuits_max: int = limits.RELAY_CIRCUITS_MAX
    circuits_per_device_max: int = limits.RELAY_CIRCUITS_PER_DEVICE_MAX
    devices_per_address_max: int = limits.RELAY_DEVICES_PER_ADDRESS_MAX
    circuits_per_address_max: int = limits.RELAY_CIRCUITS_PER_ADDRESS_MAX
    address_day_bytes_max: int = 0
    circuit_seconds: int = 0
    circuit_bytes: int = 0
    reservation_seconds: int = limits.RELAY_RESERVATION_SECONDS


def load(path: Path) -> RelayConfig:
    """Read a configuration file; raises ``RelayConfigUnreadable`` and ``RelayConfigInvalid``."""
    try:
        with path.open("rb") as file:
            data = file.read(limits.RELAY_CONFIG_BYTES_MAX + 1)
    except OSError as error:
        raise RelayConfigUnreadable(path=path, cause=error.strerror or str(error)) from None
    if len(data) > limits.RELAY_CONFIG_BYTES_MAX:
        raise RelayConfigUnreadable(path=path, cause="File too large")
    try:
        said = tomllib.loads(data.decode())
    except (UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise RelayConfigInvalid(path=path, key="TOML", cause=str(error)) from None
    return read(said, path)


def read(said: Mapping[str, Any], path: Path) -> RelayConfig:
    """Read what a TOML file holds; ``path`` is named in errors (``RelayConfigInvalid``)."""
    top = _Table(said, path, "")
    tables: list[dict[str, Any]] = top.take("token", _tables, [])
    mandates: list[dict[str, Any]] = top.take("group", _tables, [])
    bounds = _Table(top.take("limits", _table, {}), path, "limits.")
    usual = RelayConfig()
    config = RelayConfig(
        listen=top.take("listen", _listen, usual.listen),
        announce=top.take("announce", _addresses, ()),
        tls=_files(top.take("tls", _table, {}), path),
        reverse_proxies=top.take("reverse_proxies", _ips, ()),
        monitor=top.take("monitor", _host_port, usual.monitor),
        open=top.take("open", _flag, False),
        tokens=tuple(
            _token(_Table(each, path, f"token {place}: ")) for place, each in enumerate(tables, 1)
        ),
        groups=tuple(
            _group(_Table(each, path, f"group {place}: ")) for place, each in enumerate(mandates, 1)
        ),
        others=Group(
            "",
            b"",
            devices_max=bounds.take("devices_per_group", _count, 0),
            circuits_max=bounds.take("circuits_per_group", _count, 0),
            day_bytes_max=bounds.take("bytes_per_day_per_group", _size, 0),
        ),
        devices_max=bounds.take("devices", _count, usual.devices_max),
        circuits_max=bounds.take("circuits", _count, usual.circuits_max),
        circuits_per_device_max=bounds.take(
            "circuits_per_device", _count, usual.circuits_per_device_max
        ),
        devices_per_address_max=bounds.take(
            "devices_per_address", _count, usual.devices_per_address_max
        ),
        circuits_per_address_max=bounds.take(
            "circuits_per_address", _count, usual.circuits_per_address_max
        ),
        address_day_bytes_max=bounds.take("bytes_per_day_per_address", _size, 0),
        circuit_seconds=bounds.take("circuit_time", _duration, 0),
        circuit_bytes=bounds.take("circuit_bytes", _size, 0),
        reservation_seconds=bounds.take(
            "reservation_time", _reservation, usual.reservation_seconds
        ),
    )
    bounds.end()
    top.end()
    _check_tokens(config, path)
    if config.tls is None and any(parse_address(each).web == "wss" for each in config.listen):
        raise RelayConfigInvalid(path=path, key="tls", cause="/tls/ws needs a certificate")
    return config


def _files(said: dict[str, Any], path: Path) -> CertificateFiles | None:
    """The files of a certificate; a relative path begins at the folder of the settings."""
    if not said:
        return None
    table = _Table(said, path, "tls.")
    folder = path.absolute().parent
    files = CertificateFiles(
        folder / table.need("certificate", _path), folder / table.need("key", _path)
    )
    table.end()
    return files


def _check_tokens(config: RelayConfig, path: Path) -> None:
    every = (
        ("token", "name", [token.name for token in config.tokens]),
        ("token", "secret", [token.secret for token in config.tokens]),
        ("group", "name", [group.name for group in config.groups]),
        ("group", "group", [group.group.hex() for group in config.groups]),
    )
    for key, attribute, values in every:
        if len(set(values)) != len(values):
            raise RelayConfigInvalid(
                path=path, key=key, cause=f"two {key}s have the same {attribute}"
            )


def _token(table: "_Table") -> Token:
    token = Token(
        name=table.need("name", _text),
        secret=table.need("token", _secret),
        expires=table.take("expires", _moment, None),
        devices_max=table.take("devices", _count, 0),
        circuits_max=table.take("circuits", _count, 0),
        day_bytes_max=table.take("bytes_per_day", _size, 0),
    )
    table.end()
    return token


def _group(table: "_Table") -> Group:
    group = Group(
        name=table.need("name", _text),
        group=table.need("group", _group_name),
        expires=table.take("expires", _moment, None),
        devices_max=table.take("devices", _count, 0),
        circuits_max=table.take("circuits", _count, 0),
        day_bytes_max=table.take("bytes_per_day", _size, 0),
    )
    table.end()
    return group


class _Table:
    """One table of the file, whose keys are taken one by one; what is left is not known."""

    def __init__(self, said: Mapping[str, Any], path: Path, where: str) -> None:
        self._said = dict(said)
        self._path = path
        self._where = where

    def take(self, key: str, kind: Callable[[Any], T], default: T) -> T:
        if key not in self._said:
            return default
        return self.need(key, kind)

    def need(self, key: str, kind: Callable[[Any], T]) -> T:
        if key not in self._said:
            self._refuse(key, "it is missing")
        try:
            return kind(self._said.pop(key))
        except (ValueError, BadAddress) as error:
            self._refuse(key, str(error))
            raise

    def end(self) -> None:
        for key in self._said:
            self._refuse(key, "there is no such setting")

    def _refuse(self, key: str, cause: str) -> None:
        raise RelayConfigInvalid(path=self._path, key=self._where + key, cause=cause)


def _group_name(value: Any) -> bytes:
    return read_group(value if isinstance(value, str) else "")


def _text(value: Any) -> str:
    if not isinstance(value, str) or not 0 < len(value.encode()) <= limits.NAME_BYTES_MAX:
        raise ValueError("not a short text")
    return value


def _secret(value: Any) -> str:
    if not isinstance(value, str) or not is_token(value):
        raise ValueError(
            f"not 1 to {limits.RELAY_TOKEN_BYTES_MAX} letters and digits without 0, O, I and l"
        )
    return value


def _path(value: Any) -> str:
    if not isinstance(value, str) or not value or "\0" in value:
        raise ValueError("not a path")
    return value


def _ips(value: Any) -> tuple[str, ...]:
    if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
        raise ValueError("not a list of IP addresses")
    return tuple(str(ipaddress.ip_address(each)) for each in value)


def _flag(value: Any) -> bool:
    if not isinstance(value, bool):
        raise ValueError("neither true nor false")
    return value


def _count(value: Any) -> int:
    if not isinstance(value, int) or isinstance(value, bool) or not 1 <= value <= 1_000_000:
        raise ValueError("not a number from 1 to 1,000,000")
    return value


def _size(value: Any) -> int:
    match = _SIZE.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('not a size such as "20 GB"')
    return int(match[1]) * _UNITS[match[2]]


def _duration(value: Any) -> int:
    match = _DURATION.fullmatch(value) if isinstance(value, str) else None
    if match is None:
        raise ValueError('not a time such as "30m", "12h" or "1d"')
    return int(match[1]) * _SECONDS[match[2]]


def _reservation(value: Any) -> int:
    seconds = _duration(value)
    if not limits.RELAY_RESERVATION_SECONDS_MIN <= seconds <= limits.RELAY_RESERVATION_SECONDS_MAX:
        raise ValueError("not from 2m to 1d")
    return seconds


def _moment(value: Any) -> float:
    match value:
        case datetime.datetime():
            return (value if value.tzinfo else value.replace(tzinfo=datetime.UTC)).timestamp()
        case datetime.date():
            day = datetime.datetime.combine(value, datetime.time(), datetime.UTC)
            return (day + datetime.timedelta(days=1)).timestamp()
        case _:
            raise ValueError("not a date such as 2027-12-31")


def _listen(value: Any) -> tuple[str, ...]:
    return tuple(str(each) for each in _addresses(value))


def _addresses(value: Any) -> tuple[TcpAddress, ...]:
    if not isinstance(value, list) or not value or not all(isinstance(e, str) for e in value):
        raise ValueError("not a list of addresses")
    return tuple(parse_address(each) for each in value)


def _host_port(value: Any) -> tuple[str, int]:
    host, colon, port = value.rpartition(":") if isinstance(value, str) else ("", "", "")
    host = host.removeprefix("[").removesuffix("]")
    if not colon or not port.isascii() or not port.isdigit() or int(port) > 0xFFFF:
        raise ValueError('not a host and port such as "127.0.0.1:4002"')
    return str(ipaddress.ip_address(host)), int(port)


def _table(value: Any) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise ValueError("not a table")
    return value


def _tables(value: Any) -> list[dict[str, Any]]:
    if not isinstance(value, list) or len(value) > limits.RELAY_TOKENS_MAX:
        raise ValueError(f"not at most {limits.RELAY_TOKENS_MAX} tables")
    return [_table(each) for each in value]
