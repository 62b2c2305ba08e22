"""Commands on the programs that write files: register one, set which are refused (B-VAL-1)."""

from typing import Any

from p2psync.core.membership import MAY_POST, MAY_WRITE
from p2psync.core.ops import LICENCES, Minimum, Policy, Register
from p2psync.errors import LicenceUnknown, NotAllowed, PolicyInvalid, ProgramInvalid
from p2psync.limits import NAME_BYTES_MAX, POLICY_MINIMUMS_MAX
from p2psync.node import find
from p2psync.node.node import Node
from p2psync.node.validity import REFUSABLE, faults, policy_view, program_view, programs

Json = dict[str, Any]


class Programs:
    """What programs and people say of programs."""

    def __init__(self, node: Node) -> None:
        self._node = node

    def programs(self, mandate: str) -> Json:
        """Each program and its problems."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return {
            "programs": programs(opened, self._node.incompatible),
            "policy": policy_view(opened.state.standing.policy),
        }

    async def register(
        self, mandate: str, file: str, name: str, version: str, licence: str
    ) -> Json:
        """Note the program that writes a file; one that says the same again costs nothing."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        found = find.file(opened, file)
        operation = registration(found.id, name, version, licence)
        node.check_writable()
        if not opened.may_write:
            raise NotAllowed(action="register a program", roles=", ".join(sorted(MAY_WRITE)))
        if found.program is None or found.program[2] != operation:
            await node.author(opened, [operation]).wait()
        wrong = faults(opened.state, found)
        return {
            "file": opened.names().get(found.id, found.info.name),
            **(program_view(found) or {}),
            "refused": any(refuses for _, refuses in wrong),
        }

    def policy(self, mandate: str) -> Json:
        """The policy of a mandate."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return policy_view(opened.state.standing.policy)

    async def set_policy(self, mandate: str, refuse: list[str], minimums: dict[str, str]) -> Json:
        """Set which programs' files are refused; nothing at all takes everything."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        unknown = [word for word in refuse if word not in REFUSABLE]
        if unknown:
            raise LicenceUnknown(licence=unknown[0][:80], licences=", ".join(REFUSABLE))
        if len(minimums) > POLICY_MINIMUMS_MAX:
            raise PolicyInvalid(count=len(minimums), limit=POLICY_MINIMUMS_MAX)
        for name, version in minimums.items():
            check_program(name, version)
        operation = Policy(
            trial="trial" in refuse,
            no_updates="no-updates" in refuse,
            unknown="unknown" in refuse,
            minimums=tuple(Minimum(name, version) for name, version in sorted(minimums.items())),
        )
        node.check_writable()
        role = opened.state.membership.role(node.identity.device)
        if role not in MAY_POST:
            raise NotAllowed(action="set the policy", roles=", ".join(sorted(MAY_POST)))
        before = opened.state.standing.policy or Policy(False, False, False, ())
        if operation != before:
            await node.author(opened, [operation]).wait()
        return policy_view(opened.state.standing.policy)


def registration(file: bytes, name: str, version: str, licence: str) -> Register:
    """Check and return what a program says; raises ``LicenceUnknown``, ``ProgramInvalid``."""
    if licence not in LICENCES:
        raise LicenceUnknown(licence=licence[:80], licences=", ".join(LICENCES))
    check_program(name, version)
    return Register(file, name, version, licence)


def check_program(name: str, version: str) -> None:
    """Raise ``ProgramInvalid`` unless both can be shown and kept."""
    for text in (name, version):
        if not (0 < len(text.encode("utf-8", "replace")) <= NAME_BYTES_MAX and text.isprintable()):
            raise ProgramInvalid(
                name=ascii(name[:80])[1:-1],
                version=ascii(version[:80])[1:-1],
                limit_bytes=NAME_BYTES_MAX,
            )
