"""What the local API asks of the node: one method per endpoint.

Arguments are plain values; results are JSON-able dicts in the shapes that ``docs/spec/api.md``
lists. Every method raises ``P2PSyncError`` subclasses for what the caller caused, and nothing has
changed then.

``mandate`` is a name or a prefix of an id. ``file`` is an absolute path or the name shown. Times
are ISO 8601 strings with an offset. Amounts are decimal strings.

A dict with a ``text`` (a problem, an event, an alert) may also have ``template`` and ``params``, as
errors do: the API then fills the translated template and hands out the ``text`` alone.
"""

from collections.abc import AsyncIterator
from typing import Any, Protocol

JsonObject = dict[str, Any]


class Service(Protocol):
    """The running node, as programs and people see it."""

    async def status(self) -> JsonObject:
        """Describe the node.

        ``{"version", "device", "name", "locked", "listen": [multiaddr], "peers": [{"device",
        "name", "address"}], "mandates": {"local", "shared", "offline"}, "pending": {"added",
        "deleted"}, "alerts"}``
        """

    async def identity_show(self) -> JsonObject:
        """Describe this device.

        ``{"device", "name", "machine", "phrase", "protected", "locked"}``; ``phrase`` is the short
        key phrase that two people compare aloud (B-ID-2).
        """

    async def identity_set(self, name: str) -> JsonObject:
        """Set the person's name; returns what ``identity_show`` returns."""

    async def identity_lock(self, passphrase: str | None) -> JsonObject:
        """Lock the key (B-ID-1); returns what ``identity_show`` returns.

        A passphrase protects a key that has none yet, or replaces the one it has while unlocked.
        Without one, ``IdentityUnprotected`` is raised when the key has none.
        """

    async def identity_unlock(self, passphrase: str) -> JsonObject:
        """Unlock the key; returns what ``identity_show`` returns."""

    async def mandate_create(self, name: str, accounting: str | None) -> JsonObject:
        """Make a local mandate (B-MAN-2).

        ``{"id", "name", "kind": "local", "folder", "offered": [path]}``; ``accounting`` is an
        absolute path, ``offered`` the exchange files that it points at (B-MAN-3).
        """

    async def mandate_list(self) -> JsonObject:
        """List all mandates (B-MAN-6).

        ``{"mandates": [{"id", "name", "kind", "state", "pending": {"added", "deleted"}}]}``; one
        that cannot sync also has ``cause`` and ``action``.
        """

    async def mandate_show(self, mandate: str) -> JsonObject:
        """``{"id", "name", "kind", "state", "folder", "files": [FILE], "members": [MEMBER]}``.

        FILE is ``{"id", "name", "kind", "device", "folder", "period", "records", "pending":
        {"added", "deleted"}, "delivered", "state", "problems": [{"code", "text", "line"}]}``;
        MEMBER is ``{"device", "name", "machine", "role", "online", "last_seen"}``.
        """

    async def mandate_share(self, mandate: str) -> JsonObject:
        """Make it shared (B-MAN-4): ``{"id", "name", "kind": "shared"}``."""

    async def attach(
        self, mandate: str, files: list[str], kind: str, period: str | None, follows: str | None
    ) -> JsonObject:
        """Attach absolute paths: ``{"files": [FILE], "offered": [path]}`` (B-ATT, B-MAN-3).

        ``period`` is ``FROM..TO`` in ISO dates.
        """

    async def invite(
        self,
        mandate: str,
        role: str,
        expires_seconds: int,
        uses: int,
        passphrase: str | None,
        unsealed: bool,
    ) -> JsonObject:
        """Make a ticket (B-TIC-1, B-TIC-2).

        ``{"ticket": armoured text, "passphrase", "expires"}``; ``passphrase`` only if it was
        generated.
        """

    async def invite_list(self, mandate: str) -> JsonObject:
        """List the invitations.

        ``{"invitations": [{"id", "role", "expires", "uses", "used", "state"}]}``.
        """

    async def invite_revoke(self, mandate: str, invitation: str) -> JsonObject:
        """Take a ticket back: ``{"id", "state": "revoked"}``."""

    async def subscribe(
        self, ticket: str, passphrase: str | None, attach: str | None, kind: str | None
    ) -> JsonObject:
        """Redeem a ticket (B-TIC-4, B-TIC-5).

        ``{"id", "name", "folder", "state"}``, and ``"attach": "later"`` when the file is attached
        once a member lets this device in; ``ticket`` is the content of the file.
        """

    async def pending(self, mandate: str) -> JsonObject:
        """List what waits to be posted (B-POS-2).

        ``{"added", "deleted", "files": [{"name", "period", "added", "deleted", "amount", "records":
        [{"change": "added"|"deleted", "text", "amount", "date", …}]}]}``.
        """

    async def post(self, mandate: str, files: list[str], output: str | None) -> JsonObject:
        """Integrate pending records (B-POS-3).

        ``{"receipt", "added", "deleted"}``; no ``files`` means all, ``output`` is the absolute path
        that gets the records.
        """

    async def unpost(self, mandate: str, receipt: str) -> JsonObject:
        """Retract a receipt: ``{"receipt", "state": "retracted"}``."""

    async def receipts(self, mandate: str) -> JsonObject:
        """List the receipts (B-POS-4).

        ``{"receipts": [{"receipt", "at", "by", "machine", "files", "added", "deleted", "state":
        "posted"|"retracted"|"contested"}]}``.
        """

    async def confirm(self, mandate: str, file: str) -> JsonObject:
        """Take a save that was held back (B-HIS-3): ``{"file", "added", "deleted"}``."""

    async def wait(self, mandate: str, synced: bool, timeout_seconds: float | None) -> JsonObject:
        """Return when every connected member has what this node has.

        ``{"synced": true, "members"}``; raises ``UnavailableError`` after ``timeout_seconds``.
        """

    async def history(self, mandate: str, file: str | None, at: str | None) -> JsonObject:
        """List versions, newest first (B-HIS-1).

        ``{"versions": [{"version", "file", "at", "by", "machine", "bytes", "records", "added",
        "deleted", "current"}]}``.
        """

    async def restore(
        self, mandate: str, file: str, version: str, output: str | None
    ) -> JsonObject:
        """Restore a version in place, or write it to ``output``.

        ``{"file", "version", "path"}``.
        """

    async def alerts(self, mandate: str | None) -> JsonObject:
        """List the open alerts: ``{"alerts": [EVENT]}``; EVENT as in ``events``."""

    async def close_alert(self, alert: int) -> JsonObject:
        """Close an alert by its event id: ``{"id", "closed": true}``."""

    async def member_list(self, mandate: str) -> JsonObject:
        """List the members: ``{"members": [MEMBER]}``."""

    def events(self, mandate: str | None, since: int | None) -> AsyncIterator[JsonObject]:
        """Yield events as they come; with ``since``, first the kept ones of a higher id.

        EVENT is ``{"id", "at", "type", "severity": "message"|"alert", "mandate", "file",
        "text", "action"}``. Passing news has no id: ``{"type": "progress", "mandate", "file",
        "done_bytes", "total_bytes", "phase"}``. The reader may stop taking for
        ``limits.API_SEND_SECONDS_MAX``: the iterator waits and buffers nothing without bound.
        """

    async def stop(self) -> JsonObject:
        """Begin to end the node and return at once: ``{"stopping": true}``."""
