"""Which programs' files a mandate takes (B-VAL-1), which devices are newer than this (B-VAL-2).

A mandate without a policy takes everything. What a policy refuses is neither shared nor taken up
nor migrated until the program or the policy is another one; reading is never kept from anybody.
"""

import re
from collections.abc import Iterator, Set
from typing import Any

from p2psync.core.files import FileState
from p2psync.core.mandate import Mandate
from p2psync.core.ops import Policy
from p2psync.errors import (
    ProgramRefused,
    ProgramTooOld,
    ProgramTrial,
    ProgramUnknown,
    ProgramWithoutUpdates,
)
from p2psync.node import views
from p2psync.node.notices import Notices
from p2psync.node.opened import Opened

Json = dict[str, Any]
REFUSABLE = ("trial", "no-updates", "unknown")
"""States of a licence that a policy may refuse."""
BEFORE = frozenset(("dev", "snapshot", "nightly", "alpha", "beta", "preview", "pre", "rc"))
"""Words for what comes before the version that they follow: ``16.2 beta`` is older than 16.2."""
PROGRAM_TEXTS = {
    "other-protocol": "this p2psync and the one there are too far apart to sync; bring both up to "
    "date",
    "newer": "a newer p2psync writes there what this one does not understand; bring this one up "
    "to date",
}
_PARTS = re.compile(r"[0-9]+|[^\W\d_]+")


def version_key(version: str) -> tuple[tuple[int, int, str], ...]:
    """Return what versions are compared by, as people read them.

    A version is its numbers and words in order; what stands between them does not count, nor
    does case, nor a ``v`` in front. Numbers compare as numbers (16.10 after 16.9) and come after
    words; a part that is missing counts as 0 (16.2 is 16.2.0). A word makes a version later
    (16.2a after 16.2), but one of ``BEFORE`` makes it earlier (16.2rc1 before 16.2).
    """
    parts = _PARTS.findall(version.casefold())
    if len(parts) > 1 and parts[0] == "v":
        parts = parts[1:]
    key: list[tuple[int, int, str]] = []
    for part in parts:
        if part.isdecimal():
            key.append((2, int(part), "") if int(part) else _ZERO)
        elif part in BEFORE:
            _drop_zeros(key)
            key.append((0, 0, part))
        else:
            key.append((2, 0, part))
    _drop_zeros(key)
    return (*key, _ZERO)


def _drop_zeros(key: list[tuple[int, int, str]]) -> None:
    while key and key[-1] == _ZERO:
        key.pop()


_ZERO = (1, 0, "")
"""What is missing, and the number 0: after every word of ``BEFORE``, before everything else."""


def older(version: str, than: str) -> bool:
    """Whether a version comes before another one."""
    return version_key(version) < version_key(than)


# -- what is wrong ----------------------------------------------------------------------------


def faults(state: Mandate, file: FileState) -> list[tuple[ProgramRefused, bool]]:
    """Say what is wrong with the program that writes a file, and whether the policy refuses it."""
    policy = state.standing.policy
    said = None if file.program is None else file.program[2]
    licence = "unknown" if said is None else said.licence
    params = {
        "file": file.info.name,
        "mandate": state.name,
        "program": "" if said is None else said.program,
        "version": "" if said is None else said.version,
    }
    out: list[tuple[ProgramRefused, bool]] = []
    match licence:
        case "trial":
            out.append((ProgramTrial(**params), policy is not None and policy.trial))
        case "no-updates":
            error = ProgramWithoutUpdates(**params)
            out.append((error, policy is not None and policy.no_updates))
        case "unknown" if policy is not None and policy.unknown:
            # Other files may come from any program, and most of those know nothing of p2psync.
            if said is not None or file.info.kind != "other":
                out.append((ProgramUnknown(**params), True))
        case _:
            pass
    if said is not None and policy is not None:
        for minimum in policy.minimums:
            same = minimum.program.casefold() == said.program.casefold()
            if same and older(said.version, minimum.version):
                out.append((ProgramTooOld(**params, minimum=minimum.version), True))
    return out


def refused(state: Mandate, file: FileState) -> ProgramRefused | None:
    """Return why the policy refuses a file; ``None`` when it takes it."""
    if state.standing.policy is None or file.added is None:
        return None
    return next((error for error, refuses in faults(state, file) if refuses), None)


def check(opened: Opened, file: FileState) -> None:
    """Raise why the policy refuses a file: before it is migrated, replaced, taken up."""
    error = refused(opened.state, file)
    if error is not None:
        raise error


def refused_files(opened: Opened) -> Iterator[tuple[FileState, ProgramRefused]]:
    """Yield the attached files that the policy refuses, with the cause."""
    if opened.state.standing.policy is None:
        return
    for file in opened.state.present_files():
        error = refused(opened.state, file)
        if error is not None:
            yield file, error


def check_all(opened: Opened) -> None:
    """Raise why the policy refuses a file of a mandate: before it is shared with more people."""
    for _, error in refused_files(opened):
        raise error


def tell(notices: Notices, opened: Opened) -> None:
    """Raise and settle the alerts for the files of a mandate (the policy or a program changed)."""
    found = {file.id: (file, error) for file, error in refused_files(opened)}
    for file_id in opened.state.files:
        key = f"program-refused:{file_id.hex()}"
        if file_id not in found:
            notices.settle("program-refused", mandate=opened.id, key=key)
            continue
        file, error = found[file_id]
        notices.alert(
            "program-refused",
            error,
            mandate=opened.id,
            file=file.info.name,
            action="update-program",
            key=key,
        )


# -- what is shown ----------------------------------------------------------------------------


def programs(opened: Opened, incompatible: Set[bytes]) -> list[Json]:
    """Each file's program and its problems, and each device whose p2psync is newer than this one
    or ``incompatible`` with it: "learn more".
    """
    state = opened.state
    out: list[Json] = []
    names = opened.names()
    for file in opened.listed():
        wrong = faults(state, file)
        if file.program is None and not wrong:
            continue
        said = None if file.program is None else file.program[2]
        out.append(
            {
                "file": names[file.id],
                "device": views.person(state, file.device),
                "program": None if said is None else said.program,
                "version": None if said is None else said.version,
                "licence": "unknown" if said is None else said.licence,
                "refused": any(refuses for _, refuses in wrong),
                "problems": [
                    {
                        "code": error.code,
                        "refused": refuses,
                        "template": error.template,
                        "params": error.params,
                        "text": error.text,
                        "hint": {
                            "text": error.hint,
                            "template": error.hint_template,
                            "params": error.params,
                        },
                    }
                    for error, refuses in wrong
                ],
            }
        )
    strange = [(device, "newer") for device in sorted(state.newer)]
    known = sorted(incompatible & state.membership.members.keys())
    for device, code in (*strange, *((each, "other-protocol") for each in known)):
        template = PROGRAM_TEXTS[code]
        problem = {"code": code, "refused": False, "template": template, "params": {}}
        out.append(
            {
                "file": None,
                "device": views.person(state, device),
                "program": "p2psync",
                "version": None,
                "licence": "valid",
                "refused": False,
                "problems": [{**problem, "text": template, "hint": None}],
            }
        )
    return out


def program_view(file: FileState) -> Json | None:
    """The program that registered for a file."""
    if file.program is None:
        return None
    said = file.program[2]
    return {"name": said.program, "version": said.version, "licence": said.licence}


def policy_view(policy: Policy | None) -> Json:
    """A policy as the API hands it out; one that nobody set refuses nothing."""
    if policy is None:
        return {"refuse": [], "minimums": {}}
    chosen = (policy.trial, policy.no_updates, policy.unknown)
    return {
        "refuse": [word for word, on in zip(REFUSABLE, chosen, strict=True) if on],
        "minimums": {each.program: each.version for each in policy.minimums},
    }
