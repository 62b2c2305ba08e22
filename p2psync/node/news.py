"""What people are told of what happened in a mandate: each kind of news in its words."""

from collections.abc import Iterable

from p2psync.core import clock
from p2psync.core.changes import RelayNamed
from p2psync.core.files import FileState
from p2psync.core.words import key_phrase
from p2psync.engine.effects import Warn
from p2psync.limits import CLOCK_APART_MS_MAX
from p2psync.node import views
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened


def warn(notices: Notices, opened: Opened | None, effect: Warn) -> None:
    """Something odd about a device or a peer that a person should hear of."""
    who = views.person(opened.state, effect.device) if opened and effect.device else "?"
    texts = {
        "forked-log": "two histories of one device ({who}) exist: its machine was cloned or "
        "restored; nothing that it wrote is lost",
        "log-behind": "this machine was restored from an older state; it goes on with a "
        "new log, nothing is lost",
        "peer-complains": "the machine of {who} could not read what this one sent and ended "
        "the link; bring p2psync up to date on both",
        "content-invalid": "{who} saved a version ({detail}) whose content cannot be put "
        "together; the versions before it are kept",
    }
    template = texts.get(effect.code, "a peer made a mistake: {detail}")
    # Not by what the peer says: it could make any number of alerts.
    detail = effect.detail if effect.code in ("forked-log", "content-invalid") else ""
    notices.alert_text(
        effect.code if effect.code in texts else "peer-mistake",
        template,
        mandate=effect.mandate,
        device=effect.device,
        key=f"{effect.code}:{(effect.device or b'').hex()}:{detail}",
        who=who,
        detail=effect.detail,
    )


def other_protocol(notices: Notices, mandates: Iterable[Opened], device: bytes) -> None:
    """B-VAL-2: a member's p2psync and this one do not understand each other."""
    shared = [each for each in mandates if each.replica.is_member(device)]
    if shared:
        notices.alert_text(
            "other-protocol",
            "the p2psync of {who} and this one are too far apart to sync; bring both up to date",
            key=f"other-protocol:{device.hex()}",
            device=device,
            who=views.person(shared[0].state, device),
        )


def file_added(notices: Notices, opened: Opened, file: FileState) -> None:
    """A file was attached."""
    notices.message(
        "file-attached",
        "{who} attached {file}",
        mandate=opened.id,
        file=file.info.name,
        device=file.device,
        who=views.person(opened.state, file.device),
    )


def member_joined(notices: Notices, opened: Opened, device: bytes) -> None:
    """Somebody was let in; the key phrase is to be compared aloud (B-ID-2)."""
    if device == opened.state.founder:
        return
    notices.message(
        "member-joined",
        "{who} joined {name} (key phrase: {phrase})",
        mandate=opened.id,
        device=device,
        who=views.person(opened.state, device),
        name=opened.name,
        phrase=key_phrase(device),
    )


def member_removed(notices: Notices, opened: Opened, device: bytes, by: bytes) -> None:
    """B-ID-3: what a device writes from now on does not count, and it is served nothing."""
    waiting = opened.state.quarantined.get(device, 0)
    notices.alert_text(
        "member-removed",
        "{by} removed {who} ({machine}) from {name}: what it writes from now on does not count, "
        "and new changes are sealed with a key that it does not have",
        mandate=opened.id,
        device=device,
        key=f"member-removed:{device.hex()}",
        data={"by": by.hex(), "quarantined": waiting},
        by=views.person(opened.state, by),
        who=views.person(opened.state, device),
        machine=views.machine(opened.state, device),
        name=opened.name,
    )


def member_readmitted(notices: Notices, opened: Opened, device: bytes) -> None:
    """B-ID-3: the removal of a device was undone."""
    notices.message(
        "member-readmitted",
        "{who} ({machine}) is a member of {name} again, and all that it wrote counts",
        mandate=opened.id,
        device=device,
        who=views.person(opened.state, device),
        machine=views.machine(opened.state, device),
        name=opened.name,
    )


def removed_by_others(notices: Notices, opened: Opened, by: bytes, at_ms: int) -> None:
    """B-ID-3: this device was removed, as a signed entry shows."""
    notices.alert_text(
        "removed-by-others",
        "{by} removed this device from {name} on {when}: its files stay as they are, what is saved "
        "here from now on does not reach the others",
        mandate=opened.id,
        device=by,
        key="removed-by-others",
        by=views.person(opened.state, by),
        name=opened.name,
        when=views.iso(at_ms)[:10],
    )


def said_to_be_removed(notices: Notices, opened: Opened, by: bytes) -> None:
    """A member says that this device was removed, and nothing here can tell by whom."""
    notices.alert_text(
        "removed-by-others",
        "the machine of {who} says that this device was removed from {name}: ask who is right",
        mandate=opened.id,
        device=by,
        key=f"removed-by-others:{by.hex()}",
        who=views.person(opened.state, by),
        name=opened.name,
    )


def mandate_shared(notices: Notices, opened: Opened, device: bytes) -> None:
    """B-MAN-4: others may subscribe from now on."""
    notices.message(
        "mandate-shared",
        "{who} shared {name}: others may subscribe",
        mandate=opened.id,
        device=device,
        who=views.person(opened.state, device),
        name=opened.name,
    )


def mandate_renamed(notices: Notices, opened: Opened, device: bytes, before: str) -> None:
    """The mandate has another name."""
    notices.message(
        "mandate-renamed",
        "{who} renamed {before} to {name}",
        mandate=opened.id,
        who=views.person(opened.state, device),
        before=before,
        name=opened.name,
    )


def program_registered(notices: Notices, opened: Opened, file_id: bytes) -> None:
    """B-VAL-1: a program said that it writes a file."""
    file = opened.state.files.get(file_id)
    if file is None or file.added is None or file.program is None:
        return
    said = file.program[2]
    notices.message(
        "program-registered",
        "{program} {version} writes {file} (licence: {licence})",
        mandate=opened.id,
        file=file.info.name,
        program=said.program,
        version=said.version,
        licence=said.licence,
    )


def relay_named(notices: Notices, opened: Opened, change: RelayNamed, relay: str) -> None:
    """B-NET-2: somebody said which relay all members use, where it is, or that it is not used."""
    notices.message(
        "relay-changed",
        "{who} took the relay {relay} out of {name}: its members use it no more"
        if not change.used
        else "{who} gave another address or token for the relay {relay} of {name}"
        if change.known
        else "{who} named the relay {relay} for all members of {name}",
        mandate=opened.id,
        device=change.device,
        who=views.person(opened.state, change.device),
        relay=relay,
        name=opened.name,
    )


def policy_changed(notices: Notices, opened: Opened) -> None:
    """B-VAL-1: other programs' files are refused than before."""
    notices.message(
        "policy-changed",
        "{name} has another policy for programs: see p2psync program policy",
        mandate=opened.id,
        name=opened.name,
    )


def clock_seen(notices: Notices, opened: Opened, device: bytes, hlc: int, wall_ms: int) -> None:
    """Nothing comes from the future: tell that a clock is wrong, there or here (B-NOT-1).

    Only a time that a clock showed counts, not one that merely follows on what came before it.
    """
    if not clock.was_shown(hlc):
        return
    shown = clock.milliseconds(hlc)
    key = f"clock-wrong:{device.hex()}"
    if shown - wall_ms <= CLOCK_APART_MS_MAX:
        notices.settle("clock-wrong", mandate=opened.id, key=key)
        return
    notices.alert_text(
        "clock-wrong",
        "the clock of {who} or of this machine is wrong: it showed {theirs} there and {ours} "
        "here (UTC); nothing is lost, but times and the last writer go by clocks: set it right",
        mandate=opened.id,
        device=device,
        key=key,
        who=views.person(opened.state, device),
        theirs=views.iso(shown)[:16].replace("T", " "),
        ours=views.iso(wall_ms)[:16].replace("T", " "),
    )


def newer_version(notices: Notices, opened: Opened) -> None:
    """B-VAL-2: somebody uses a p2psync that says what this one does not know."""
    notices.alert_text(
        "newer-version",
        "a newer p2psync wrote to {name}; bring this one up to date",
        mandate=opened.id,
        key="newer-version",
        name=opened.name,
    )
