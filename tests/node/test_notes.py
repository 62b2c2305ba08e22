"""What is wrong with a file is found out once, and again when what it depends on has changed."""

from pathlib import Path
from typing import Any

import pytest

from p2psync.node import findings
from tests.formats.files import posting
from tests.node.rig import Machine, founded, running

HEAD = b"#FSC\t9.5.0\tECF\r\n"


async def shown(machine: Machine) -> dict[str, Any]:
    """The file as people see it."""
    files = (await machine.service.mandate_show("One"))["files"]
    found: dict[str, Any] = next(each for each in files if each["name"] == "sales.ecf")
    return found


async def test_findings_outlast_a_restart_and_follow_the_content(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[int] = []
    real = findings._find

    def counted(*arguments: object) -> findings.Findings:
        read.append(1)
        return real(*arguments)  # type: ignore[arg-type] # passed on as they are

    monkeypatch.setattr(findings, "_find", counted)
    sales = tmp_path / "sales.ecf"
    sales.write_bytes(HEAD + posting() + b"half a line\r\n")
    async with running(tmp_path) as machine:
        await founded(machine, "One")
        await machine.service.attach("One", [str(sales)], "invoicing", None, None)
        before = await shown(machine)
        assert [each["code"] for each in before["problems"]] == ["field-count"]
        assert len(read) == 1
    async with running(tmp_path) as machine:
        assert await shown(machine) == before
        assert len(read) == 1
        file = next(each for each in machine.opened().state.files.values() if each.records)
        assert not file.loaded
        sales.write_bytes(HEAD + posting())
        machine.node.look_at_all()
        await machine.until(lambda: len(file.versions) == 2)
        assert (await shown(machine))["problems"] == []
        assert len(read) == 2
