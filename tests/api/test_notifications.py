"""Alerts, messages, hooks and promises over the local API (B-NOT-3)."""

from typing import Any

import pytest

from p2psync import limits
from tests.api.test_events import reading, until
from tests.api.test_server import error_of, running


async def test_the_stream_gives_some_types_or_one_severity_only() -> None:
    async with running() as api:
        for number, severity in enumerate(("message", "alert", "message"), 1):
            kind = "link-broken" if severity == "alert" else "records-waiting"
            api.service.raise_event(f"event {number}", severity=severity, type=kind)
        for query in ("severity=alert", "type=link-broken", "type=link-broken&severity=alert"):
            async with reading(api, f"/v1/events?since=0&{query}") as reader:
                assert [number for number, _ in await reader.take(1)] == [2]
        both = "type=link-broken&type=records-waiting"
        async with reading(api, f"/v1/events?since=0&{both}") as reader:
            assert [number for number, _ in await reader.take(3)] == [1, 2, 3]


async def test_a_type_that_is_none_is_refused_while_the_answer_can_be_an_error() -> None:
    async with running() as api:
        answer = await api.client.get("/v1/events?type=link-brokn")
        assert answer.status_code == 400
        assert error_of(answer)["code"] == "event-type-unknown"
        assert (await api.client.get("/v1/events?severity=loud")).status_code == 400
        many = "&".join(["type=x"] * (limits.HOOK_EVENTS_MAX + 1))
        assert (await api.client.get(f"/v1/events?{many}")).status_code == 400


async def test_passing_news_come_whatever_is_asked_for() -> None:
    async with running() as api, reading(api, "/v1/events?type=link-broken") as reader:
        await until(lambda: api.service.listeners == 1)
        api.service.raise_event("not asked for")
        api.service.raise_event("asked for", type="link-broken", severity="alert")
        assert [event["text"] for _, event in await reader.take(1)] == ["asked for"]


async def test_the_history_comes_in_pages() -> None:
    async with running() as api:
        for number in range(3):
            api.service.raise_event(f"event {number}")
        answer = (await api.client.get("/v1/messages?limit=2")).json()
        assert [event["text"] for event in answer["messages"]] == ["event 2", "event 1"]
        assert answer["more"] is True
        await api.client.get("/v1/messages?before=9&type=a&type=b&severity=alert&mandate=Acme")
        assert api.service.calls[-1] == ("messages", "Acme", 9, 100, ["a", "b"], "alert")
        for wrong in ("limit=0", "limit=1001", "before=-1", "severity=x"):
            assert (await api.client.get(f"/v1/messages?{wrong}")).status_code == 400


async def test_all_alerts_are_closed_at_once() -> None:
    async with running() as api:
        for number in range(3):
            api.service.raise_event(f"alert {number}", severity="alert")
        assert (await api.client.delete("/v1/alerts/2")).json() == {"id": 2, "closed": True}
        assert (await api.client.delete("/v1/alerts")).json() == {"closed": 2}
        assert (await api.client.get("/v1/alerts")).json() == {"alerts": []}


async def test_a_hook_is_added_in_the_readers_language() -> None:
    async with running() as api:
        body = {"events": ["posted"], "command": ["ring", ""]}
        answer = await api.client.post(
            "/v1/hooks", json=body, headers={"Accept-Language": "fr-CH, en;q=0.5"}
        )
        assert answer.status_code == 201
        assert api.service.calls[-1] == (
            *("hook_add", None, ["posted"], ["ring", ""]),
            *(None, None, False, "fr"),
        )
        assert (await api.client.get("/v1/hooks")).json()["hooks"][0]["id"] == 1
        assert (await api.client.post("/v1/hooks/1/test")).json()["text"] == "exit code 3"
        assert (await api.client.delete("/v1/hooks/1")).json() == {"id": 1, "removed": True}
        assert (await api.client.delete("/v1/hooks/1")).status_code == 400


@pytest.mark.parametrize(
    "body",
    [
        {},
        {"events": []},
        {"events": ["x"] * 65, "command": ["ring"]},
        {"events": ["x" * 101], "command": ["ring"]},
        {"events": ["x"], "command": []},
        {"events": ["x"], "command": ["ring"] * 65},
        {"events": ["x"], "url": ""},
        {"events": ["x"], "url": "https://x/" + "y" * 5000},
        {"events": ["x"], "command": "ring"},
        {"events": ["x"]},
        {"events": ["x"], "command": ["ring"], "url": "https://x/"},
        {"events": ["x"], "command": ["ring"], "shell": True},
    ],
    ids=str,
)
async def test_what_is_no_hook_does_not_reach_the_node(body: dict[str, Any]) -> None:
    async with running() as api:
        answer = await api.client.post("/v1/hooks", json=body)
        assert answer.status_code == 400
        assert api.service.calls == []


async def test_a_promise_is_a_number_of_seconds() -> None:
    async with running() as api:
        await api.client.post("/v1/mandates", json={"name": "Acme"})
        path = "/v1/mandates/Acme/files/%2Fhome%2Fsales.ecf/expectation"
        said = {"file": "/home/sales.ecf", "expect_seconds": 60}
        assert (await api.client.put(path, json={"seconds": 60})).json() == said
        for seconds in (-1, limits.EXPECTED_SECONDS_MAX + 1, "60", None):
            assert (await api.client.put(path, json={"seconds": seconds})).status_code == 400


async def test_the_desktop_tells_why_not() -> None:
    async with running() as api:
        answer = (await api.client.get("/v1/desktop")).json()
        assert answer == {"desktop": "off", "cause": "there is no desktop"}
        refused = await api.client.put("/v1/desktop", json={"desktop": True})
        assert (refused.status_code, error_of(refused)["code"]) == (503, "desktop-missing")
        assert (await api.client.put("/v1/desktop", json={"desktop": False})).status_code == 200
