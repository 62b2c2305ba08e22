"""B-HIS-2: the signed history, exported and verified by who has only the export."""

import json
import subprocess
import sys
from decimal import Decimal
from pathlib import Path

import pytest
import trio

from p2psync.audit.account import account
from p2psync.audit.verify import Verification, Wanted, read_heads, verify
from p2psync.errors import FileInMandateFolder, IdentityLocked, NotOverwritten
from tests.audit.book import SCRIPT
from tests.node.rig import CRP, V1, V2, Machine, founded, in_step, linked, running
from tests.rules.offices import meet, office


async def exported(
    machine: Machine, name: str = "x", *, keys: bool = True, contents: bool = False
) -> Path:
    path = machine.root / f"{name}.p2psync-audit"
    said = await machine.service.audit_export("Books", str(path), keys, contents)
    assert said["path"] == str(path) and said["sealed"] is not keys
    return path


async def looked(path: Path, wanted: Wanted | None = None) -> Verification:
    return await trio.to_thread.run_sync(lambda: verify(path, wanted or Wanted(), records=True))


async def small(path: Path, *words: str) -> int:
    """Run the small verifier as its reader would."""
    ran = await trio.run_process(
        [sys.executable, str(SCRIPT), str(path), *words], capture_stdout=True, check=False
    )
    return ran.returncode


async def test_b_his_2_the_export_tells_who_wrote_what_and_holds(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await anna.service.post("Books", [], None)
        await meet(anna, ben)
        ben.file("a.ecf", V2)
        await ben.look()
        await meet(anna, ben)
        path = await exported(anna, contents=True)
        mandate = anna.opened().id
    found = await looked(path, Wanted(mandate))
    assert found.verified and found.exit_code == 0
    assert {"unchanged", "chains", "closed", "mandate", "contents"} <= {
        each.code for each in found.proven
    }
    told = account(found)
    assert [(each.name, each.role, each.admitted_by) for each in told.members] == [
        ("Anna", "owner", ""),
        ("Ben", "writer", "Anna"),
    ]
    assert [(each.name, each.versions, each.records) for each in told.files] == [
        ("a.ecf", 2, 8),
        ("atelier_2025.crp", 1, None),
    ]
    assert [(each.by, each.file) for each in told.versions] == [
        ("Anna", "atelier_2025.crp"),
        ("Ben", "a.ecf"),
        ("Ben", "a.ecf"),
    ]
    [receipt] = told.receipts
    assert (receipt.by, receipt.files, receipt.added, receipt.deleted) == ("Anna", ("a.ecf",), 7, 0)
    assert receipt.amounts_added == {"": Decimal("7405.81")}
    assert await small(path, mandate.hex()) == 0
    assert await small(path, "00" * 32) == 1


async def test_b_his_2_every_member_can_export_and_both_hold_the_same(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, ben):
        await meet(anna, ben)
        one, other = await exported(anna), await exported(ben)
    heads = read_heads(one)
    assert heads == read_heads(other) != []
    found = await looked(other, Wanted(heads=heads))
    assert found.verified
    assert "heads" in {each.code for each in found.proven}


async def test_b_his_2_what_an_exporter_does_not_have_shows_against_anothers_heads(
    tmp_path: Path,
) -> None:
    async with office(tmp_path) as (anna, ben):
        await meet(anna, ben)
        before = await exported(anna, "before")
        ben.file("a.ecf", V2)
        await ben.look()
        after = await exported(ben, "after")
    assert (await looked(after, Wanted(heads=read_heads(before)))).verified
    found = await looked(before, Wanted(heads=read_heads(after)))
    assert found.sound and found.exit_code == 3
    assert [each.code for each in found.requests] == ["head-missing"]


async def test_b_his_2_without_keys_it_holds_and_nobody_reads_it(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, _ben):
        path = await exported(anna, keys=False)
        key = anna.opened().replica.epoch_key
    data = path.read_bytes()
    assert key not in data and b"Anna" not in data and b"atelier" not in data
    found = await looked(path)
    assert found.verified and found.state is None
    assert "sealed" in {each.code for each in found.unproven}
    assert await small(path) == 0


async def test_b_his_2_the_content_of_whole_files_goes_along_when_asked(tmp_path: Path) -> None:
    async with running(tmp_path / "anna") as anna:
        await founded(anna)
        big = bytes(range(256)) * 2000
        await anna.service.attach("Books", [anna.file("a.pdf", big)], "other", None, None)
        await anna.rest()
        without, along = await exported(anna, "one"), await exported(anna, "two", contents=True)
    assert CRP not in without.read_bytes()
    assert CRP in along.read_bytes()
    found = await looked(along)
    assert found.verified and len(found.check.contents) == 2
    assert "no-contents" in {each.code for each in (await looked(without)).unproven}


async def test_b_his_2_an_export_overwrites_nothing_and_is_private(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, _ben):
        path = await exported(anna)
        assert path.stat().st_mode & 0o777 == 0o600
        before = path.read_bytes()
        with pytest.raises(NotOverwritten):
            await exported(anna)
        inside = str(anna.opened().folder / "x.p2psync-audit")
        with pytest.raises(FileInMandateFolder):
            await anna.service.audit_export("Books", inside, True, False)
        await anna.service.identity_lock("correct horse battery")
        with pytest.raises(IdentityLocked):
            await exported(anna, "other")
    assert path.read_bytes() == before
    assert [each.name for each in anna.root.iterdir() if "p2psync-audit" in each.name] == [
        path.name
    ]


async def test_b_his_2_a_file_from_another_machine_needs_no_home(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, _ben):
        path = await exported(anna)
        mandate = anna.opened().id.hex()
    words = ("audit", "verify", str(path), "--mandate", mandate, "--json")
    home = tmp_path / "nowhere"
    ran = subprocess.run(  # noqa: ASYNC221 - nothing else is to go on meanwhile
        [sys.executable, "-m", "p2psync", "--home", str(home), *words],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert ran.returncode == 0, ran.stderr
    said = json.loads(ran.stdout)
    assert said["verified"] and said["name"] == "Books" and said["problems"] == []
    assert not home.exists()


async def test_b_his_2_a_log_that_was_opened_anew_is_covered(tmp_path: Path) -> None:
    """B-ID-4: a restored machine goes on in a new log; both are in the file."""
    async with office(tmp_path) as (anna, ben):
        async with linked(anna, ben):
            effects = ben.opened().replica.close_log()
            await ben.node.runner.hand_in(effects).wait()
            ben.file("a.ecf", V2)
            await ben.look()
            await in_step(anna, ben)
        path = await exported(anna)
    found = await looked(path)
    assert found.verified and len(found.check.logs) == 3
    assert [each.incarnation for each in found.check.logs.values()].count(1) == 1


async def test_b_his_2_v1_lines_are_read_from_the_file_alone(tmp_path: Path) -> None:
    async with office(tmp_path) as (anna, _ben):
        path = await exported(anna)
    found = await looked(path)
    assert found.state is not None
    [file] = [each for each in found.state.files.values() if each.info.name == "a.ecf"]
    assert file.segments.emit() == V1


async def test_b_his_2_after_a_removal_the_file_has_the_keys_of_both_epochs(tmp_path: Path) -> None:
    """B-ID-3: what the removed device wrote before counts; what it writes later does not come."""
    async with office(tmp_path) as (anna, ben):
        await meet(anna, ben)
        await anna.service.member_remove("Books", "Ben")
        anna.file("atelier_2025.crp", CRP + b"\r\n")
        await anna.look()
        path = await exported(anna)
        sealed = await exported(anna, "sealed", keys=False)
        own = await exported(ben, "own")
    for found in (verify(path, Wanted()), await looked(path)):
        assert found.verified, [each.text for each in found.check.problems]
        assert len(found.check.keys) == 2 and found.state is not None
        assert len(found.state.membership.members) == 1
    told = account(await looked(path))
    assert [(each.name, bool(each.removed), each.removed_by) for each in told.members] == [
        ("Anna", False, ""),
        ("Ben", True, "Anna"),
    ]
    [file] = [each for each in told.files if each.name == "a.ecf"]
    assert (file.versions, file.records) == (1, 7)
    assert await small(path) == 0 and await small(sealed) == 0
    # Ben does not know yet; against what Anna has, something is missing.
    assert (await looked(own)).verified
    missed = await looked(own, Wanted(heads=read_heads(path)))
    assert missed.exit_code == 3
