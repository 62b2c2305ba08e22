"""The relay's TLS: its settings, renewals without a restart, mistakes that change nothing."""

import os
import ssl
from pathlib import Path

import pytest

from p2psync.errors import RelayCertificateUnreadable, RelayConfigInvalid
from p2psync.network.address import parse_address
from p2psync.network.config import TransportConfig
from p2psync.network.ground import Ground
from p2psync.network.ground_config import GroundConfig, Way
from p2psync.network.host import Libp2pTransport
from p2psync.relay.certificate import Certificate, CertificateFiles
from p2psync.relay.config import RelayConfig, load
from p2psync.relay.serving import RelayProcess
from tests.certificates import Authority
from tests.network.rig import CALLER_SEED, hold
from tests.relay.rig import RELAY_SEED

TLS = '[tls]\ncertificate = "fullchain.pem"\nkey = "/etc/relay/privkey.pem"\n'


def written(folder: Path, text: str) -> Path:
    path = folder / "relay.toml"
    path.write_text(text, "utf-8")
    return path


def files_of(authority: Authority, days: int = 30) -> CertificateFiles:
    made = authority.issue("127.0.0.1", days=days)
    return CertificateFiles(made.certificate, made.key)


def test_the_certificate_is_sought_beside_the_settings(tmp_path: Path) -> None:
    found = load(written(tmp_path, f'listen = ["/ip4/0.0.0.0/tcp/443/tls/ws"]\n{TLS}'))
    assert found.listen == ("/ip4/0.0.0.0/tcp/443/tls/ws",)
    assert found.tls == CertificateFiles(tmp_path / "fullchain.pem", Path("/etc/relay/privkey.pem"))


@pytest.mark.parametrize(
    ("text", "key"),
    [
        ('listen = ["/ip4/0.0.0.0/tcp/443/tls/ws"]', "tls"),
        ('[tls]\ncertificate = "a"', "tls.key"),
        ('[tls]\ncertificate = 1\nkey = "a"', "tls.certificate"),
        ('[tls]\ncertificate = "a"\nkey = "b"\nport = 1', "tls.port"),
        ('reverse_proxies = ["localhost"]', "reverse_proxies"),
        ('reverse_proxies = "127.0.0.1"', "reverse_proxies"),
    ],
)
def test_a_mistake_is_named(tmp_path: Path, text: str, key: str) -> None:
    with pytest.raises(RelayConfigInvalid) as caught:
        load(written(tmp_path, text))
    assert caught.value.params["key"] == key


def test_reverse_proxies_are_ip_addresses(tmp_path: Path) -> None:
    found = load(written(tmp_path, 'reverse_proxies = ["127.0.0.1", "::1"]'))
    assert found.reverse_proxies == ("127.0.0.1", "::1")


def test_files_that_do_not_fit_are_named(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = files_of(authority)
    other = authority.issue("127.0.0.1", name="other")
    missing = CertificateFiles(files.certificate, tmp_path / "none.key")
    for wrong in (missing, CertificateFiles(files.certificate, other.key)):
        with pytest.raises(RelayCertificateUnreadable, match=r"relay\.crt"):
            Certificate(wrong)


def test_a_renewal_is_taken_and_half_of_one_is_not(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = files_of(authority, days=5)
    shown = Certificate(files)
    first, until = shown.context(), shown.until
    assert first is not None
    shown.refresh()
    assert shown.context() is first

    renewed = authority.issue("127.0.0.1", days=40, name="fresh")
    os.replace(renewed.certificate, files.certificate)
    shown.refresh()
    assert (shown.context(), shown.until) == (first, until)
    os.replace(renewed.key, files.key)
    shown.refresh()
    assert shown.context() is not first
    assert shown.until is not None and until is not None and shown.until > until


async def test_a_relay_with_tls_shows_a_renewed_certificate(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    files = files_of(authority, days=-1)
    config = RelayConfig(listen=("/ip4/127.0.0.1/tcp/0/tls/ws",), tls=files, open=True)
    relay = RelayProcess(RELAY_SEED, config)
    ground = Ground(GroundConfig(ca=authority.ca), 9.0)
    async with relay.transport.open():
        (told,) = relay.ready()["addresses"]
        assert "/tls/ws/p2p/" in told["address"]
        place = parse_address(told["address"])
        with pytest.raises(Exception, match="has expired"):
            await ground.open(Way(place))
        assert str(relay.status()["certificate_until"]).endswith("Z")
        files_of(authority, days=30)
        relay.certificate.refresh()
        channel = await ground.open(Way(place))
        channel.close()

        caller = Libp2pTransport(
            CALLER_SEED, [], hold, config=TransportConfig(ground=GroundConfig(ca=authority.ca))
        )
        async with caller.open():
            connection = await caller.circuits.connection(place, relay.transport.device)
            assert connection.device == relay.transport.device
            connection.abort()


def test_settings_with_a_bad_certificate_change_nothing(tmp_path: Path) -> None:
    authority = Authority(tmp_path)
    config = RelayConfig(listen=("/ip4/127.0.0.1/tcp/0/tls/ws",), tls=files_of(authority))
    relay = RelayProcess(RELAY_SEED, config)
    context: ssl.SSLContext | None = relay.certificate.context()
    bad = CertificateFiles(tmp_path / "none.crt", tmp_path / "none.key")
    with pytest.raises(RelayCertificateUnreadable):
        relay.reload(RelayConfig(listen=config.listen, tls=bad, devices_max=1))
    assert relay.certificate.context() is context
    assert relay.config is config
