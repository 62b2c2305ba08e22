"""HTTP proxies: which calls go through one, what it is told, and what its answers mean."""

import pytest
import trio
from hypothesis import given
from hypothesis import strategies as st

from p2psync.engine.ports import LinkBroken
from p2psync.errors import PeerUnreachable, ProxyInvalid
from p2psync.network.address import TcpAddress, parse_address
from p2psync.network.config import TransportConfig
from p2psync.network.ground import Ground
from p2psync.network.ground_config import GroundConfig, ProxyNews, Way
from p2psync.network.host import Libp2pTransport
from p2psync.network.proxy import (
    Proxy,
    ProxyRefused,
    open_tunnel,
    parse_proxy,
    proxy_of_environment,
    read_exempt,
    with_password,
)
from tests.network.grounds import EndlessChannel, FakeProxy, running
from tests.network.rig import CALLED_SEED, CALLER_SEED, hold

FAR = parse_address("/ip4/203.0.113.9/tcp/443/ws")
PRINTED = st.text(st.characters(codec="utf-8", exclude_categories=["C", "Z"]), max_size=20)


# -- what a person says


@given(PRINTED, PRINTED, st.integers(1, 65535))
def test_a_url_prints_and_parses_without_its_password(user: str, password: str, port: int) -> None:
    user = user.replace(":", "")
    proxy = Proxy("proxy.example.ch", port, user, password)
    assert password not in proxy.url.replace(user, "") or len(password) < 3
    assert with_password(parse_proxy(proxy.url), password) == proxy
    assert password not in repr(proxy).replace(user, "") or len(password) < 3


@pytest.mark.parametrize(
    ("text", "proxy"),
    [
        ("http://proxy.example.ch:3128", Proxy("proxy.example.ch", 3128)),
        ("http://proxy.example.ch:3128/", Proxy("proxy.example.ch", 3128)),
        ("proxy.example.ch", Proxy("proxy.example.ch", 8080)),
        ("http://a%40b:c%3Ad@192.0.2.1:1", Proxy("192.0.2.1", 1, "a@b", "c:d")),
        ("http://[2001:db8::1]:1", Proxy("2001:db8::1", 1)),
    ],
)
def test_a_url_is_read(text: str, proxy: Proxy) -> None:
    assert parse_proxy(text) == proxy


@pytest.mark.parametrize(
    ("text", "cause"),
    [
        ("https://proxy.example.ch", "https:// is not spoken"),
        ("socks5://proxy.example.ch:1080", "socks5:// is not spoken"),
        ("http://proxy.example.ch:99999", "host or port"),
        ("http://pro xy:1", "neither a name nor"),
        ("http://", "neither a name nor"),
        ("http://p:1/path", "more behind its port"),
        ("http://u:" + "a" * 2000 + "@p:1", "too long"),
        ("http://u:a%0Ab@p:1", "a character that none may"),
    ],
)
def test_what_is_no_proxy_is_told_without_the_password(text: str, cause: str) -> None:
    with pytest.raises(ProxyInvalid) as caught:
        parse_proxy(text)
    assert cause in caught.value.text


@given(st.text(max_size=200))
def test_any_text_is_a_proxy_or_refused(text: str) -> None:
    try:
        assert parse_proxy(text).host
    except ProxyInvalid:
        return


def test_the_environment_names_a_proxy() -> None:
    """The names that curl and others read; lower case goes first."""
    assert proxy_of_environment({}) is None
    assert proxy_of_environment({"HTTP_PROXY": "http://p:1"}) is None
    found = proxy_of_environment(
        {"HTTPS_PROXY": "http://u:s@p:1", "ALL_PROXY": "http://q:2", "NO_PROXY": "a.ch, .b.ch:443"}
    )
    assert found == Proxy("p", 1, "u", "s", ("a.ch", ".b.ch"))
    assert proxy_of_environment({"https_proxy": "http://l:1", "HTTPS_PROXY": "x"}) == Proxy("l", 1)
    assert proxy_of_environment({"all_proxy": "q:2"}) == Proxy("q", 2)


# -- which calls go through it


@pytest.mark.parametrize(
    ("address", "exempt", "covered"),
    [
        ("/ip4/203.0.113.9/tcp/443", "", True),
        ("/ip4/192.168.1.9/tcp/443", "", False),
        ("/ip4/10.1.1.1/tcp/443", "", False),
        ("/ip4/127.0.0.1/tcp/443", "", False),
        ("/ip4/169.254.3.4/tcp/443", "", False),
        ("/ip6/fd00::1/tcp/443", "", False),
        ("/ip6/fe80::1/tcp/443", "", False),
        ("/ip6/2001:db8::1/tcp/443", "", True),
        ("/dns4/relay.example.ch/tcp/443", "", True),
        ("/dns4/relay/tcp/443", "", False),
        ("/dns4/nas.local/tcp/443", "", False),
        ("/dns4/relay.example.ch/tcp/443", "example.ch", False),
        ("/dns4/relay.example.ch/tcp/443", ".example.ch", False),
        ("/dns4/relay.example.ch/tcp/443", "*.example.ch", False),
        ("/dns4/Relay.Example.CH/tcp/443", "relay.example.ch", False),
        ("/dns4/relay.example.ch/tcp/443", "ample.ch", True),
        ("/dns4/relay.example.ch/tcp/443", "*", False),
        ("/ip4/203.0.113.9/tcp/443", "203.0.113.0/24", False),
        ("/ip4/203.0.113.9/tcp/443", "203.0.113.8", True),
        ("/ip6/2001:db8::1/tcp/443", "[2001:db8::1]", False),
    ],
)
def test_what_is_local_or_exempt_is_called_without_it(
    address: str, exempt: str, covered: bool
) -> None:
    proxy = Proxy("p", 1, exempt=read_exempt(exempt))
    assert proxy.covers(parse_address(address)) is covered


def test_members_are_called_through_it_at_port_443_alone() -> None:
    proxy = Proxy("p", 1)
    ground = Ground(GroundConfig(proxy=lambda: proxy), 9.0)

    def proxied(text: str, *, relay: bool) -> bool:
        return Way(parse_address(text), proxy) in ground.ways(parse_address(text), relay=relay)

    assert proxied("/ip4/203.0.113.9/tcp/4001", relay=True)
    assert not proxied("/ip4/203.0.113.9/tcp/4001", relay=False)
    assert proxied("/ip4/203.0.113.9/tcp/443", relay=False)
    assert proxied("/ip4/203.0.113.9/tcp/8443/tls/ws", relay=False)
    assert not proxied("/ip4/10.0.0.9/tcp/443/ws", relay=True)


# -- tunnels


async def through(proxy: FakeProxy, user: str = "", password: str = "") -> tuple[str, ProxyNews]:
    """How a call through a proxy ended, and what was told of it."""
    told: list[ProxyNews] = []
    way = Way(FAR, Proxy("127.0.0.1", proxy.port, user, password))
    ground = Ground(GroundConfig(proxy_told=told.append), 9.0)
    try:
        channel = await ground.open(way)
    except LinkBroken as error:
        return str(error), told[0]
    channel.close()
    return "", told[0]


def answering(answer: bytes) -> FakeProxy:
    return FakeProxy(answer=b"HTTP/1.1 " + answer + b"\r\n\r\n")


@pytest.mark.parametrize(
    ("answer", "trouble", "cause"),
    [
        (b"403 Forbidden", "refused", "it does not call 203.0.113.9:443: 403 Forbidden"),
        (b"502 Bad Gateway", "refused", "502 Bad Gateway"),
        (
            b"407 No\r\nProxy-Authenticate: Negotiate\r\nProxy-Authenticate: NTLM",
            "password-refused",
            "it asks for Negotiate, NTLM, and p2psync speaks Basic alone",
        ),
        (
            b'407 No\r\nProxy-Authenticate: Basic realm="office, main"',
            "password-refused",
            "it asks for a user name and a password",
        ),
        (b"407 No", "password-refused", "it asks for a user name and a password"),
        (b"200 " + b"a" * 10_000, "unreachable", "what answers there is no proxy"),
    ],
)
async def test_what_a_proxy_answers_is_told_plainly(
    answer: bytes, trouble: str, cause: str
) -> None:
    async with running(answering(answer)) as proxy:
        said, news = await through(proxy)
    assert news.trouble == trouble
    assert cause in news.cause
    assert cause in said


async def test_a_wrong_password_is_told() -> None:
    async with running(FakeProxy(user="office:right")) as proxy:
        said, news = await through(proxy, "office", "wrong")
    assert news.trouble == "password-refused"
    assert said == "it does not take the user name or the password"
    assert "wrong" not in repr(news)


async def test_what_is_no_proxy_or_does_not_answer_is_told() -> None:
    async with running(FakeProxy(answer=b"SSH-2.0-OpenSSH\r\n\r\n")) as proxy:
        said, news = await through(proxy)
    assert (news.trouble, "no proxy" in said) == ("unreachable", True)
    proxy = FakeProxy(port=1)
    said, news = await through(proxy)
    assert said == "the proxy cannot be reached: connection refused"
    assert news.trouble == "unreachable"


async def test_a_silent_proxy_is_not_waited_for_long() -> None:
    told: list[ProxyNews] = []
    config = GroundConfig(proxy_told=told.append, proxy_seconds=0.05)

    async def silent(stream: trio.SocketStream) -> None:
        await trio.sleep_forever()

    async with trio.open_nursery() as nursery:
        (listener,) = await trio.open_tcp_listeners(0, host="127.0.0.1")
        nursery.start_soon(trio.serve_listeners, silent, [listener])
        port = listener.socket.getsockname()[1]
        with pytest.raises(LinkBroken, match="no answer in time"):
            await Ground(config, 9.0).open(Way(FAR, Proxy("127.0.0.1", port)))
        nursery.cancel_scope.cancel()
    assert told[0].trouble == "unreachable"


async def test_endless_headers_of_a_proxy_end() -> None:
    async with running(FakeProxy(answer=b"HTTP/1.1 200 OK\r\n" + b"X: y\r\n" * 5000)) as proxy:
        said, _ = await through(proxy)
    assert "no proxy" in said


async def test_a_proxy_that_says_go_on_for_ever_is_not_listened_to_for_ever() -> None:
    """It might send quicker than is read, so that no deadline would ever come up."""
    channel = EndlessChannel(b"HTTP/1.1 100 Continue\r\n\r\n", room=100_000)
    with pytest.raises(ProxyRefused, match="again and again"):
        await open_tunnel(channel, Proxy("p", 1), FAR)


async def test_a_few_answers_ahead_of_the_last_are_skipped() -> None:
    answer = b"100 Continue\r\n\r\nHTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 403 Forbidden"
    async with running(answering(answer)) as proxy:
        said, _ = await through(proxy)
    assert "403 Forbidden" in said


def test_only_the_proxy_sees_the_password() -> None:
    proxy = Proxy("p", 1, "office", "secret")
    assert "secret" not in f"{proxy!r} {proxy.url} {Way(FAR, proxy)} {proxy.place}"
    assert "secret" not in repr(ProxyRefused("refused", "x"))


# -- whole transports


class Proxied:
    """A transport at a WebSocket, which is found at FAR through a proxy alone."""

    def __init__(self, proxy: FakeProxy, user: str = "") -> None:
        self.told: list[ProxyNews] = []
        name, _, password = user.partition(":")
        use = Proxy("127.0.0.1", proxy.port, name, password)
        self.config = TransportConfig(
            late_seconds=0.01,
            dial_seconds=5.0,
            ground=GroundConfig(proxy=lambda: use, proxy_told=self.told.append),
        )


async def refuse_direct(address: TcpAddress) -> trio.SocketStream:
    """Nothing but the proxy leads out."""
    raise OSError(f"no way to {address}")


async def test_a_link_goes_through_the_proxy_where_nothing_else_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr("p2psync.network.ground.connect", refuse_direct)
    called = Libp2pTransport(CALLED_SEED, ["/ip4/127.0.0.1/tcp/0/ws"], hold)
    async with called.open(), running(FakeProxy("office:right")) as proxy:
        port = called.listening[0].port
        proxy.redirect["203.0.113.9"] = ("127.0.0.1", port)
        setup = Proxied(proxy, "office:right")
        caller = Libp2pTransport(CALLER_SEED, [], hold, config=setup.config)
        async with caller.open():
            link = await caller.dial(called.device, [str(FAR)])
            assert link.device == called.device
            link.cut()
        assert proxy.asked == ["203.0.113.9:443"]
        assert [news.trouble for news in setup.told] == [None]


async def test_a_relay_is_reached_by_the_one_of_its_addresses_that_works(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Bare TCP at 4001 is refused directly and by the proxy, which calls 443 alone."""
    monkeypatch.setattr("p2psync.network.ground.connect", refuse_direct)
    relay = Libp2pTransport(CALLED_SEED, ["/ip4/127.0.0.1/tcp/0/ws"], hold)
    async with relay.open(), running(FakeProxy(ports=(443,))) as proxy:
        proxy.redirect["203.0.113.9"] = ("127.0.0.1", relay.listening[0].port)
        setup = Proxied(proxy)
        caller = Libp2pTransport(CALLER_SEED, [], hold, config=setup.config)
        async with caller.open():
            addresses = (parse_address("/ip4/203.0.113.9/tcp/4001"), FAR)
            monkeypatch.setattr(caller.circuits, "places_of", lambda _: addresses)
            connection = await caller.circuits.connection(addresses[0], relay.device)
            assert connection.device == relay.device
            assert connection.remote is None
            connection.abort()
        assert sorted(proxy.asked) == ["203.0.113.9:4001", "203.0.113.9:443"]


async def test_all_causes_are_told(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("p2psync.network.ground.connect", refuse_direct)
    async with running(FakeProxy("office:right")) as proxy:
        setup = Proxied(proxy, "office:wrong")
        caller = Libp2pTransport(CALLER_SEED, [], hold, config=setup.config)
        async with caller.open():
            with pytest.raises(PeerUnreachable) as caught:
                await caller.dial(b"d" * 32, [str(FAR)])
    said = caught.value.text
    assert f"{FAR}: no way to" in said
    assert f"{FAR} through the proxy 127.0.0.1:{proxy.port}: it does not take" in said
