"""What doctor says of nodes in tests."""

from collections.abc import Sequence
from typing import Any

import trio

from p2psync.api.doctor import told
from p2psync.node.faults import FAULTS
from tests.node.rig import (
    PATIENCE_SECONDS,
    Machine,
)


async def examined(machine: Machine, mandate: str | None = None) -> list[dict[str, Any]]:
    """What doctor finds, as people read it; every finding has a cause and a next step."""
    await machine.node.notices.kept()
    said = await machine.service.doctor(mandate)
    return checked(said)


def checked(said: dict[str, Any]) -> list[dict[str, Any]]:
    findings = [told(each, "en") for each in said["findings"]]
    for each in findings:
        assert each["text"] and each["hint"] and "{" not in each["text"] + each["hint"]
        assert each["code"] in FAULTS
        state = {check["about"]: check["state"] for check in said["checks"]}[each["about"]]
        assert state in (each["severity"], "fault")
    return findings


async def finding(machine: Machine, code: str) -> dict[str, Any]:
    """The one finding with a code."""
    found = await examined(machine)
    [one] = [each for each in found if each["code"] == code] or [{"none of": found}]
    assert "code" in one, found
    return one


async def until_found(machine: Machine, code: str) -> dict[str, Any]:
    with trio.fail_after(PATIENCE_SECONDS):
        while True:
            found = [each for each in await examined(machine) if each["code"] == code]
            if found:
                return found[0]
            await trio.sleep(0.01)


def codes(findings: Sequence[dict[str, Any]]) -> list[str]:
    return [each["code"] for each in findings]
