"""What the local API asks of the node: one method per endpoint.

Arguments are plain values; results are JSON-able dicts in the shapes that ``docs/spec/api.md``
lists. Every method raises ``P2PSyncError`` subclasses for what the caller caused, and nothing has
changed then.

``mandate`` is a name or a prefix of an id. ``file`` is an absolute path or the name shown. Times
are ISO 8601 strings with an offset. Amounts are decimal strings.

A dict with a ``text`` (a problem, an event, an alert) may also have ``template`` and ``params``, as
errors do: the API then fills the translated template and hands out the ``text`` alone.
"""

from collections.abc import AsyncIterator, Sequence
from typing import Any, Literal, Protocol

from p2psync.limits import PENDING_LISTED, RECORD_TALES_LISTED, VERSIONS_LISTED_MAX

JsonObject = dict[str, Any]


class Service(Protocol):
    """The running node, as programs and people see it."""

    async def status(self) -> JsonObject:
        """Describe the node.

        ``{"version", "device", "name", "locked", "listen": [multiaddr], "outside": {"reach":
        "public"|"private"|"unknown", "addresses": [multiaddr]}, "peers": [{"device",
        "name", "address"}], "mandates": {"local", "shared", "offline"}, "pending": {"added",
        "deleted"}, "alerts"}``
        """

    async def doctor(self, mandate: str | None) -> JsonObject:
        """Say what is wrong with the node, and with one mandate or all (B-NET-5).

        ``{"version", "at", "checks": [{"about", "state": "ok"|"note"|"fault"}], "findings":
        [{"code", "severity": "note"|"fault", "about", "where", "mandate", "since", "template",
        "hint_template", "params"}], "report"}``: causes before what follows from them; the report
        holds no secrets or names. The API fills ``template`` and ``hint_template`` and hands them
        out as ``text`` and ``hint``.
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

        ``{"mandates": [{"id", "name", "kind", "state", "pending": {"added", "deleted"}, "seat",
        "suggestions", "refused"}]}``; one that cannot sync also has ``cause`` and ``action``.
        ``seat`` is the name of who posts, the last two are numbers of files.
        """

    async def mandate_show(self, mandate: str) -> JsonObject:
        """``{"id", "name", "kind", "state", "folder", "files": [FILE], "members": [MEMBER]}``.

        FILE is ``{"id", "name", "kind", "device", "folder", "period", "records", "pending":
        {"added", "deleted"}, "delivered", "state", "problems": [{"code", "text", "line"}]}``;
        MEMBER is ``{"device", "name", "machine", "role", "online", "reached", "pace",
        "last_seen"}``; ``pace`` is ``{"rtt_ms", "up_bytes_per_second", "down_bytes_per_second"}``
        or ``None``;
        ``reached`` is ``{"how", "relay"?, "since"}`` or ``None``.
        """

    async def mandate_rename(self, mandate: str, name: str) -> JsonObject:
        """Give it another name: ``{"id", "name", "folder"}``; the folder keeps its name."""

    async def suggestion_list(self, mandate: str) -> JsonObject:
        """List files that may belong to it (B-MAN-3, B-ATT-3).

        ``{"suggestions": [{"file": path, "kind", "reason": "listed"|"new-year", "follows",
        "command"}]}``; ``follows`` is the name of the file that a new year continues.
        """

    async def suggestion_dismiss(self, mandate: str, file: str) -> JsonObject:
        """Suggest a file, a path or its name, no more: ``{"file", "dismissed": true}``."""

    async def program_list(self, mandate: str) -> JsonObject:
        """List who writes its files (B-VAL-1, B-VAL-2): ``{"programs": [PROGRAM], "policy"}``.

        PROGRAM is ``{"file", "device", "program", "version", "licence", "refused", "problems":
        [{"code", "refused", "text", "hint"}]}``; without a file it is a device's p2psync. The
        policy is as in ``policy_show``.
        """

    async def program_register(
        self, mandate: str, file: str, name: str, version: str, licence: str
    ) -> JsonObject:
        """Note the program that writes a file.

        ``licence`` is ``valid``, ``trial``, ``no-updates`` or ``unknown``. Returns ``{"file",
        "name", "version", "licence", "refused"}``.
        """

    async def policy_show(self, mandate: str) -> JsonObject:
        """``{"refuse": ["trial"|"no-updates"|"unknown"], "minimums": {program: version}}``."""

    async def policy_set(
        self, mandate: str, refuse: list[str], minimums: dict[str, str]
    ) -> JsonObject:
        """Set the policy; returns what ``policy_show`` returns."""

    async def link(self, mandate: str, file: str) -> JsonObject:
        """Tell where a file is attached here (B-MIG-1).

        ``{"file", "broken", "path", "offered": path or None, "candidates": [{"path", "signals":
        ["identity"|"content"|"records"|"name"]}]}``.
        """

    async def relink(self, mandate: str, file: str, candidate: str | None) -> JsonObject:
        """Restore a broken link, to the one candidate that is offered or to the one named.

        ``{"id", "file", "path", "before": path}``; ``candidate`` is an absolute path or a name.
        """

    async def migrate(self, mandate: str, file: str, path: str, cancel_pending: bool) -> JsonObject:
        """Point the mandate at a new place or name of a file, on this device (B-MIG-2).

        ``{"id", "file", "path", "before": {"device", "path"}, "pending": {"added", "deleted"},
        "cancelled", "advice": ADVICE or None}``; ADVICE is ``{"code", "text"}``.
        """

    async def replace(self, mandate: str, file: str, path: str, dry_run: bool) -> JsonObject:
        """Put another file in its place, or with ``dry_run`` only tell what changes (B-MIG-3).

        ``{"id", "file", "path", "before", "done", "added", "deleted", "posted", "records":
        {"before", "after"} or None, "advice": ADVICE}``; of an accounting also ``"accounts":
        {"added": [number], "deleted": [number]}``.
        """

    async def detach(self, mandate: str, file: str) -> JsonObject:
        """Detach a file (B-DET): ``{"id", "file", "mandate", "path": path or None}``.

        Raises ``AccountingNotDetachable``, and ``DetachBlocked`` with the records that are pending
        or posted in a shared mandate.
        """

    async def reattach(self, mandate: str, file: str) -> JsonObject:
        """Undo it; returns the same. ``file`` may also be the beginning of an id."""

    async def removal_plan(self, mandate: str) -> JsonObject:
        """What removing would do (B-REM); nothing changes.

        ``{"id", "name", "case": "local"|"all-here"|"accounting-here"|"accounting-elsewhere"|
        "elsewhere", "how": "hidden"|"left"|"closed", "told", "detaches": [name], "blocking":
        [name], "undo_until"}``; ``told`` is how many other devices hear of it.
        """

    async def mandate_remove(self, mandate: str) -> JsonObject:
        """Take it off this device's list; returns what ``removal_plan`` does.

        Raises ``RemovalBlocked`` with the files whose postings must be cancelled (B-REM-4).
        """

    async def removed_list(self) -> JsonObject:
        """What was removed and can come back.

        ``{"mandates": [{"id", "name", "kind", "state": "removed", "how", "removed",
        "undo_until"}]}``
        """

    async def mandate_restore(self, mandate: str) -> JsonObject:
        """Undo a removal: ``{"id", "name", "kind"}``."""

    async def mandate_close(self, mandate: str) -> JsonObject:
        """Close it for everyone (B-REM-5): ``{"id", "name", "state": "closed", "undo_until"}``."""

    async def mandate_reopen(self, mandate: str) -> JsonObject:
        """Undo the closing: ``{"id", "name", "kind"}``."""

    async def mandate_share(self, mandate: str) -> JsonObject:
        """Make it shared (B-MAN-4): ``{"id", "name", "kind": "shared"}``."""

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
    ) -> JsonObject:
        """Attach absolute paths: ``{"files": [FILE], "offered": [path]}`` (B-ATT, B-MAN-3).

        ``period`` is ``FROM..TO`` in ISO dates; ``program`` has ``name``, ``version`` and
        ``licence``; ``format`` the name of a format, or a definition in TOML, where it is not to be
        recognised. With ``offered`` instead of files and a kind: what the lists beside the
        accountings name; then ``"skipped": [{"file", "code", "text"}]`` tells what of it is not
        attached.
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

    async def pending(
        self, mandate: str, files: Sequence[str] = (), records: int = PENDING_LISTED
    ) -> JsonObject:
        """List what waits to be posted, by file and period (B-POS-1, B-POS-2, B-POS-8).

        ``{"added", "deleted", "groups": {"added", "deleted"}, "changed", "amount", "amounts",
        "left_out", "files": [{"name", "kind", "period", "added", "deleted", "groups", "changed",
        "amount", "amounts", "amount_added", "amount_deleted", "saved_by", "machine", "saved",
        "records": [{"change": "added"|"deleted", "changed"?, "text", "amount", "date", …}],
        "left_out", "problems"}]}``.
        The numbers are complete; at most ``records`` records are listed, ``left_out`` are not.
        ``amounts`` is ``{CURRENCY: {"amount", "added", "deleted"}}`` with an empty name where none
        is said; a balanced entry counts once, and ``amount`` and the like are ``None`` where there
        are several currencies. ``period`` is ``None`` for dates in no accounting period. No
        ``files`` means all.
        """

    async def post(
        self,
        mandate: str,
        files: list[str],
        output: str | None,
        format: str = "raw",
        currency: str = "CHF",
    ) -> JsonObject:
        """Integrate pending records (B-POS-3).

        ``{"receipt", "added", "deleted", "output"?, "format"?, "unexpressed"?}``; no ``files``
        means all, ``output`` is the absolute path that gets the records, ``format`` one of ``raw``,
        ``csv`` and ``beancount``, ``currency`` what beancount is told. ``unexpressed`` counts
        records that the format can only say in a comment.
        """

    async def unpost(self, mandate: str, receipt: str) -> JsonObject:
        """Retract a receipt: ``{"receipt", "state": "retracted"}``."""

    async def receipts(self, mandate: str) -> JsonObject:
        """List the receipts, and how far what has none yet has come (B-POS-4).

        ``{"waiting": [{"file", "state": "generated"|"delivered", "at", "by", "machine",
        "delivered", "added", "deleted"}], "receipts": [{"receipt", "at", "by",
        "machine", "files", "added", "deleted", "state": "posted"|"retracted"|"contested"}]}``.
        """

    async def seat_show(self, mandate: str) -> JsonObject:
        """Show the accounting seat (B-POS-7).

        ``{"mandate", "seat": DEVICE|None, "handed", "contested": [DEVICE], "may_hand", "heirs":
        [DEVICE], "this_device"}``; DEVICE is ``{"device", "name", "machine"}``.
        """

    async def seat_hand(self, mandate: str, device: str) -> JsonObject:
        """Hand the seat to a member, by id prefix or name; returns what ``seat_show`` returns."""

    async def confirm(self, mandate: str, file: str) -> JsonObject:
        """Take a save that was held back (B-HIS-3), here or on the device that holds it.

        ``{"file", "verdict", "done", "added", "deleted"}``; ``done`` is false when another device
        holds it, which takes it when it hears of it; then with ``"held": [HELD]``.
        """

    async def refuse(self, mandate: str, file: str) -> JsonObject:
        """Put a held save aside: the file is as it was, and what was refused is a version.

        As ``confirm``; what is done here has ``"kept": [version]``.
        """

    async def held_list(self, mandate: str) -> JsonObject:
        """List the saves that wait for a word: ``{"held": [HELD]}``.

        HELD is ``{"hold", "file", "at", "by", "machine", "device", "here", "deleted", "added",
        "amount", "from", "to", "records_before", "records_after", "bytes_before", "bytes_after",
        "answer": {"verdict", "at", "by", "machine"}|None}``.
        """

    async def wait(self, mandate: str, synced: bool, timeout_seconds: float | None) -> JsonObject:
        """Return when every connected member has what this node has.

        ``{"synced": true, "members"}``; raises ``UnavailableError`` after ``timeout_seconds``.
        """

    async def history(
        self,
        mandate: str,
        file: str | None,
        at: str | None,
        known: bool = False,
        limit: int = VERSIONS_LISTED_MAX,
    ) -> JsonObject:
        """List versions, newest first (B-HIS-1); with ``at``, up to that time, and the state then.

        ``{"versions": [{"version", "file", "at", "by", "machine", "bytes", "records", "added",
        "deleted", "current", "content": "here"|"dropped"|"elsewhere"}], "left_out"}``; the numbers
        of records are ``None`` where nobody can tell. With ``at`` also ``{"at": the exact time,
        "by": "clocks"|"arrival", "state": {"name", "shared", "closed", "seat", "members", "files",
        "receipts", "receipts_left_out"}}``; ``known``: what had come to this device by then.
        """

    async def record_history(
        self,
        mandate: str,
        file: str,
        text: str | None = None,
        voucher: str | None = None,
        line: int | None = None,
        after: int = 0,
        limit: int = RECORD_TALES_LISTED,
    ) -> JsonObject:
        """Tell who added, changed, deleted and posted the records of a file, when, from where.

        ``{"file", "format", "whole", "records": [{"line", "present", "posted", "records",
        "steps": [{"what": "added"|"changed"|"deleted"|"posted"|"retracted"|"cancelled", "at",
        "by", "machine", "device", "version"|"receipt", "before"?}]}], "next"}``; ``next`` is the
        ``after`` to go on with. Of a ``whole`` file the versions are listed, as by ``history``.
        """

    async def restore(
        self,
        mandate: str,
        file: str,
        version: str | None,
        output: str | None,
        at: str | None = None,
        known: bool = False,
    ) -> JsonObject:
        """Restore a version, or what the file was ``at`` a time, in place or to ``output``.

        ``{"file", "version", "path", "restored"?, "at"?, "by"?, "fetched_from"?}``.
        """

    async def retention_show(self, mandate: str | None) -> JsonObject:
        """Show how long the content of old versions is kept on this device.

        ``{"policy": {"keep_days": N|None, "then", "min_free_bytes"}, "own", "mandate"}``; of a
        mandate with ``"held": {"versions", "bytes"}`` and ``"would_drop": {"versions",
        "bytes", "files": [{"file", "versions", "bytes"}]}``, else with ``"mandates"``: those that
        have a policy of their own.
        """

    async def retention_set(
        self, mandate: str | None, policy: JsonObject | None, dry_run: bool = False
    ) -> JsonObject:
        """Set it (``None``: take it away) and act by it: with ``"dropped": {"versions", "bytes"}``.

        ``dry_run`` changes nothing and tells ``"would_drop"``.
        """

    async def alerts(self, mandate: str | None) -> JsonObject:
        """List the open alerts: ``{"alerts": [EVENT]}``; EVENT as in ``events``."""

    async def close_alert(self, alert: int) -> JsonObject:
        """Close an alert by its event id: ``{"id", "closed": true}``."""

    async def close_alerts(self, mandate: str | None) -> JsonObject:
        """Close all alerts that are open: ``{"closed": how many}``."""

    async def messages(
        self,
        mandate: str | None,
        before: int | None,
        limit: int,
        types: list[str],
        severity: Literal["message", "alert"] | None,
    ) -> JsonObject:
        """List what was told, newest first: ``{"messages": [EVENT], "more"}``.

        Those with lower ids than ``before``, at most ``limit``; no ``types`` means all. Alerts also
        have ``"open"``, ``"closed_at"`` and ``"closed_by"``: ``person`` or ``cause``.
        """

    async def event_types(self) -> JsonObject:
        """List the types of events: ``{"types": [{"type", "severity", "action"}]}``."""

    async def hook_list(self) -> JsonObject:
        """List the hooks: ``{"hooks": [HOOK]}``.

        HOOK is ``{"id", "mandate", "mandate_name", "events", "command": [word] or None, "url",
        "state": "new"|"ok"|"failing"|"off", "waiting", "failures", "lost", "last": {"at", "event",
        "ok", "text"} or None}``.
        """

    async def hook_add(
        self,
        mandate: str | None,
        events: list[str],
        command: list[str] | None,
        url: str | None,
        secret: str | None,
        allow_http: bool,
        language: str,
    ) -> JsonObject:
        """Add a hook: HOOK, and ``"secret"`` when one was made for a URL."""

    async def hook_remove(self, hook: int) -> JsonObject:
        """Remove a hook: ``{"id", "removed": true}``."""

    async def hook_test(self, hook: int) -> JsonObject:
        """Call a hook with a test event: ``{"id", "ok", "text"}``."""

    async def desktop_show(self) -> JsonObject:
        """Describe desktop notifications: ``{"desktop": "on"|"off"}``, and ``cause``."""

    async def desktop_set(self, on: bool) -> JsonObject:
        """Switch desktop notifications; returns what ``desktop_show`` returns."""

    async def expect(self, mandate: str, file: str, seconds: int) -> JsonObject:
        """Note how often a file promises to be saved: ``{"file", "expect_seconds"}``."""

    async def audit_export(
        self, mandate: str, output: str, keys: bool, contents: bool
    ) -> JsonObject:
        """Write the signed history as an audit file (B-HIS-2), docs/spec/audit.md.

        ``{"path", "mandate", "name", "at", "sealed", "entries", "logs", "waiting", "contents",
        "lacking": [file name], "heads": [{"log", "seq", "entry"}]}``
        """

    async def bundle_export(
        self, mandate: str, output: str, member: str | None, since: str | None
    ) -> JsonObject:
        """Write a mandate's entries and contents into a bundle (B-NET-4), docs/spec/bundle.md.

        ``{"path", "mandate", "name", "at", "partial", "for", "entries", "contents",
        "lacking": [file name], "bytes"}``
        """

    async def bundle_import(self, path: str) -> JsonObject:
        """Take in a bundle: ``{"mandate", "name", "from", "machine", "device", "at", "partial",
        "entries", "new", "admitted", "files": [name], "gaps", "lacking": [name]}``.

        ``new``: entries that were not here; ``files``: those that changed by it; ``gaps``: logs of
        which something before is missing; ``lacking``: files whose content has not come.
        """

    async def member_list(self, mandate: str) -> JsonObject:
        """List the members: ``{"members": [MEMBER], "removed": [REMOVED]}``.

        REMOVED is ``{"device", "name", "machine", "role", "phrase", "by", "removed",
        "quarantined", "may_readmit"}``: by whom, when, and how many of its entries do not count.
        """

    async def member_removal(self, mandate: str, device: str) -> JsonObject:
        """Say what removing a device would do: what ``member_remove`` returns and raises."""

    async def member_remove(self, mandate: str, device: str) -> JsonObject:
        """Remove a device, by id prefix or name.

        ``{"mandate", "device", "name", "machine", "role", "seat", "files", "tickets",
        "remaining"}``: whether it had the seat, the names of its files, how many open tickets end,
        how many devices are left. Raises ``DeviceNotJunior``, ``DeviceIsThis``.
        """

    async def member_readmit(self, mandate: str, device: str) -> JsonObject:
        """Undo the removal of a device: ``{"mandate", "device", "name", "machine",
        "quarantined"}``, how many of its entries count again.

        Raises ``DeviceNotJunior``, ``DeviceNotRemoved``.
        """

    def events(self, mandate: str | None, since: int | None) -> AsyncIterator[JsonObject]:
        """Yield events as they come; with ``since``, first the kept ones of a higher id.

        EVENT is ``{"id", "at", "type", "severity": "message"|"alert", "mandate", "mandate_name",
        "file", "device", "device_name", "text", "action", "data"}``. Passing news has no id:
        ``{"type": "progress", "mandate", "file", "done_bytes", "total_bytes", "phase"}``,
        ``{"type": "alert-closed", "mandate", "alert", "by"}``, ``{"type": "gap", "mandate": None,
        "since", "first"}``. The reader may stop taking for
        ``limits.API_SEND_SECONDS_MAX``: the iterator waits and buffers nothing without bound.
        """

    async def stop(self) -> JsonObject:
        """Begin to end the node and return at once: ``{"stopping": true}``."""

    async def proxy_show(self) -> JsonObject:
        """The HTTP proxy that this node uses: PROXY.

        PROXY is ``{"proxy": URL | None, "source", "password", "exempt", "state", "since",
        "cause"?}``, the URL without a password, ``password`` whether there is one. The source is
        ``option``, ``setting``, ``environment`` or ``None``; the state ``off``, ``unused``,
        ``works``, ``unreachable``, ``password-refused`` or ``refused``.
        """
        ...

    async def proxy_set(self, url: str, password: str | None) -> JsonObject:
        """Use a proxy from now on and after each start; ``none`` for none at all: PROXY."""
        ...

    async def proxy_clear(self) -> JsonObject:
        """Forget the proxy that was set: PROXY, which may be that of the environment."""
        ...

    async def relay_list(self) -> JsonObject:
        """The relays that this node uses: ``{"relays": [RELAY]}``.

        RELAY is ``{"peer", "address", "own", "mandates": [name], "tickets": [name], "state",
        "since", "cause"?}``: ``own`` when this node's person chose it, then the mandates that name
        it for all their members, and those whose ticket did. The state is ``off``, ``connecting``,
        ``reserved``, ``refused`` or ``unreachable``.
        """
        ...

    async def relay_group(self, mandate: str, relay: str) -> JsonObject:
        """What a mandate is called at a relay, for its operator:
        ``{"mandate", "relay", "group"}``.

        ``relay`` is its host, part of its peer ID, or an address. Raises ``RelayUnknown`` and what
        finding a mandate raises.
        """
        ...

    async def relay_add(self, address: str, mandate: str | None = None) -> JsonObject:
        """Use a relay, by the address with the token that its operator gave: RELAY.

        With ``mandate`` all its members use it.
        """
        ...

    async def relay_remove(self, relay: str, mandate: str | None = None) -> JsonObject:
        """Use a relay no more, by its host or part of its peer ID, and whoever's ticket named it:
        ``{"peer", "own", "mandates": [name]}``, the last two as they are from now on.

        With ``mandate`` none of its members uses it, unless they chose it themselves.
        """
        ...
