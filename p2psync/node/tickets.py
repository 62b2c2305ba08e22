"""Commands that bring devices together: invite, revoke, subscribe."""

import json
from contextlib import suppress
from typing import Any

import trio

from p2psync.core import crypto, ops, ticket, words
from p2psync.core.membership import MAY_GIVE, Invitation
from p2psync.core.ticket import Ticket, TicketPeer
from p2psync.errors import (
    AttachedAlready,
    InvitationUnknown,
    MandateLocal,
    NotAllowed,
    P2PSyncError,
    StorageError,
    SubscribedAlready,
    TicketError,
    TicketUnsealedRefused,
)
from p2psync.limits import TICKET_ADDRESSES_PER_PEER_MAX, TICKET_PEERS_MAX
from p2psync.node import find, validity, views
from p2psync.node.attaching import Wanted, check_kind
from p2psync.node.closed import check_belongs
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import Opened, later_key
from p2psync.node.refusals import refusal
from p2psync.node.runner import wall_ms
from p2psync.storage.rows import MandateRow

Json = dict[str, Any]
ADMISSION_SECONDS = 15.0
"""How long ``subscribe`` waits for a member before it leaves the rest to the node."""


class Tickets:
    """Invitations and subscriptions."""

    def __init__(self, node: Node, mandates: Mandates) -> None:
        self._node = node
        self._mandates = mandates

    # -- inviting -----------------------------------------------------------------------------

    async def invite(
        self,
        mandate: str,
        role: str,
        expires_seconds: int,
        uses: int,
        passphrase: str | None,
        *,
        unsealed: bool,
    ) -> Json:
        """Make a ticket (B-TIC-1, B-TIC-2, B-TIC-3)."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        node.identity.check_unlocked()
        if not opened.shared:
            raise MandateLocal(mandate=opened.name)
        check_belongs(opened)
        validity.check_all(opened)
        own_role = opened.state.membership.role(node.identity.device) or ""
        if role not in MAY_GIVE.get(own_role, frozenset()):
            allowed = sorted(name for name, gives in MAY_GIVE.items() if role in gives)
            raise NotAllowed(action=f"invite with the role {role}", roles=", ".join(allowed))
        if unsealed and passphrase is not None:
            raise TicketUnsealedRefused()
        seed = node.entropy(crypto.SEED_BYTES)
        invitation = crypto.SigningKey.from_seed(seed).public
        expires_ms = wall_ms() + expires_seconds * 1000
        made = Ticket(
            mandate=opened.id,
            genesis=opened.row.genesis or b"",
            epoch_key=opened.replica.epoch_key,
            admission_seed=seed,
            name=opened.name,
            role=role,
            expires_ms=expires_ms,
            uses=uses,
            peers=self._peers(opened),
            relays=node.relays.for_ticket(opened),
        )
        generated = None
        if unsealed:
            data = ticket.encode(made)
        else:
            if passphrase is None:
                passphrase = generated = words.passphrase(node.entropy(32))
            salt = node.entropy(crypto.SALT_BYTES)
            secret = passphrase
            data = await trio.to_thread.run_sync(lambda: ticket.seal(made, secret, salt))
        # Durable before it is handed out: a ticket that no member knows would be worth nothing.
        await node.author(opened, [ops.Invite(invitation, role, expires_ms, uses)]).wait()
        answer: Json = {
            "invitation": invitation.hex()[:16],
            "ticket": data.decode("ascii"),
            "expires": views.iso(expires_ms),
        }
        if generated is not None:
            answer["passphrase"] = generated
        return answer

    def _peers(self, opened: Opened) -> tuple[TicketPeer, ...]:
        node = self._node
        own = TicketPeer(node.identity.device, node.addresses()[:TICKET_ADDRESSES_PER_PEER_MAX])
        others = []
        for device in sorted(opened.state.membership.members):
            addresses = node.engine.known_addresses(device)
            if device != node.identity.device and addresses:
                others.append(TicketPeer(device, addresses[:TICKET_ADDRESSES_PER_PEER_MAX]))
        return (own, *others[: TICKET_PEERS_MAX - 1])

    def invitations(self, mandate: str) -> Json:
        """The invitations of a mandate, newest last."""
        opened = find.mandate(self._node.opened.values(), mandate)
        invitations = sorted(
            opened.state.membership.invitations.values(), key=lambda each: each.expires_ms
        )
        return {"invitations": [self._view(opened, each) for each in invitations]}

    def _view(self, opened: Opened, invitation: Invitation) -> Json:
        members = opened.state.membership
        used = len(members.used_by.get(invitation.id, ()))
        if invitation.id in members.revoked:
            state = "revoked"
        elif invitation.expires_ms <= wall_ms():
            state = "expired"
        elif used >= invitation.uses:
            state = "used-up"
        else:
            state = "open"
        return {
            "id": invitation.id.hex()[:16],
            "role": invitation.role,
            "expires": views.iso(invitation.expires_ms),
            "uses": invitation.uses,
            "used": used,
            "state": state,
        }

    async def revoke(self, mandate: str, text: str) -> Json:
        """Take a ticket back: nobody is admitted with it from now on."""
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        node.check_writable()
        found = [
            each
            for each in opened.state.membership.invitations
            if text and each.hex().startswith(text.lower())
        ]
        if len(found) != 1:
            raise InvitationUnknown(invitation=text, mandate=opened.name)
        await node.author(opened, [ops.Revoke(found[0])]).wait()
        return {"id": found[0].hex()[:16], "state": "revoked"}

    # -- subscribing --------------------------------------------------------------------------

    async def subscribe(
        self, text: str, passphrase: str | None, attach: str | None, kind: str | None
    ) -> Json:
        """Redeem a ticket (B-TIC-4), and attach a file in the same step (B-TIC-5)."""
        node = self._node
        node.check_writable()
        node.identity.check_unlocked()
        data = text.encode("utf-8", "surrogateescape")
        read = await trio.to_thread.run_sync(lambda: ticket.read(data, passphrase))
        ticket.check_expiry(read, wall_ms())
        check_kind(kind or "other")
        paths = await self._mandates.attaching.check_attachable([] if attach is None else [attach])
        opened = node.opened.get(read.mandate)
        came_back = None if opened else await node.removal.resubscribe(read.mandate)
        opened = opened or came_back
        fresh = opened is None
        if opened is None:
            opened = await self._open(read)
        elif opened.replica.is_member(node.identity.device):
            if not paths and came_back is None:
                raise SubscribedAlready(mandate=opened.name)
        elif opened.refused or opened.row.admission_seed != read.admission_seed:
            # An earlier ticket did not let this device in. It begins anew: a log that stands on one
            # which nobody took could never be folded by anyone.
            await node.forget(opened)
            opened = await self._open(read)
            node.notices.settle("ticket-refused", mandate=opened.id, key="ticket-refused")
        try:
            await self._admission(opened)
        except TicketError:
            if fresh:
                with trio.CancelScope(shield=True):
                    await node.forget(opened)
            raise
        answer: Json = {
            "id": opened.id.hex(),
            "name": opened.name,
            "folder": str(opened.folder),
            "state": self._mandates.overview.condition(opened)["state"],
        }
        if paths and opened.replica.is_member(node.identity.device):
            wanted = [Wanted(path, kind or "other") for path in paths]
            await self._mandates.attaching.attach_paths(opened, wanted)
        elif paths:
            # The member who will let this device in is not there now; its person need not wait.
            later = json.dumps({"paths": [str(path) for path in paths], "kind": kind or "other"})
            await node.store.put_setting(later_key(opened), later)
            answer["attach"] = "later"
        return answer

    async def attach_later(self, opened: Opened) -> None:
        """Attach what a subscription asked for, now that this device is let in."""
        with suppress(StorageError):  # then it is tried again at the next start
            await self._attach_later(opened)

    async def _attach_later(self, opened: Opened) -> None:
        node = self._node
        text = await node.store.setting(later_key(opened))
        if not text:
            return
        wanted = json.loads(text)
        try:
            paths = await self._mandates.attaching.check_attachable(wanted["paths"])
            files = [Wanted(path, wanted["kind"]) for path in paths]
            await self._mandates.attaching.attach_paths(opened, files)
        except AttachedAlready:
            pass  # this very step was done before the note of it was taken away
        except StorageError:
            raise
        except P2PSyncError as error:
            node.notices.alert(
                "attach-failed",
                error,
                mandate=opened.id,
                file=wanted["paths"][0],
                action="attach",
                key=f"attach-failed:{wanted['paths'][0]}",
            )
        await node.store.put_setting(later_key(opened), None)

    async def _open(self, read: Ticket) -> Opened:
        node = self._node
        row = MandateRow(
            id=read.mandate,
            epoch_keys=(read.epoch_key,),
            folder=await self._mandates.new_folder(read.name),
            by_ticket=True,
            created_ms=wall_ms(),
            genesis=read.genesis,
            admission_seed=read.admission_seed,
            ticket_role=read.role,
            ticket_expires_ms=read.expires_ms,
        )
        opened = Opened(node.replica(row, ()), row, node.mandates_folder / row.folder)
        opened.state.name = read.name
        try:
            await node.relays.take(read)
            await self._mandates.found(opened, [[ops.Observe()]], self._contacts(read))
        except BaseException:
            with trio.CancelScope(shield=True):
                await node.forget(opened)
            raise
        return opened

    def _contacts(self, read: Ticket) -> dict[bytes, tuple[str, ...]]:
        return {
            peer.device: peer.addresses
            for peer in read.peers
            if peer.device != self._node.identity.device
        }

    async def _admission(self, opened: Opened) -> None:
        """Wait a little for a member's answer; without one the node goes on trying by itself."""
        node = self._node

        def answered() -> bool:
            return bool(opened.refused) or opened.replica.is_member(node.identity.device)

        opened.subscribing = True
        try:
            with trio.move_on_after(ADMISSION_SECONDS):
                await node.wait_for(lambda: answered() or not opened.live)
        finally:
            opened.subscribing = False
        opened.check_live()
        if not opened.replica.is_member(node.identity.device):
            error = refusal(opened.row, opened.refused)
            if error is not None:
                raise error
