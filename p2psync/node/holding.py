"""Saves that were held back (B-HIS-3): who is told, and what a person says of them.

The device that holds a save has its content, so it alone takes it or puts it aside; an accounting
elsewhere answers in the log, and the holding device does so when it meets the answer.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, Literal, assert_never

from p2psync.core.changes import HoldAnswered, SaveHeld
from p2psync.core.files import FileState
from p2psync.core.holding import Held
from p2psync.core.membership import MAY_POST
from p2psync.core.ops import Answer
from p2psync.errors import AnswerElsewhere, NothingHeld
from p2psync.node import find, views
from p2psync.node.closed import check_open
from p2psync.node.copies import Copy
from p2psync.node.opened import Opened

if TYPE_CHECKING:
    from p2psync.node.node import Node

Json = dict[str, Any]
Verdict = Literal["confirmed", "refused"]


class Holding:
    """The saves that devices of this node's mandates hold back."""

    def __init__(self, node: "Node") -> None:
        self._node = node

    # -- telling ------------------------------------------------------------------------------

    def told(self, opened: Opened, change: SaveHeld | HoldAnswered) -> None:
        """Tell people of a held save, or of what becomes of one; do here what was answered."""
        file = opened.state.files.get(change.file)
        if file is None or file.added is None:
            return
        held = next((each for each in file.holds.values() if each.id == change.hold), None)
        if held is None:
            return  # another one took its place
        match change:
            case SaveHeld():
                self._held(opened, file, held)
            case HoldAnswered(device=device):
                self._answered(opened, file, held, device)
            case _:
                assert_never(change)

    def _held(self, opened: Opened, file: FileState, held: Held) -> None:
        own = self._node.identity.device
        self._node.notices.settle_all(opened.id, _key(file, held))
        if held.device == own or not opened.state.membership.may(own, MAY_POST):
            return
        said, state = held.said, opened.state
        self._node.notices.alert_text(
            "deletion-held",
            "{who} ({machine}) saved {file} without most of its content: {deleted} of {before} "
            "records are gone ({amount}), {bytes_before} bytes became {bytes_after}; the save is "
            "held back until somebody confirms or refuses it",
            mandate=opened.id,
            file=views.shown_name(opened, file),
            device=held.device,
            key=f"{_key(file, held)}:{held.name}",
            data=view(opened, file, held),
            who=views.person(state, held.device),
            machine=views.machine(state, held.device),
            deleted=str(said.deleted),
            before=str(said.records_before),
            amount=said.amount or "0.00",
            bytes_before=str(said.bytes_before),
            bytes_after=str(said.bytes_after),
        )

    def _answered(self, opened: Opened, file: FileState, held: Held, device: bytes) -> None:
        node, state = self._node, opened.state
        own = node.identity.device
        node.notices.settle_all(opened.id, _key(file, held))
        done = held.outcome
        if done is None and held.device == own:
            for copy in copies_held(opened, file.id):
                node.shelf.look_at(opened, copy)
        if held.device != own and not state.membership.may(own, MAY_POST):
            return
        if done is not None and held.answer is not None and held.answer.verdict == done.verdict:
            device = held.answer.device
        told = (
            DONE_TEXTS[done.verdict]
            if done is not None
            else ANSWER_TEXTS[held.answers[device].verdict]
        )
        node.notices.message(
            "held-save-ended" if done is not None else "held-save-answered",
            told,
            mandate=opened.id,
            file=views.shown_name(opened, file),
            device=device,
            data=view(opened, file, held),
            who=views.person(state, device),
            machine=views.machine(state, held.device),
        )

    def gone(self, opened: Opened, device: bytes) -> None:
        """A device goes on no more: nobody waits for what it holds back."""
        for file in opened.state.files.values():
            held = file.holds.get(device)
            if held is not None:
                self._node.notices.settle_all(opened.id, _key(file, held))

    # -- commands -----------------------------------------------------------------------------

    def listed(self, mandate: str) -> Json:
        """The saves that wait for a word, on this device and on others; the last first."""
        opened = find.mandate(self._node.opened.values(), mandate)
        every = [
            (held.stamp, view(opened, file, held))
            for file in opened.state.present_files()
            for held in waiting(opened, file)
        ]
        every.sort(key=lambda pair: pair[0], reverse=True)
        return {"held": [each for _, each in every]}

    async def answer(self, mandate: str, name: str, verdict: Verdict) -> Json:
        """Take a held save, or put it aside: here at once, on another device when it hears of it.

        Raises ``NothingHeld``, ``AnswerElsewhere`` when neither the save is here nor this device's
        role may answer for another, ``FileHeldBack`` when what is held is something else by now.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        file = find.file(opened, name)
        shown = views.shown_name(opened, file)
        async with opened.lock:
            copies = copies_held(opened, file.id)
            if copies:
                return await self._here(opened, file, copies, verdict)
            check_open(opened)
            file = opened.state.files[file.id]
            there = [held for held in waiting(opened, file) if held.device != node.identity.device]
            if not there:
                raise NothingHeld(file=shown)
            if not opened.state.membership.may(node.identity.device, MAY_POST):
                raise AnswerElsewhere(
                    file=shown,
                    who=views.person(opened.state, there[0].device),
                    machine=views.machine(opened.state, there[0].device),
                )
            await node.author(
                opened, [Answer(file.id, (held.id,), verdict) for held in there]
            ).wait()
        return {
            "file": shown,
            "verdict": verdict,
            "done": False,
            "held": [view(opened, file, held) for held in there],
            "added": sum(held.said.added for held in there),
            "deleted": sum(held.said.deleted for held in there),
        }

    async def _here(
        self, opened: Opened, file: FileState, copies: list[Copy], verdict: Verdict
    ) -> Json:
        shelf = self._node.shelf
        before = file.pending()
        kept: list[str] = []
        for copy in copies:
            if verdict == "confirmed":
                await shelf.take(opened, copy, confirmed=copy.held)
            else:
                kept.append((await shelf.refuse(opened, copy)).name)
        file = opened.state.files[file.id]
        added, deleted = file.pending()
        answer: Json = {
            "file": views.shown_name(opened, file),
            "verdict": verdict,
            "done": True,
            "added": max(0, added - before[0]),
            "deleted": max(0, deleted - before[1]),
        }
        return answer | {"kept": kept} if kept else answer


def waiting(opened: Opened, file: FileState) -> Iterator[Held]:
    """The saves of a file that devices hold back now; not those of who goes on no more."""
    state = opened.state
    for device in sorted(state.standing.going_on(state.membership.members) & file.holds.keys()):
        held = file.holds[device]
        if held.outcome is None:
            yield held


def copies_held(opened: Opened, file_id: bytes) -> list[Copy]:
    """The copies of a file on this machine whose save waits for a word."""
    return [
        copy for (file, _), copy in sorted(opened.copies.items()) if file == file_id and copy.held
    ]


def view(opened: Opened, file: FileState, held: Held) -> Json:
    """A held save as both sides list it."""
    said, state = held.said, opened.state
    answer = held.answer
    first, last = views.day(said.first), views.day(said.last)
    return {
        "hold": held.name,
        "file": views.shown_name(opened, file),
        "at": views.iso_of(held.hlc),
        "by": views.person(state, held.device),
        "machine": views.machine(state, held.device),
        "device": held.device.hex(),
        "here": held.device == opened.replica.device,
        "deleted": said.deleted,
        "added": said.added,
        "amount": said.amount or None,
        "from": None if first is None else first.isoformat(),
        "to": None if last is None else last.isoformat(),
        "records_before": said.records_before,
        "records_after": said.records_after,
        "bytes_before": said.bytes_before,
        "bytes_after": said.bytes_after,
        "answer": None
        if answer is None
        else {
            "verdict": answer.verdict,
            "at": views.iso_of(answer.hlc),
            "by": views.person(state, answer.device),
            "machine": views.machine(state, answer.device),
        },
    }


DONE_TEXTS = {
    "confirmed": "the save of {file} that {machine} held back was taken: {who} confirmed it",
    "refused": "the save of {file} that {machine} held back was put aside: {who} refused it; the "
    "file is as it was, and history keeps what was refused as a version",
    "withdrawn": "the save of {file} that {machine} held back is gone: {who} saved something else",
}
ANSWER_TEXTS = {
    "confirmed": "{who} confirmed the save of {file} that {machine} holds back: it is taken there",
    "refused": "{who} refused the save of {file} that {machine} holds back: it is put aside there",
}


def _key(file: FileState, held: Held) -> str:
    """What the alerts of one device's holds on a file have in common."""
    return f"held:{file.id.hex()}:{held.device.hex()}"
