"""Subscribing while nobody is there: the person asks once, the node does it when it can."""

from pathlib import Path

import pytest

from p2psync.node import tickets
from tests.node.rig import V1, founded, in_step, invited, linked, running


async def test_a_file_is_attached_once_a_member_lets_the_device_in(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """B-TIC-4, B-TIC-5."""
    monkeypatch.setattr(tickets, "ADMISSION_SECONDS", 0.01)
    async with running(tmp_path / "office") as office:
        await founded(office)
        ticket = await invited(office)
        async with running(tmp_path / "clerk") as clerk:
            path = clerk.file("a.ecf", V1)
            answer = await clerk.service.subscribe(ticket, None, path, "invoicing")
            assert (answer["state"], answer["attach"]) == ("waiting", "later")
        async with running(tmp_path / "clerk") as clerk:
            await clerk.service.resume()
            async with linked(office, clerk):
                await office.until(lambda: len(office.opened().state.present_files()) == 2)
                await in_step(office, clerk)
                assert await office.pending() == (7, 0)
                assert office.copy("a.ecf").read_bytes() == V1
        # Neither a restart nor another admission attaches it again.
        async with running(tmp_path / "clerk") as clerk:
            await clerk.service.resume()
            await clerk.look()
            assert len(clerk.opened().state.present_files()) == 2
            assert await clerk.alerts() == []


async def test_a_file_that_has_gone_meanwhile_is_told(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(tickets, "ADMISSION_SECONDS", 0.01)
    async with running(tmp_path / "office") as office, running(tmp_path / "clerk") as clerk:
        await founded(office)
        ticket = await invited(office)
        path = clerk.file("a.ecf", V1)
        await clerk.service.subscribe(ticket, None, path, "invoicing")
        (clerk.desk / "a.ecf").unlink()
        async with linked(office, clerk):
            await in_step(office, clerk)
            await clerk.service.resume()
        assert "attach-failed" in await clerk.alerts()
        assert await clerk.store.setting(f"attach-later:{clerk.opened().id.hex()}") is None
