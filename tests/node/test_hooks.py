"""Hooks: real programs and a real HTTP server on loopback (B-NOT-3)."""

import base64
import hashlib
import hmac
import json
import os
import secrets
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
import trio

from p2psync.errors import (
    EventTypeUnknown,
    HookProgramMissing,
    HookSecretBad,
    HooksTooMany,
    HookUnknown,
    HookUrlBad,
    HookUrlPlain,
)
from p2psync.limits import HOOKS_MAX
from p2psync.node import calling
from p2psync.node.calling import check_url, environment, new_secret, read_secret, run_command, sign
from p2psync.node.hooks import RETRY_SECONDS, Hooks
from p2psync.node.notices import Notices
from p2psync.node.store import Store
from p2psync.node.views import iso
from p2psync.storage.database import Database
from tests.fakes.clock import FakeClock
from tests.fakes.receiver import Receiver, answer, receiving, until

SECRET = "whsec_" + base64.b64encode(bytes(range(32))).decode()
WRITE = """
import os, sys, json
env = {k: v for k, v in os.environ.items() if k.startswith("P2PSYNC_")}
told = {"argv": sys.argv[2:], "env": env, "event": json.load(sys.stdin)}
with open(sys.argv[1], "a") as out:
    out.write(json.dumps(told) + "\\n")
"""


@dataclass
class Desk:
    hooks: Hooks
    notices: Notices
    clock: FakeClock
    store: Store

    def tell(self, kind: str = "posted", text: str = "{n}", **params: str) -> None:
        given: dict[str, Any] = {"n": "1", **params}
        self.notices.message(kind, text, **given)

    async def one(self) -> dict[str, Any]:
        await self.notices.kept()
        (hook,) = await self.hooks.all()
        return hook

    async def state(self, state: str) -> dict[str, Any]:
        """The only hook, once it is in a state and nothing is under way."""
        with trio.fail_after(30):
            while (hook := await self.one())["state"] != state:
                await trio.sleep(0.002)
        return hook

    async def url(self, receiver: Receiver, *events: str) -> dict[str, Any]:
        return await self.hooks.add(
            None, events or ("all",), (), receiver.url, SECRET, "en", allow_http=False
        )

    async def command(self, *argv: str, events: tuple[str, ...] = ("all",)) -> dict[str, Any]:
        return await self.hooks.add(None, events, argv, "", "", "en", allow_http=False)

    async def alerts(self) -> list[dict[str, Any]]:
        await self.notices.kept()
        return await self.store.open_alerts(None)


@asynccontextmanager
async def desk(root: Path, clock: FakeClock | None = None) -> AsyncIterator[Desk]:
    clock = clock or FakeClock()
    os.makedirs(root, exist_ok=True)
    with Database.open(root / "p2psync.db") as database:
        store = Store(database)
        notices = Notices(store, lambda: iso(clock.now_ms()))
        hooks = Hooks(store, notices, clock, secrets.token_bytes, root, b"d" * 32)
        async with trio.open_nursery() as nursery:
            await notices.load()
            await hooks.load()
            nursery.start_soon(notices.run)
            nursery.start_soon(hooks.run)
            await trio.testing.wait_all_tasks_blocked()
            with trio.fail_after(60):
                yield Desk(hooks, notices, clock, store)
            nursery.cancel_scope.cancel()


def lines(path: Path) -> list[dict[str, Any]]:
    """What was written so far, in whole lines."""
    said = path.read_text() if path.exists() else ""
    return [json.loads(line) for line in said.splitlines(keepends=True) if line.endswith("\n")]


# -- commands ---------------------------------------------------------------------------------


async def test_a_command_gets_the_event_on_its_input_and_in_its_environment(tmp_path: Path) -> None:
    script, out = tmp_path / "write.py", tmp_path / "out"
    script.write_text(WRITE)
    async with desk(tmp_path / "home") as here:
        await here.command(sys.executable, str(script), str(out), "a word", "$HOME", "*")
        here.tell(text="{who} posted", who="Anna", file="sales.ecf")
        await until(lambda: bool(lines(out)))
        (told,) = lines(out)
        assert told["argv"] == ["a word", "$HOME", "*"]  # no shell read them
        assert told["event"]["text"] == "Anna posted"
        assert told["event"]["id"] == 1
        assert "template" not in told["event"]
        assert told["env"] == {
            "P2PSYNC_HOME": str(tmp_path / "home"),
            "P2PSYNC_EVENT_ID": "1",
            "P2PSYNC_EVENT_TYPE": "posted",
            "P2PSYNC_EVENT_SEVERITY": "message",
            "P2PSYNC_FILE": "sales.ecf",
        }
        assert (await here.state("ok"))["last"]["ok"] is True


async def test_what_others_write_is_never_an_argument_nor_a_line_of_a_shell(
    tmp_path: Path,
) -> None:
    script, out = tmp_path / "write.py", tmp_path / "out"
    script.write_text(WRITE)
    nasty = "a\0b; touch /tmp/x `id` $(id) \n\x1b[31m" + "x" * 9000
    async with desk(tmp_path / "home") as here:
        await here.command(sys.executable, str(script), str(out))
        here.tell(text="{who}", who=nasty, file=nasty)
        await until(lambda: bool(lines(out)))
        (told,) = lines(out)
        assert told["argv"] == []
        assert told["event"]["text"] == nasty
        assert told["env"]["P2PSYNC_FILE"] == nasty.replace("\0", "")[:4096]


async def test_only_the_events_that_a_hook_chose_come_in_order(tmp_path: Path) -> None:
    script, out = tmp_path / "write.py", tmp_path / "out"
    script.write_text(WRITE)
    async with desk(tmp_path / "home") as here:
        here.tell()  # before it was added
        await here.notices.kept()
        command = (sys.executable, str(script), str(out))
        await here.command(*command, events=("posted", "alerts"))
        mandate = bytes(32)
        await here.hooks.add(mandate, ["all"], command, "", "", "en", allow_http=False)
        here.tell("member-joined")
        here.tell("posted", n="first")
        here.notices.alert_text("no-room", "no room", key="no-room")
        here.tell("posted", n="last")
        await until(lambda: len(lines(out)) == 3)
        kinds = [told["event"]["type"] for told in lines(out)]
        assert kinds == ["posted", "no-room", "posted"]
        here.notices.message("unposted", "gone", mandate=mandate)
        await until(lambda: len(lines(out)) == 4)
        assert lines(out)[-1]["event"]["mandate"] == mandate.hex()


async def test_a_failing_command_is_shown_and_not_run_again(tmp_path: Path) -> None:
    script = tmp_path / "fail.py"
    script.write_text("import sys; print('no paper'); sys.exit(3)")
    async with desk(tmp_path / "home") as here:
        await here.command(sys.executable, str(script))
        here.tell()
        hook = await here.state("failing")
        assert hook["last"]["text"] == "exit code 3: no paper"
        assert (hook["failures"], hook["lost"], hook["waiting"]) == (1, 1, 0)
        assert await here.alerts() == []


async def test_a_failing_hook_raises_one_alert_and_never_hears_of_it(tmp_path: Path) -> None:
    script, out = tmp_path / "fail.py", tmp_path / "out"
    script.write_text(f"import sys, pathlib\nsys.exit(not pathlib.Path({str(out)!r}).exists())")
    async with desk(tmp_path / "home") as here:
        await here.command(sys.executable, str(script))
        for _ in range(6):
            here.tell()
        with trio.fail_after(30):
            while (hook := await here.one())["failures"] < 6:
                await trio.sleep(0.005)
        (alert,) = await here.alerts()
        assert (alert["type"], alert["action"]) == ("hook-failed", "check-hook")
        assert alert["data"] == {"hook": hook["id"]}
        await trio.testing.wait_all_tasks_blocked()
        assert (await here.one())["failures"] == 6  # not called with its own alert
        out.touch()
        here.tell()
        await here.state("ok")
        assert await here.alerts() == []


async def test_a_command_that_hangs_or_floods_is_ended_with_its_children(tmp_path: Path) -> None:
    child = tmp_path / "child"
    hang = (
        "import subprocess, sys, time\n"
        f"p = subprocess.Popen([sys.executable, '-c', 'import time; time.sleep(600)'])\n"
        f"open({str(child)!r}, 'w').write(str(p.pid))\n"
        "time.sleep(600)\n"
    )
    (tmp_path / "hang.py").write_text(hang)
    flood = "import sys\nwhile True: sys.stdout.write('x' * 65536)\n"
    outcome = None

    async def run() -> None:
        nonlocal outcome
        outcome = await run_command([sys.executable, str(tmp_path / "hang.py")], b"{}", os.environ)

    # Ended when the node ends, and after its time, in the same way.
    async with trio.open_nursery() as nursery:
        nursery.start_soon(run)
        await until(lambda: child.exists() and bool(child.read_text()))
        nursery.cancel_scope.cancel()
    await until(lambda: not alive(int(child.read_text())))
    assert outcome is None
    short = await run_command([sys.executable, str(tmp_path / "hang.py")], b"{}", os.environ, 1.0)
    assert (short.ok, short.view()["text"]) == (False, "it was ended after 1 seconds")
    await until(lambda: not alive(int(child.read_text())))
    full = await run_command([sys.executable, "-c", flood], b"{}", os.environ)
    assert full.view()["text"] == "it was ended: it printed more than 1048576 bytes"


def alive(pid: int) -> bool:
    try:
        state = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
    except OSError:
        return False
    return state not in ("Z", "X")


async def test_a_program_that_is_gone_and_one_that_reads_nothing(tmp_path: Path) -> None:
    gone = await run_command([str(tmp_path / "gone")], b"{}", os.environ)
    assert gone.view()["text"].startswith("it cannot be started:")
    deaf = await run_command([sys.executable, "-c", ""], b"x" * 1_000_000, os.environ)
    assert deaf.ok


async def test_a_command_that_ends_is_not_waited_for_because_of_its_children() -> None:
    child = "[sys.executable, '-c', 'import time; time.sleep(9)']"
    code = f"import subprocess, sys; subprocess.Popen({child})"
    with trio.fail_after(8):
        assert (await run_command([sys.executable, "-c", code], b"{}", os.environ)).ok


# -- webhooks -----------------------------------------------------------------------------------


async def test_a_webhook_is_signed_by_the_standard(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver:
        await here.url(receiver)
        here.tell(text="{who} posted", who="Änne")
        (taken,) = await receiver.got(1)
        assert taken.line == "POST /hook HTTP/1.1"
        assert taken.headers["content-type"] == "application/json"
        body = json.loads(taken.body)
        assert (body["type"], body["data"]["text"]) == ("posted", "Änne posted")
        assert body["timestamp"] == body["data"]["at"]
        number, at = taken.headers["webhook-id"], taken.headers["webhook-timestamp"]
        assert int(at) == here.clock.ms // 1000
        signed = f"{number}.{at}.".encode() + taken.body
        expected = base64.b64encode(hmac.digest(bytes(range(32)), signed, hashlib.sha256)).decode()
        assert taken.headers["webhook-signature"] == f"v1,{expected}"
        assert "." not in number
        await here.state("ok")


def test_signatures_are_those_of_the_reference() -> None:
    """The example of the reference libraries of Standard Webhooks."""
    secret = read_secret("whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw")
    signature = sign(secret, "msg_p5jXN8AQM9LWM0D4loKWxJek", 1614265330, b'{"test": 2432232314}')
    assert signature == "v1,g0hM9SsE+OTPJTGt/tmIKtSyZlE3uFJELVlNIOLJ1OE="


async def test_a_failing_webhook_is_tried_again_for_hours_in_order(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver:
        receiver.answers = [answer(503)] * 9
        await here.url(receiver)
        here.tell(n="one")
        here.tell(n="two")
        for tries, seconds in enumerate((*RETRY_SECONDS, RETRY_SECONDS[-1]), 1):
            await receiver.got(tries)
            await until(lambda seconds=seconds: here.clock.sleeps == [seconds])  # type: ignore[misc]  # a lambda with a default
            hook = await here.one()
            assert (hook["state"], hook["failures"], hook["waiting"]) == ("failing", tries, 2)
            assert hook["last"]["text"] == "HTTP 503"
            assert len(await here.alerts()) == (tries >= 5)
            await here.clock.advance(seconds)
        await receiver.got(11)
        texts = [json.loads(taken.body)["data"]["text"] for taken in receiver.requests]
        assert texts == ["one"] * 10 + ["two"]
        ids = [taken.headers["webhook-id"] for taken in receiver.requests]
        assert len(set(ids[:10])) == 1  # the same for each try
        assert ids[10] != ids[0]
        times = [taken.headers["webhook-timestamp"] for taken in receiver.requests]
        assert len(set(times[:10])) == 10  # of the try, not of the event
        with trio.fail_after(30):
            while (await here.state("ok"))["waiting"]:
                await trio.sleep(0.005)
        assert await here.alerts() == []


async def test_what_waits_for_a_webhook_survives_a_restart(tmp_path: Path) -> None:
    clock = FakeClock()
    async with receiving() as receiver:
        receiver.answers = [answer(500), answer(500)]
        async with desk(tmp_path / "home", clock) as here:
            await here.url(receiver)
            here.tell(n="one")
            await receiver.got(1)
            await until(lambda: clock.sleeps == [5])
            here.tell(n="two")
            await here.notices.kept()
        async with desk(tmp_path / "home", clock) as here:
            await until(lambda: clock.sleeps == [5])
            assert len(receiver.requests) == 1  # its rest is kept too
            await clock.advance(5)
            await until(lambda: clock.sleeps == [30])
            await clock.advance(30)
            await receiver.got(4)
            await here.state("ok")
        async with desk(tmp_path / "home", clock) as here:
            here.tell(n="three")
            await receiver.got(5)
            texts = [json.loads(taken.body)["data"]["text"] for taken in receiver.requests]
            assert texts == ["one", "one", "one", "two", "three"]  # no success twice
            assert len({taken.headers["webhook-id"] for taken in receiver.requests}) == 3


async def test_an_event_is_given_up_after_days_or_when_it_is_wrong(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver:
        receiver.answers = [answer(422)] * 3 + [answer(503, "retry-after: 3600"), answer(503)]
        await here.url(receiver)
        here.tell(n="wrong")
        here.tell(n="late")
        for seconds in (5, 30):
            await until(lambda seconds=seconds: here.clock.sleeps == [seconds])  # type: ignore[misc]  # a lambda with a default
            await here.clock.advance(seconds)
        await until(lambda: here.clock.sleeps == [120])
        assert (await here.one())["lost"] == 1  # three times refused
        await here.clock.advance(120)
        await until(lambda: here.clock.sleeps == [3600])  # as the receiver asks
        await here.clock.advance(4 * 24 * 3600)
        await until(lambda: len(receiver.requests) == 5)
        with trio.fail_after(30):
            while (await here.one())["lost"] < 2:
                await trio.sleep(0.005)
        assert (await here.one())["waiting"] == 0


async def test_a_receiver_that_is_gone_switches_its_hook_off(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver:
        receiver.answers = [answer(410)]
        await here.url(receiver)
        here.tell()
        assert (await here.state("off"))["waiting"] == 0
        assert [alert["type"] for alert in await here.alerts()] == ["hook-failed"]
        here.tell()
        await here.notices.kept()
        await trio.testing.wait_all_tasks_blocked()
        assert len(receiver.requests) == 1
    async with desk(tmp_path / "home") as here:
        hook = await here.state("off")
        await here.hooks.remove(hook["id"])
        assert await here.alerts() == []


async def test_a_redirect_is_not_followed_and_an_endless_answer_is_cut(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver, receiving() as other:
        receiver.answers = [
            answer(307, f"location: {other.url}"),
            b"HTTP/1.1 200 OK\r\n\r\n",
        ]
        await here.url(receiver)
        here.tell()
        hook = await here.state("failing")
        assert hook["last"]["text"] == "it leads elsewhere (HTTP 307), which is not followed"
        assert other.requests == []
        receiver.endless = True
        await until(lambda: here.clock.sleeps == [5])
        await here.clock.advance(5)
        await here.state("ok")


async def test_a_receiver_that_cannot_be_reached_is_told(tmp_path: Path) -> None:
    async with receiving() as receiver:
        pass
    async with desk(tmp_path / "home") as here:
        await here.url(receiver)
        here.tell()
        hook = await here.state("failing")
        assert hook["last"]["text"].startswith("it cannot be reached:")
        tested = await here.hooks.test(hook["id"])
        assert tested["ok"] is False


def test_plain_http_goes_to_this_machine_alone() -> None:
    for url in (
        "https://example.org/x",
        "http://127.0.0.1:1/x",
        "http://[::1]/",
        "http://localhost/",
    ):
        assert check_url(url, allow_http=False) == url
    for url in ("http://example.org/", "http://10.0.0.1/", "http://localhost.example.org/"):
        with pytest.raises(HookUrlPlain):
            check_url(url, allow_http=False)
        assert check_url(url, allow_http=True) == url
    for url in (
        *("", "file:///etc/passwd", "ftp://x/", "https://", "https:///x", "https://x y/"),
        *(
            "https://user:pass@example.org/",
            "https://x:99999/",
            "https://x/\r\nHost: y",
            "http://[::1",
        ),
    ):
        with pytest.raises(HookUrlBad) as caught:
            check_url(url, allow_http=True)
        assert "pass@" not in caught.value.text


def test_secrets_are_long_enough_and_made_of_chance() -> None:
    assert read_secret(new_secret(bytes(32))) == bytes(32)
    short = "whsec_" + base64.b64encode(bytes(23)).decode()
    for text in ("", "whsec_", "whsec_%%%", short, SECRET.removeprefix("whsec_"), f"x{SECRET}"):
        with pytest.raises(HookSecretBad):
            read_secret(text)


# -- the commands on hooks ------------------------------------------------------------------------


async def test_a_hook_is_refused_before_anything_changed(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here:
        with pytest.raises(HookProgramMissing):
            await here.command(str(tmp_path / "no-such-program"))
        with pytest.raises(HookProgramMissing):
            await here.command()
        with pytest.raises(EventTypeUnknown):
            await here.command(sys.executable, events=("postd",))
        with pytest.raises(HookSecretBad):
            await here.hooks.add(
                None, ["all"], (), "https://x/", "whsec_short", "en", allow_http=False
            )
        for call in (here.hooks.remove(1), here.hooks.test(1)):
            with pytest.raises(HookUnknown):
                await call
        assert await here.hooks.all() == []
        for _ in range(HOOKS_MAX):
            await here.command(sys.executable)
        with pytest.raises(HooksTooMany):
            await here.command(sys.executable)


async def test_a_made_secret_is_told_once_and_signs(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver:
        made = await here.hooks.add(None, ["all"], (), receiver.url, "", "en", allow_http=False)
        secret = made["secret"]
        assert "secret" not in await here.one()
        assert secret not in repr(here.hooks._running)
        tested = await here.hooks.test(made["id"])
        assert (tested["ok"], tested["text"]) == (True, "done")
        (taken,) = receiver.requests
        number, at = taken.headers["webhook-id"], int(taken.headers["webhook-timestamp"])
        assert taken.headers["webhook-signature"] == sign(
            read_secret(secret), number, at, taken.body
        )
        assert json.loads(taken.body)["type"] == "hook-test"


async def test_a_removed_hook_is_not_called_again_nor_its_number_given(tmp_path: Path) -> None:
    async with desk(tmp_path / "home") as here, receiving() as receiver:
        receiver.answers = [answer(500)]
        first = await here.url(receiver)
        here.tell()
        await until(lambda: here.clock.sleeps == [5])
        await here.hooks.remove(first["id"])
        await until(lambda: here.clock.sleeps == [])
        assert (await here.url(receiver))["id"] > first["id"]


def test_nothing_is_loaded_before_a_webhook_is_called() -> None:
    assert calling.__dict__.get("httpx") is None
    event = {"id": None, "type": "posted", "severity": "message"}
    assert "P2PSYNC_EVENT_ID" not in environment(event, Path("home"))
