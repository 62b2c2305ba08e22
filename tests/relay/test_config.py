"""The relay's TOML file: what it says, and that a mistake in it is named and changes nothing."""

from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis.strategies import binary, text

from p2psync.errors import RelayConfigInvalid, RelayConfigUnreadable
from p2psync.network.access import group_text, read_group
from p2psync.relay.config import Group, RelayConfig, Token, load

WHOLE = """
listen = ["/ip4/127.0.0.1/tcp/4001"]
announce = ["/dns4/relay.example.ch/tcp/4001"]
monitor = "[::1]:4002"
open = true
[limits]
devices = 10
devices_per_address = 3
circuits = 20
circuits_per_device = 4
circuits_per_address = 50
bytes_per_day_per_address = "1 GB"
devices_per_group = 3
circuits_per_group = 4
bytes_per_day_per_group = "2 GB"
circuit_time = "2h"
circuit_bytes = "5 GB"
reservation_time = "30m"
[[token]]
name = "Office Rivage"
token = "2KSovv"
expires = 2027-12-31
devices = 5
circuits = 9
bytes_per_day = "20 MB"
[[group]]
name = "Atelier"
group = "aaaqeayeaudaocajbifqydiob4"
devices = 7
circuits = 8
bytes_per_day = "1 GB"
"""
GROUP = bytes(range(16))


def written(folder: Path, text: str) -> Path:
    path = folder / "relay.toml"
    path.write_text(text, "utf-8")
    return path


def test_an_empty_file_says_what_no_file_says(tmp_path: Path) -> None:
    assert load(written(tmp_path, "")) == RelayConfig()


def test_each_setting_is_read(tmp_path: Path) -> None:
    config = load(written(tmp_path, WHOLE))
    assert config.listen == ("/ip4/127.0.0.1/tcp/4001",)
    assert [str(each) for each in config.announce] == ["/dns4/relay.example.ch/tcp/4001"]
    assert config.monitor == ("::1", 4002)
    assert config.open
    assert (config.devices_max, config.devices_per_address_max) == (10, 3)
    assert (config.circuits_max, config.circuits_per_device_max) == (20, 4)
    assert (config.circuit_seconds, config.circuit_bytes) == (7200, 5 * 10**9)
    assert config.reservation_seconds == 1800
    # The last day counts whole: it ends at midnight UTC.
    assert config.tokens == (Token("Office Rivage", "2KSovv", 1830297600.0, 5, 9, 20 * 10**6),)
    assert config.groups == (Group("Atelier", GROUP, None, 7, 8, 10**9),)
    assert config.others == Group("", b"", None, 3, 4, 2 * 10**9)
    assert (config.circuits_per_address_max, config.address_day_bytes_max) == (50, 10**9)


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ("listen = 4001", "listen"),
        ('listen = ["relay.example.ch:4001"]', "listen"),
        ('monitor = "localhost"', "monitor"),
        ("open = 1", "open"),
        ("colour = 1", "colour"),
        ("[limits]\ndevices = 0", "limits.devices"),
        ("[limits]\ndevices = true", "limits.devices"),
        ('[limits]\ncircuit_bytes = "much"', "limits.circuit_bytes"),
        ('[limits]\nreservation_time = "10s"', "limits.reservation_time"),
        ("[limits]\nspeed = 1", "limits.speed"),
        ('[[token]]\nname = "A"', "token 1: token"),
        ('[[token]]\nname = "A"\ntoken = "with space"', "token 1: token"),
        ('[[token]]\nname = "A"\ntoken = "aa"\nexpires = "soon"', "token 1: expires"),
        ('[[token]]\nname = "A"\ntoken = "aa"\n[[token]]\nname = "A"\ntoken = "bb"', "token"),
        ('[[token]]\nname = "A"\ntoken = "aa"\n[[token]]\nname = "B"\ntoken = "aa"', "token"),
        ('[[group]]\nname = "A"', "group 1: group"),
        ('[[group]]\nname = "A"\ngroup = "aaaa"', "group 1: group"),
        ('[[group]]\nname = "A"\ngroup = "aaaqeayeaudaocajbifqydiob1"', "group 1: group"),
        (f'[[group]]\nname = "A"\ngroup = "{"a" * 26}"\ntoken = "a"', "group 1: token"),
        (2 * f'[[group]]\nname = "A"\ngroup = "{"a" * 26}"\n', "group"),
        ('[limits]\ndevices_per_group = "many"', "limits.devices_per_group"),
        ("token = 1", "token"),
        ("limits = 1", "limits"),
        ("= nothing", "TOML"),
    ],
)
def test_a_mistake_names_its_setting(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(RelayConfigInvalid) as caught:
        load(written(tmp_path, text))
    assert caught.value.params["key"] == key
    assert "relay.toml" in caught.value.text


def test_no_token_stands_in_an_error(tmp_path: Path) -> None:
    with pytest.raises(RelayConfigInvalid) as caught:
        load(written(tmp_path, '[[token]]\nname = "A"\ntoken = "secret-with-hyphens"'))
    assert "secret" not in caught.value.text


def test_a_file_that_is_not_there_or_too_large_is_said(tmp_path: Path) -> None:
    with pytest.raises(RelayConfigUnreadable, match="No such file"):
        load(tmp_path / "none.toml")
    with pytest.raises(RelayConfigUnreadable, match="too large"):
        load(written(tmp_path, "#" * (2 << 20)))


@given(group=binary(min_size=16, max_size=16))
def test_a_group_is_read_as_it_was_printed(group: bytes) -> None:
    assert read_group(group_text(group)) == group


@given(said=text(alphabet="abz27=1 é", max_size=30))
def test_nothing_else_is_a_group(said: str) -> None:
    with suppress(ValueError):
        assert group_text(read_group(said)) == said
