"""B-NET-2: which proxy a node uses, what it tells of it, and where the password is."""

import json
import os
import stat
import threading
from pathlib import Path

import pytest
from trio.testing import wait_all_tasks_blocked

from p2psync.errors import ProxyInvalid, ProxySettingUnreadable
from p2psync.network.address import parse_address
from p2psync.network.ground_config import ProxyNews
from p2psync.network.proxy import Trouble
from p2psync.node.proxies import FILE, ProxyUse
from p2psync.storage import disk
from tests.network.rig import until
from tests.node.rig import Machine, running

RELAY = parse_address("/ip4/203.0.113.1/tcp/443/tls/ws")
BARE = parse_address("/ip4/203.0.113.1/tcp/4001")
URL = "http://office@proxy.example.ch:8080"


def used(machine: Machine, option: str | None = None, **environment: str) -> ProxyUse:
    proxy = machine.node.proxy
    proxy.load(machine.root / "home" / FILE, option, environment)
    return proxy


def news(use: ProxyUse, trouble: Trouble | None, cause: str = "", at: str = "443") -> ProxyNews:
    proxy = use.current()
    assert proxy is not None
    return ProxyNews(proxy, RELAY if at == "443" else BARE, trouble, cause)


async def test_the_option_goes_before_the_setting_and_that_before_the_environment(
    tmp_path: Path,
) -> None:
    async with running(tmp_path) as machine:
        use = used(machine)
        assert (use.current(), use.view()["state"], use.view()["source"]) == (None, "off", None)
        use = used(machine, HTTPS_PROXY="http://u:s@env:1", NO_PROXY="a.ch")
        view = use.view()
        assert (view["proxy"], view["source"], view["password"], view["exempt"]) == (
            *("http://u@env:1", "environment", True),
            ["a.ch"],
        )
        await machine.service.proxy_set(URL, "secret")
        assert (use.view()["proxy"], use.view()["source"]) == (URL, "setting")
        assert used(machine, "http://opt:2").view()["source"] == "option"
        assert used(machine, "none", HTTPS_PROXY="http://env:1").current() is None
        use = used(machine, HTTPS_PROXY="http://env:1")
        await machine.service.proxy_set("none", None)
        assert use.current() is None
        await machine.service.proxy_clear()
        assert use.view()["source"] == "environment"


async def test_the_password_is_kept_for_its_owner_alone(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        use = used(machine)
        shown = await machine.service.proxy_set(URL, "geheim")
        file = machine.root / "home" / FILE
        assert file.stat().st_mode & 0o777 == 0o600
        assert "geheim" in file.read_text()
        assert "geheim" not in json.dumps(shown) + json.dumps(await machine.service.status())
        again = used(machine).current()
        assert again == use.current()
        assert again is not None and again.password == "geheim"
        await machine.service.proxy_clear()
        assert not file.exists()


async def test_what_was_set_outlasts_a_power_cut_and_so_does_that_it_was_cleared(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The folder is synced, too, and the event loop does not wait for the disk."""
    done: list[tuple[bool, bool]] = []
    fsync, here = os.fsync, threading.get_ident()

    def note(descriptor: int) -> None:
        is_folder = stat.S_ISDIR(os.fstat(descriptor).st_mode)
        done.append((is_folder, threading.get_ident() == here))
        fsync(descriptor)

    async with running(tmp_path) as machine:
        used(machine)
        with monkeypatch.context() as patch:
            patch.setattr(os, "fsync", note)
            patch.setattr(disk, "DISK_CALLS", disk.DiskCalls(fsync=note))
            patch.setattr(disk.fsync_directory, "__defaults__", (disk.DISK_CALLS,))
            await machine.service.proxy_set(URL, "geheim")
            assert done == [(False, False), (True, False)]
            done.clear()
            await machine.service.proxy_clear()
            assert done == [(True, False)]


@pytest.mark.parametrize("content", ["", "[]", "{}", '{"proxy": "ftp://x", "password": ""}', "\0"])
async def test_a_file_that_cannot_be_read_is_named(tmp_path: Path, content: str) -> None:
    async with running(tmp_path) as machine:
        (machine.root / "home" / FILE).write_text(content)
        with pytest.raises(ProxySettingUnreadable, match=r"proxy\.json"):
            used(machine)


async def test_a_bad_proxy_changes_nothing(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        use = used(machine)
        await machine.service.proxy_set(URL, "geheim")
        for url, password in (("https://x", None), (URL, "a\nb"), (URL, "a" * 5000)):
            with pytest.raises(ProxyInvalid):
                await machine.service.proxy_set(url, password)
        assert use.view()["proxy"] == URL
        with pytest.raises(ProxyInvalid):
            used(machine, "socks5://x")
        assert used(machine, HTTPS_PROXY="socks5://x").view()["source"] == "setting"


async def test_a_refused_password_is_told_until_a_call_comes_through(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        use = used(machine, URL)
        assert use.view()["state"] == "unused"
        use.on_news(news(use, "password-refused", "it asks for NTLM"))
        use.on_news(news(use, "password-refused", "it asks for NTLM"))
        [alert] = await machine.open_alerts()
        assert alert["type"] == "proxy-refused"
        assert "proxy.example.ch:8080 lets nothing through: it asks for NTLM" in alert["text"]
        assert (use.view()["state"], use.view()["cause"]) == (
            "password-refused",
            "it asks for NTLM",
        )
        assert (await machine.service.status())["proxy"]["state"] == "password-refused"
        use.on_news(news(use, None))
        assert await machine.alerts() == []
        assert use.view()["state"] == "works"


async def test_a_proxy_that_opens_one_way_refuses_nothing(tmp_path: Path) -> None:
    """Port 4001 is refused, 443 is not: nobody is told, however the answers come."""
    async with running(tmp_path) as machine:
        use = used(machine, URL)
        use.grace_seconds = 0.01
        use.on_news(news(use, "refused", "403", at="4001"))
        use.on_news(news(use, None))
        use.on_news(news(use, "refused", "403", at="4001"))
        await wait_all_tasks_blocked(0.05)
        assert use.view()["state"] == "works"
        assert await machine.alerts() == []
        use.on_news(news(use, "refused", "it does not call 203.0.113.1:443: 403"))
        assert use.view()["state"] == "refused"
        await until(lambda: machine.node.notices.holds("proxy-refused"))
        assert await machine.alerts() == ["proxy-refused"]


async def test_another_proxy_begins_anew_and_wakes_who_waits(tmp_path: Path) -> None:
    async with running(tmp_path) as machine:
        use = used(machine)
        woken: list[str] = []
        use.changed = lambda: woken.append("relays")
        await machine.service.proxy_set(URL, "wrong")
        late = news(use, "password-refused", "it does not take the password")
        use.on_news(late)
        await machine.service.proxy_set("http://other.example.ch:1", None)
        assert await machine.alerts() == []
        assert use.view()["state"] == "unused"
        use.on_news(late)
        assert use.view()["state"] == "unused"
        assert woken == ["relays", "relays"]
