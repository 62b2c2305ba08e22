"""A node that keeps its mandates in memory: enough to drive the API and the command line."""

import datetime
from collections.abc import AsyncIterator
from pathlib import PurePath

import trio

from p2psync import errors
from p2psync.api.service import JsonObject
from p2psync.i18n import fill

NOW = "2024-12-31T10:00:00+00:00"
TICKET = "p2psync ticket 1\nMFRGGZDFMZTWQ2LK\n"
DEVICE = "d" * 64


def message(template: str, **params: object) -> JsonObject:
    plain = {name: str(value) for name, value in params.items()}
    return {"text": fill(template, plain), "template": template, "params": plain}


class FakeUnknown(errors.UsageError):
    """A name that the fake does not hold."""

    code = "mandate-unknown"
    template = "{cause}"
    hint_template = ""


class FakeService:
    """Implements ``p2psync.api.service.Service`` over plain dicts."""

    def __init__(self) -> None:
        self.mandates: dict[str, JsonObject] = {}
        self.kept_events: list[JsonObject] = []
        self.calls: list[tuple[object, ...]] = []
        self.stopping = trio.Event()
        self.changed = trio.Event()
        self.listeners = 0
        self.name = "Ada"
        self.locked = False
        self.passphrase: str | None = None
        self.receipts_made: list[JsonObject] = []
        self.invitations: list[JsonObject] = []
        self.fail_with: Exception | None = None

    def raise_event(self, text: str, mandate: str | None = None, **more: object) -> None:
        event = {
            "id": len(self.kept_events) + 1,
            "at": NOW,
            "type": "records-waiting",
            "severity": "message",
            "mandate": mandate,
            "file": None,
            "action": "post",
            **message(text),
            **more,
        }
        self.kept_events.append(event)
        self.notify()

    def notify(self) -> None:
        self.changed.set()
        self.changed = trio.Event()

    def _find(self, name: str) -> JsonObject:
        for mandate in self.mandates.values():
            if name == mandate["name"] or mandate["id"].startswith(name):
                return mandate
        raise FakeUnknown(cause=f"there is no mandate {name}")

    def _fail(self) -> None:
        if self.fail_with is not None:
            raise self.fail_with

    async def status(self) -> JsonObject:
        self._fail()
        return {
            "version": "0.1.0",
            "device": DEVICE,
            "name": self.name,
            "locked": self.locked,
            "listen": ["/ip4/127.0.0.1/tcp/4001"],
            "peers": [],
            "mandates": {"local": len(self.mandates), "shared": 0, "offline": 0},
            "pending": {"added": 0, "deleted": 0},
            "alerts": 0,
        }

    async def identity_show(self) -> JsonObject:
        return {
            "device": DEVICE,
            "name": self.name,
            "machine": "desk",
            "phrase": "six short words",
            "protected": self.passphrase is not None,
            "locked": self.locked,
        }

    async def identity_set(self, name: str) -> JsonObject:
        self.name = name
        return await self.identity_show()

    async def identity_lock(self, passphrase: str | None) -> JsonObject:
        self.passphrase = passphrase or self.passphrase
        if self.passphrase is None:
            raise errors.IdentityUnprotected
        self.locked = True
        return await self.identity_show()

    async def identity_unlock(self, passphrase: str) -> JsonObject:
        if passphrase != self.passphrase:
            raise errors.CryptoError(cause="wrong passphrase")
        self.locked = False
        return await self.identity_show()

    async def mandate_create(self, name: str, accounting: str | None) -> JsonObject:
        self._fail()
        identifier = f"{len(self.mandates) + 1:02x}" * 16
        self.mandates[identifier] = {
            "id": identifier,
            "name": name,
            "kind": "local",
            "state": "ok",
            "folder": f"mandates/{name}",
            "files": [],
            "members": [
                {
                    "device": DEVICE,
                    "name": self.name,
                    "machine": "desk",
                    "role": "owner",
                    "online": True,
                    "last_seen": NOW,
                }
            ],
        }
        if accounting:
            await self.attach(name, [accounting], "accounting", None, None)
        chosen = self.mandates[identifier]
        return {key: chosen[key] for key in ("id", "name", "kind", "folder")} | {"offered": []}

    async def mandate_list(self) -> JsonObject:
        return {
            "mandates": [
                {
                    **{key: mandate[key] for key in ("id", "name", "kind", "state")},
                    "pending": {"added": 3, "deleted": 1},
                }
                for mandate in self.mandates.values()
            ]
        }

    async def mandate_show(self, mandate: str) -> JsonObject:
        return self._find(mandate)

    async def mandate_share(self, mandate: str) -> JsonObject:
        found = self._find(mandate)
        found["kind"] = "shared"
        return {key: found[key] for key in ("id", "name", "kind")}

    async def attach(
        self, mandate: str, files: list[str], kind: str, period: str | None, follows: str | None
    ) -> JsonObject:
        self.calls.append(("attach", mandate, files, kind, period, follows))
        found = self._find(mandate)
        added = [
            {
                "id": f"{index:02x}" * 16,
                "name": PurePath(path).name,
                "kind": kind,
                "device": DEVICE,
                "folder": str(PurePath(path).parent),
                "period": period,
                "records": 12,
                "pending": {"added": 12, "deleted": 0},
                "state": "ok",
                "problems": [
                    {"code": "line-unreadable", "line": 7}
                    | message("the line has {count} fields", count=3)
                ],
            }
            for index, path in enumerate(files)
        ]
        found["files"] += added
        return {"files": added, "offered": []}

    async def invite(
        self,
        mandate: str,
        role: str,
        expires_seconds: int,
        uses: int,
        passphrase: str | None,
        unsealed: bool,
    ) -> JsonObject:
        self.calls.append(("invite", mandate, role, expires_seconds, uses, passphrase, unsealed))
        self._find(mandate)
        expires = (
            datetime.datetime.fromisoformat(NOW) + datetime.timedelta(seconds=expires_seconds)
        ).isoformat()
        self.invitations.append(
            {
                "id": f"{len(self.invitations):08x}",
                "role": role,
                "expires": expires,
                "uses": uses,
                "used": 0,
                "state": "open",
            }
        )
        made: JsonObject = {"ticket": TICKET, "expires": expires}
        if passphrase is None and not unsealed:
            made["passphrase"] = "one two three four five six"
        return made

    async def invite_list(self, mandate: str) -> JsonObject:
        self._find(mandate)
        return {"invitations": self.invitations}

    async def invite_revoke(self, mandate: str, invitation: str) -> JsonObject:
        self._find(mandate)
        for made in self.invitations:
            if made["id"].startswith(invitation):
                made["state"] = "revoked"
                return {"id": made["id"], "state": "revoked"}
        raise FakeUnknown(cause=f"there is no invitation {invitation}")

    async def subscribe(
        self, ticket: str, passphrase: str | None, attach: str | None, kind: str | None
    ) -> JsonObject:
        self.calls.append(("subscribe", ticket, passphrase, attach, kind))
        if ticket != TICKET:
            raise errors.TicketTruncated
        if passphrase is None:
            raise errors.TicketPassphraseNeeded
        if passphrase != "one two three four five six":
            raise errors.TicketPassphraseWrong
        return {"id": "ab" * 16, "name": "Acme", "folder": "mandates/Acme", "state": "ok"}

    async def pending(self, mandate: str) -> JsonObject:
        self._find(mandate)
        return {
            "added": 1,
            "deleted": 0,
            "files": [
                {
                    "name": "sales.ecf",
                    "period": "2024",
                    "added": 1,
                    "deleted": 0,
                    "amount": "1200.50",
                    "records": [
                        {
                            "change": "added",
                            "text": "Invoice 1",
                            "amount": "1200.50",
                            "date": "2024-01-05",
                        }
                    ],
                }
            ],
        }

    async def post(self, mandate: str, files: list[str], output: str | None) -> JsonObject:
        self.calls.append(("post", mandate, files, output))
        self._find(mandate)
        self._fail()
        self.receipts_made.append(
            {
                "receipt": f"{len(self.receipts_made) + 1:08x}",
                "at": NOW,
                "by": self.name,
                "machine": "desk",
                "files": files or ["sales.ecf"],
                "added": 1,
                "deleted": 0,
                "state": "posted",
            }
        )
        return {"receipt": self.receipts_made[-1]["receipt"], "added": 1, "deleted": 0}

    async def unpost(self, mandate: str, receipt: str) -> JsonObject:
        self._find(mandate)
        for made in self.receipts_made:
            if made["receipt"].startswith(receipt):
                made["state"] = "retracted"
                return {"receipt": made["receipt"], "state": "retracted"}
        raise FakeUnknown(cause=f"there is no receipt {receipt}")

    async def receipts(self, mandate: str) -> JsonObject:
        self._find(mandate)
        return {"receipts": self.receipts_made}

    async def confirm(self, mandate: str, file: str) -> JsonObject:
        self.calls.append(("confirm", mandate, file))
        self._find(mandate)
        return {"file": file, "added": 0, "deleted": 30}

    async def wait(self, mandate: str, synced: bool, timeout_seconds: float | None) -> JsonObject:
        self._find(mandate)
        if timeout_seconds == 0:
            raise errors.UnavailableError(cause="not synced in time")
        return {"synced": True, "members": 2}

    async def history(self, mandate: str, file: str | None, at: str | None) -> JsonObject:
        self.calls.append(("history", mandate, file, at))
        self._find(mandate)
        return {
            "versions": [
                {
                    "version": "00ff",
                    "file": file or "sales.ecf",
                    "at": NOW,
                    "by": self.name,
                    "machine": "desk",
                    "bytes": 1234,
                    "records": 12,
                    "added": 2,
                    "deleted": 1,
                    "current": True,
                }
            ]
        }

    async def restore(
        self, mandate: str, file: str, version: str, output: str | None
    ) -> JsonObject:
        self.calls.append(("restore", mandate, file, version, output))
        self._find(mandate)
        return {"file": file, "version": version, "path": output or f"mandates/Acme/{file}"}

    async def alerts(self, mandate: str | None) -> JsonObject:
        return {
            "alerts": [
                event
                for event in self.kept_events
                if event["severity"] == "alert" and mandate in (None, event["mandate"])
            ]
        }

    async def close_alert(self, alert: int) -> JsonObject:
        for event in self.kept_events:
            if event["id"] == alert:
                event["severity"] = "message"
                return {"id": alert, "closed": True}
        raise FakeUnknown(cause=f"there is no alert {alert}")

    async def member_list(self, mandate: str) -> JsonObject:
        return {"members": self._find(mandate)["members"]}

    async def events(self, mandate: str | None, since: int | None) -> AsyncIterator[JsonObject]:
        position = len(self.kept_events) if since is None else since
        self.listeners += 1
        try:
            while True:
                changed = self.changed
                for event in self.kept_events[position:]:
                    position = event["id"]
                    if mandate in (None, event["mandate"]):
                        yield event
                await changed.wait()
        finally:
            self.listeners -= 1

    async def stop(self) -> JsonObject:
        self.stopping.set()
        return {"stopping": True}
