"""What the relay is installed with: a hardened unit, an example that is read, a lean container."""

import shutil
import subprocess
from pathlib import Path

import pytest

from p2psync.relay.config import RelayConfig, load

PACKAGING = Path(__file__).resolve().parents[2] / "packaging"
UNIT = PACKAGING / "p2psync-relay.service"
EXPOSURE_MAX = 1.5
"""Of 10; what is called OK begins at 2 (systemd-analyze security)."""

HARDENED = {
    "AmbientCapabilities": "",
    "CapabilityBoundingSet": "",
    "DevicePolicy": "closed",
    "DynamicUser": "yes",
    "KeyringMode": "private",
    "LockPersonality": "yes",
    "MemoryDenyWriteExecute": "yes",
    "NoNewPrivileges": "yes",
    "PrivateDevices": "yes",
    "PrivateIPC": "yes",
    "PrivateMounts": "yes",
    "PrivateTmp": "yes",
    "PrivateUsers": "yes",
    "ProcSubset": "pid",
    "ProtectClock": "yes",
    "ProtectControlGroups": "yes",
    "ProtectHome": "yes",
    "ProtectHostname": "yes",
    "ProtectKernelLogs": "yes",
    "ProtectKernelModules": "yes",
    "ProtectKernelTunables": "yes",
    "ProtectProc": "invisible",
    "ProtectSystem": "strict",
    "RemoveIPC": "yes",
    "RestrictAddressFamilies": "AF_INET AF_INET6 AF_NETLINK",
    "RestrictNamespaces": "yes",
    "RestrictRealtime": "yes",
    "RestrictSUIDSGID": "yes",
    "StateDirectory": "p2psync-relay",
    "StateDirectoryMode": "0700",
    "SystemCallArchitectures": "native",
    "UMask": "0077",
}


def settings(path: Path) -> dict[str, list[str]]:
    found: dict[str, list[str]] = {}
    for line in path.read_text("utf-8").splitlines():
        key, equals, value = line.partition("=")
        if equals and not line.startswith("#"):
            found.setdefault(key, []).append(value)
    return found


def test_the_unit_is_hardened() -> None:
    said = settings(UNIT)
    assert {key: said.get(key) for key in HARDENED} == {k: [v] for k, v in HARDENED.items()}
    assert said["SystemCallFilter"] == ["@system-service", "~@privileged @resources"]


def test_the_unit_stops_reloads_and_starts_as_the_relay_wants() -> None:
    said = settings(UNIT)
    (start,) = said["ExecStart"]
    assert start.endswith("relay run --config /etc/p2psync/relay.toml")
    assert f"--home /var/lib/{HARDENED['StateDirectory']} " in start
    assert said["StandardOutput"] == ["null"]  # the addresses hold tokens
    assert said["ExecReload"] == ["/bin/kill -HUP $MAINPID"]
    assert int(said["TimeoutStopSec"][0]) > 5  # circuits have so long to end
    assert int(said["LimitNOFILE"][0]) > 4 * RelayConfig().devices_max


def test_systemd_rates_the_unit_well_where_it_is_installed() -> None:
    tool = shutil.which("systemd-analyze")
    if tool is None:
        # What it would look at is asserted above.
        return
    threshold = f"--threshold={int(EXPOSURE_MAX * 10)}"
    command = [tool, "security", "--offline=yes", "--no-pager", threshold, str(UNIT)]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stdout + done.stderr


def test_port_443_adds_one_capability_and_takes_no_more_away() -> None:
    said = settings(PACKAGING / "port-443.conf")
    assert said == {
        "CapabilityBoundingSet": ["CAP_NET_BIND_SERVICE"],
        "AmbientCapabilities": ["CAP_NET_BIND_SERVICE"],
        "PrivateUsers": ["no"],
    }


def test_the_example_settings_say_what_holds_without_them() -> None:
    assert load(PACKAGING / "relay.toml") == RelayConfig()


def test_every_line_of_the_example_that_is_commented_out_is_read(tmp_path: Path) -> None:
    lines = (PACKAGING / "relay.toml").read_text("utf-8").splitlines()
    marks = ("# announce", "# [[", "# name", "# token", "# bytes", "# group")
    whole = [line[2:] if line.startswith(marks) else line for line in lines]
    path = tmp_path / "relay.toml"
    path.write_text("\n".join(whole), "utf-8")
    config = load(path)
    assert config.tokens and config.groups and config.announce


@pytest.fixture
def container() -> list[str]:
    text = (PACKAGING / "Containerfile").read_text("utf-8").replace("\\\n", " ")
    return [line for line in text.splitlines() if line and not line.startswith("#")]


def test_the_container_runs_as_nobody_special_and_is_watched(container: list[str]) -> None:
    last = container[
        len(container)
        - 1
        - [*reversed(container)].index(
            next(line for line in reversed(container) if line.startswith("FROM"))
        ) :
    ]
    words = [line.split()[0] for line in last]
    assert "USER 10001" in last
    assert words.index("USER") < words.index("ENTRYPOINT")
    assert "VOLUME /var/lib/p2psync-relay" in last
    assert any("/health" in line for line in last if line.startswith("HEALTHCHECK"))
    assert last[-1] == 'CMD ["run"]'


def test_the_container_takes_what_is_locked_and_nothing_secret(container: list[str]) -> None:
    for line in container:
        if "pip install" in line:
            assert "--no-deps" in line
        assert not line.startswith("ADD")
    ignored = (PACKAGING.parent / ".dockerignore").read_text("utf-8").splitlines()
    assert ignored[0] == "*"
    copied = {
        word
        for line in container
        if line.startswith("COPY") and "--from" not in line
        for word in line.split()[1:-1]
    }
    assert {f"!{name}" for name in copied} == {line for line in ignored if line.startswith("!")}
