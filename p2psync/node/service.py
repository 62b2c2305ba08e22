"""The node as the local API sees it: each command handed to who does it."""

from collections.abc import AsyncIterator, Callable, Sequence
from typing import Any, Literal

import trio

from p2psync import __version__
from p2psync.errors import NotInStep
from p2psync.limits import PENDING_LISTED, RECORD_TALES_LISTED, VERSIONS_LISTED_MAX
from p2psync.node import find, views
from p2psync.node.attaching import Said
from p2psync.node.auditing import Auditing
from p2psync.node.bundles import Bundles
from p2psync.node.doctor import Doctor
from p2psync.node.mandates import Mandates
from p2psync.node.node import Node
from p2psync.node.opened import later_key
from p2psync.node.overview import CANNOT_SYNC
from p2psync.node.placing import Placing
from p2psync.node.posting import Posting
from p2psync.node.programs import Programs
from p2psync.node.reach import outside
from p2psync.node.seat import Seat
from p2psync.node.telling import Telling
from p2psync.node.tickets import Tickets
from p2psync.node.versions import Versions

Json = dict[str, Any]


class NodeService:
    """Implements ``p2psync.api.service.Service``; see there for what each method returns."""

    def __init__(self, node: Node, stop: Callable[[], None]) -> None:
        """``stop`` begins to end the process."""
        self._node = node
        self._stop = stop
        self._mandates = Mandates(node)
        self._programs = Programs(node)
        self._telling = Telling(node)
        self._tickets = Tickets(node, self._mandates)
        node.on_admitted = self._tickets.attach_later
        self.posting = Posting(node, self._mandates)
        self._placing = Placing(node, self._mandates.attaching)
        self._seat = Seat(node)
        self._auditing = Auditing(node, self._mandates)
        self._bundles = Bundles(node, self._mandates)
        self._versions = Versions(node, self.posting)
        self._doctor = Doctor(node, self._mandates.overview, self._telling.alerts)

    async def resume(self) -> None:
        """Go on with what was asked for before the node was stopped."""
        settings = await self._node.store.settings()
        for opened in list(self._node.opened.values()):
            waits = later_key(opened) in settings
            if waits and opened.replica.is_member(self._node.identity.device):
                await self._tickets.attach_later(opened)

    # -- the node -----------------------------------------------------------------------------

    async def status(self) -> Json:
        """Describe the node."""
        node = self._node
        listed = self._mandates.overview.all()["mandates"]
        answer: Json = {
            "version": __version__,
            "device": node.identity.device.hex(),
            "name": node.identity.name or views.ANONYMOUS,
            "locked": node.identity.locked,
            "listen": list(node.addresses()),
            "outside": outside(node.transport),
            "peers": node.connected(),
            "mandates": {
                "local": sum(1 for each in listed if each["kind"] == "local"),
                "shared": sum(1 for each in listed if each["kind"] == "shared"),
                "offline": sum(1 for each in listed if each["state"] in CANNOT_SYNC),
            },
            "pending": {
                "added": sum(each["pending"]["added"] for each in listed),
                "deleted": sum(each["pending"]["deleted"] for each in listed),
            },
            "alerts": len((await self.alerts(None))["alerts"]),
        }
        if node.proxy.current() is not None:
            answer["proxy"] = node.proxy.view()
        if node.failure is not None:
            answer["read_only"] = {"text": node.failure.text, "hint": node.failure.hint}
        return answer

    async def doctor(self, mandate: str | None) -> Json:
        """Say what is wrong."""
        return await self._doctor.examine(mandate)

    async def stop(self) -> Json:
        """Begin to end the node."""
        self._stop()
        return {"stopping": True}

    # -- identity -----------------------------------------------------------------------------

    async def identity_show(self) -> Json:
        """Describe this device."""
        return self._node.identity.view()

    async def identity_set(self, name: str) -> Json:
        """Set the person's name."""
        await self._node.set_name(name)
        return self._node.identity.view()

    async def identity_lock(self, passphrase: str | None) -> Json:
        """Lock the key (B-ID-1)."""
        await self._node.lock(passphrase)
        return self._node.identity.view()

    async def identity_unlock(self, passphrase: str) -> Json:
        """Unlock the key."""
        await self._node.unlock(passphrase)
        return self._node.identity.view()

    # -- mandates -----------------------------------------------------------------------------

    async def mandate_create(self, name: str, accounting: str | None) -> Json:
        """Make a local mandate."""
        return await self._mandates.create(name, accounting)

    async def mandate_list(self) -> Json:
        """List all mandates."""
        return self._mandates.overview.all()

    async def mandate_show(self, mandate: str) -> Json:
        """Everything about one mandate."""
        return await self._mandates.overview.show(mandate)

    async def mandate_share(self, mandate: str) -> Json:
        """Make a mandate shared."""
        return await self._mandates.share(mandate)

    async def member_list(self, mandate: str) -> Json:
        """List the members."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return {
            "members": await self._mandates.overview.members(opened),
            "removed": self._node.members.removed(opened),
        }

    async def member_removal(self, mandate: str, device: str) -> Json:
        """What removing a device would do."""
        return self._node.members.plan(mandate, device)

    async def member_remove(self, mandate: str, device: str) -> Json:
        """Remove a device."""
        return await self._node.members.remove(mandate, device)

    async def member_readmit(self, mandate: str, device: str) -> Json:
        """Let a removed device in again."""
        return await self._node.members.readmit(mandate, device)

    async def mandate_rename(self, mandate: str, name: str) -> Json:
        """Give a mandate another name."""
        return await self._mandates.rename(mandate, name)

    async def attach(
        self,
        mandate: str,
        files: list[str],
        kind: str | None,
        period: str | None,
        follows: str | None,
        *,
        expect_seconds: int | None = None,
        offered: bool = False,
        program: dict[str, str] | None = None,
        format: str | None = None,
    ) -> Json:
        """Attach files."""
        registered = None
        if program is not None:
            registered = (program["name"], program["version"], program["licence"])
        said = Said(expect_seconds, registered, format)
        return await self._mandates.attaching.attach(
            mandate, files, kind, period, follows, said, offered=offered
        )

    async def suggestion_list(self, mandate: str) -> Json:
        """List files that may belong to a mandate."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return {"suggestions": self._node.suggestions.view(opened)}

    async def suggestion_dismiss(self, mandate: str, file: str) -> Json:
        """Suggest a file no more."""
        opened = find.mandate(self._node.opened.values(), mandate)
        return await self._node.suggestions.dismiss(opened, file)

    # -- programs -----------------------------------------------------------------------------

    async def program_list(self, mandate: str) -> Json:
        """List who writes a mandate's files."""
        return self._programs.programs(mandate)

    async def program_register(
        self, mandate: str, file: str, name: str, version: str, licence: str
    ) -> Json:
        """Note the program that writes a file."""
        return await self._programs.register(mandate, file, name, version, licence)

    async def policy_show(self, mandate: str) -> Json:
        """Which programs' files a mandate refuses."""
        return self._programs.policy(mandate)

    async def policy_set(self, mandate: str, refuse: list[str], minimums: dict[str, str]) -> Json:
        """Set which programs' files a mandate refuses."""
        return await self._programs.set_policy(mandate, refuse, minimums)

    # -- placing ------------------------------------------------------------------------------

    async def link(self, mandate: str, file: str) -> Json:
        """Tell where a file is attached, and what it may be when it is not there."""
        return await self._placing.link(mandate, file)

    async def relink(self, mandate: str, file: str, candidate: str | None) -> Json:
        """Restore a broken link."""
        return await self._placing.relink(mandate, file, candidate)

    async def migrate(self, mandate: str, file: str, path: str, cancel_pending: bool) -> Json:
        """Point a mandate at a new place or name of a file."""
        return await self._placing.migrate(mandate, file, path, cancel_pending=cancel_pending)

    async def replace(self, mandate: str, file: str, path: str, dry_run: bool) -> Json:
        """Put another file in the place of an attached one."""
        return await self._placing.replace(mandate, file, path, dry_run=dry_run)

    # -- detaching, closing, removing ---------------------------------------------------------

    async def detach(self, mandate: str, file: str) -> Json:
        """Detach a file."""
        return await self._node.detaching.detach(mandate, file)

    async def reattach(self, mandate: str, file: str) -> Json:
        """Undo the detaching of a file."""
        return await self._node.detaching.reattach(mandate, file)

    async def removal_plan(self, mandate: str) -> Json:
        """What removing a mandate would do."""
        return await self._node.removal.plan(mandate)

    async def mandate_remove(self, mandate: str) -> Json:
        """Take a mandate off this device's list."""
        return await self._node.removal.remove(mandate)

    async def removed_list(self) -> Json:
        """List the mandates that were removed here."""
        return self._node.removal.listed()

    async def mandate_restore(self, mandate: str) -> Json:
        """Undo a removal."""
        return await self._node.removal.restore(mandate)

    async def mandate_close(self, mandate: str) -> Json:
        """Close a mandate for everyone."""
        return await self._node.removal.close(mandate)

    async def mandate_reopen(self, mandate: str) -> Json:
        """Undo the closing of a mandate."""
        return await self._node.removal.reopen(mandate)

    # -- tickets ------------------------------------------------------------------------------

    async def invite(
        self,
        mandate: str,
        role: str,
        expires_seconds: int,
        uses: int,
        passphrase: str | None,
        unsealed: bool,
    ) -> Json:
        """Make a ticket."""
        return await self._tickets.invite(
            mandate, role, expires_seconds, uses, passphrase, unsealed=unsealed
        )

    async def invite_list(self, mandate: str) -> Json:
        """List the invitations."""
        return self._tickets.invitations(mandate)

    async def invite_revoke(self, mandate: str, invitation: str) -> Json:
        """Take a ticket back."""
        return await self._tickets.revoke(mandate, invitation)

    async def subscribe(
        self, ticket: str, passphrase: str | None, attach: str | None, kind: str | None
    ) -> Json:
        """Redeem a ticket."""
        return await self._tickets.subscribe(ticket, passphrase, attach, kind)

    # -- posting ------------------------------------------------------------------------------

    async def pending(
        self, mandate: str, files: Sequence[str] = (), records: int = PENDING_LISTED
    ) -> Json:
        """List what waits to be posted."""
        return await self.posting.pending(mandate, list(files), records)

    async def post(
        self,
        mandate: str,
        files: list[str],
        output: str | None,
        format: str = "raw",
        currency: str = "CHF",
    ) -> Json:
        """Integrate pending records."""
        return await self.posting.post(mandate, files, output, format, currency)

    async def unpost(self, mandate: str, receipt: str) -> Json:
        """Retract a receipt."""
        return await self.posting.unpost(mandate, receipt)

    async def receipts(self, mandate: str) -> Json:
        """List the receipts."""
        return await self.posting.receipts(mandate)

    async def seat_show(self, mandate: str) -> Json:
        """Show who has the accounting seat."""
        return self._seat.show(mandate)

    async def seat_hand(self, mandate: str, device: str) -> Json:
        """Hand the accounting seat over."""
        return await self._seat.hand(mandate, device)

    # -- versions -----------------------------------------------------------------------------

    async def history(
        self,
        mandate: str,
        file: str | None,
        at: str | None,
        known: bool = False,
        limit: int = VERSIONS_LISTED_MAX,
    ) -> Json:
        """List versions, or show a past state."""
        return await self._versions.history(mandate, file, at, known=known, limit=limit)

    async def record_history(
        self,
        mandate: str,
        file: str,
        text: str | None = None,
        voucher: str | None = None,
        line: int | None = None,
        after: int = 0,
        limit: int = RECORD_TALES_LISTED,
    ) -> Json:
        """Tell what came of records."""
        return await self._versions.records(
            mandate, file, text=text, voucher=voucher, line=line, after=after, limit=limit
        )

    async def restore(
        self,
        mandate: str,
        file: str,
        version: str | None,
        output: str | None,
        at: str | None = None,
        known: bool = False,
    ) -> Json:
        """Restore a version, or what a file was at a time."""
        return await self._versions.restore(mandate, file, version, output, at=at, known=known)

    async def confirm(self, mandate: str, file: str) -> Json:
        """Take a save that was held back."""
        return await self._node.holding.answer(mandate, file, "confirmed")

    async def refuse(self, mandate: str, file: str) -> Json:
        """Put a save aside that was held back."""
        return await self._node.holding.answer(mandate, file, "refused")

    async def held_list(self, mandate: str) -> Json:
        """List the saves that are held back."""
        return self._node.holding.listed(mandate)

    # -- auditing -----------------------------------------------------------------------------

    async def audit_export(self, mandate: str, output: str, keys: bool, contents: bool) -> Json:
        """Write a mandate's audit file."""
        return await self._auditing.export(mandate, output, keys=keys, contents=contents)

    # -- bundles ------------------------------------------------------------------------------

    async def bundle_export(
        self, mandate: str, output: str, member: str | None, since: str | None
    ) -> Json:
        """Write a bundle."""
        return await self._bundles.export(mandate, output, member, since)

    async def bundle_import(self, path: str) -> Json:
        """Take in a bundle."""
        return await self._bundles.take(path)

    async def retention_show(self, mandate: str | None) -> Json:
        """Show what is kept of old versions."""
        return await self._node.retention.show(mandate)

    async def retention_set(
        self, mandate: str | None, policy: Json | None, dry_run: bool = False
    ) -> Json:
        """Set what is kept of old versions."""
        return await self._node.retention.set(mandate, policy, dry_run=dry_run)

    # -- waiting and hearing ------------------------------------------------------------------

    async def wait(self, mandate: str, synced: bool, timeout_seconds: float | None) -> Json:
        """Return when every connected member has what this node has, and this node all of theirs.

        At least one other member must be connected, unless the mandate has no other.
        """
        node = self._node
        opened = find.mandate(node.opened.values(), mandate)
        wanted = opened.id.hex()
        for copy in list(opened.copies.values()):
            node.shelf.look_at(opened, copy)  # a script saves a file and waits at once

        def ready() -> bool:
            opened = find.mandate(node.opened.values(), wanted)
            if not node.shelf.at_rest(opened):
                return False
            state = opened.state
            others = state.standing.going_on(state.membership.members) - {node.identity.device}
            if not others and opened.replica.is_member(node.identity.device):
                return True
            online = node.engine.meets_anybody(opened.id)
            return online and (not synced or node.engine.in_step(opened.id))

        limit = float("inf") if timeout_seconds is None else timeout_seconds
        with trio.move_on_after(limit) as scope:
            await node.wait_for(ready)
        if scope.cancelled_caught:
            condition = self._mandates.overview.condition(opened)
            raise NotInStep(
                mandate=opened.name,
                cause=condition["cause"]["text"]
                if "cause" in condition
                else "a member has not taken everything yet",
            )
        left = opened.state.standing.left()
        peers = node.engine.peers(opened.id)
        online = [peer for peer in peers if peer.online and peer.device not in left]
        return {"synced": node.engine.in_step(opened.id), "members": len(online)}

    async def alerts(self, mandate: str | None) -> Json:
        """List the open alerts."""
        return await self._telling.alerts(mandate)

    async def close_alert(self, alert: int) -> Json:
        """Close an alert."""
        return await self._telling.close_alert(alert)

    async def close_alerts(self, mandate: str | None) -> Json:
        """Close all open alerts."""
        return await self._telling.close_alerts(mandate)

    async def messages(
        self,
        mandate: str | None,
        before: int | None,
        limit: int,
        types: list[str],
        severity: Literal["message", "alert"] | None,
    ) -> Json:
        """List the history."""
        return await self._telling.messages(mandate, before, limit, types, severity)

    async def event_types(self) -> Json:
        """List the types of events."""
        return self._telling.event_types()

    def events(self, mandate: str | None, since: int | None) -> AsyncIterator[Json]:
        """Yield events as they come."""
        return self._telling.events(mandate, since)

    async def hook_list(self) -> Json:
        """List the hooks."""
        return await self._telling.hook_list()

    async def hook_add(
        self,
        mandate: str | None,
        events: list[str],
        command: list[str] | None,
        url: str | None,
        secret: str | None,
        allow_http: bool,
        language: str,
    ) -> Json:
        """Add a hook."""
        return await self._telling.hook_add(
            mandate, events, command, url, secret, allow_http, language
        )

    async def hook_remove(self, hook: int) -> Json:
        """Remove a hook."""
        return await self._telling.hook_remove(hook)

    async def hook_test(self, hook: int) -> Json:
        """Call a hook now."""
        return await self._telling.hook_test(hook)

    async def desktop_show(self) -> Json:
        """Describe desktop notifications."""
        return await self._telling.desktop_show()

    async def desktop_set(self, on: bool) -> Json:
        """Switch desktop notifications on or off."""
        return await self._telling.desktop_set(on)

    async def expect(self, mandate: str, file: str, seconds: int) -> Json:
        """Note how often a file promises to be saved."""
        return await self._telling.expect(mandate, file, seconds)

    # -- the way out --------------------------------------------------------------------------

    async def proxy_show(self) -> Json:
        """The HTTP proxy that this node uses, and how it does."""
        return self._node.proxy.view()

    async def proxy_set(self, url: str, password: str | None) -> Json:
        """Use a proxy from now on."""
        return await self._node.proxy.set(url, password)

    async def proxy_clear(self) -> Json:
        """Forget the proxy that was set."""
        return await self._node.proxy.clear()

    # -- relays -------------------------------------------------------------------------------

    async def relay_list(self) -> Json:
        """The relays that this node uses."""
        return self._node.relays.view()

    async def relay_group(self, mandate: str, relay: str) -> Json:
        """What a mandate is called at a relay."""
        return self._node.rendezvous.group(mandate, relay)

    async def relay_add(self, address: str, mandate: str | None = None) -> Json:
        """Use a relay, here or for all members of a mandate."""
        return await self._node.relays.add(address, mandate)

    async def relay_remove(self, relay: str, mandate: str | None = None) -> Json:
        """Use a relay no more, here or for all members of a mandate."""
        return await self._node.relays.remove(relay, mandate)
