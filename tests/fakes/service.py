"""A node that keeps its mandates in memory: enough to drive the API and the command line."""

import datetime
from collections.abc import AsyncIterator, Sequence
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
        self.removed: dict[str, JsonObject] = {}
        self.kept_events: list[JsonObject] = []
        self.calls: list[tuple[object, ...]] = []
        self.removed_members: list[JsonObject] = []
        self.stopping = trio.Event()
        self.changed = trio.Event()
        self.listeners = 0
        self.name = "Ada"
        self.locked = False
        self.passphrase: str | None = None
        self.receipts_made: list[JsonObject] = []
        self.invitations: list[JsonObject] = []
        self.hooks: list[JsonObject] = []
        self.findings: list[JsonObject] = []
        self.policy: JsonObject = {"refuse": [], "minimums": {}}
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

    async def audit_export(
        self, mandate: str, output: str, keys: bool, contents: bool
    ) -> JsonObject:
        self.calls.append(("audit_export", mandate, output, keys, contents))
        found = self._find(mandate)
        return {
            "path": output,
            "mandate": found["id"],
            "name": found["name"],
            "at": NOW,
            "sealed": not keys,
            "entries": 3,
            "logs": 1,
            "waiting": 0,
            "contents": int(contents),
            "lacking": [],
            "heads": [{"log": "a" * 64, "seq": 2, "entry": "e" * 64}],
        }

    async def bundle_export(
        self, mandate: str, output: str, member: str | None, since: str | None
    ) -> JsonObject:
        self.calls.append(("bundle_export", mandate, output, member, since))
        found = self._find(mandate)
        return {
            "path": output,
            "mandate": found["id"],
            "name": found["name"],
            "at": NOW,
            "partial": bool(member or since),
            "for": member,
            "entries": 12,
            "contents": 2,
            "lacking": [],
            "bytes": 48_213,
        }

    async def bundle_import(self, path: str) -> JsonObject:
        self.calls.append(("bundle_import", path))
        self._fail()
        found = next(iter(self.mandates.values()))
        return {
            "mandate": found["id"],
            "name": found["name"],
            "from": "Ana",
            "machine": "desk",
            "device": "d" * 64,
            "at": NOW,
            "partial": False,
            "entries": 12,
            "new": 5,
            "admitted": False,
            "files": ["sales.ecf"],
            "gaps": 0,
            "lacking": [],
        }

    async def status(self) -> JsonObject:
        self._fail()
        return {
            "version": "0.1.0",
            "device": DEVICE,
            "name": self.name,
            "locked": self.locked,
            "listen": ["/ip4/127.0.0.1/tcp/4001"],
            "outside": {"reach": "unknown", "addresses": []},
            "peers": [],
            "mandates": {"local": len(self.mandates), "shared": 0, "offline": 0},
            "pending": {"added": 0, "deleted": 0},
            "alerts": 0,
        }

    async def doctor(self, mandate: str | None) -> JsonObject:
        self.calls.append(("doctor", mandate))
        return {
            "version": "0",
            "at": NOW,
            "checks": [{"about": each, "state": "ok"} for each in ("node", "disk")],
            "findings": self.findings,
            "report": {"report": "p2psync doctor", "findings": []},
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
                    "reached": None,
                    "pace": None,
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

    async def link(self, mandate: str, file: str) -> JsonObject:
        self._find(mandate)
        candidates = [{"path": "/desk/moved.ecf", "signals": ["identity", "content"]}]
        return {
            "file": file,
            "broken": True,
            "path": "/desk/sales.ecf",
            "offered": "/desk/moved.ecf",
            "candidates": candidates,
        }

    async def relink(self, mandate: str, file: str, candidate: str | None) -> JsonObject:
        self._find(mandate)
        self.calls.append(("relink", mandate, file, candidate))
        path = candidate or "/desk/moved.ecf"
        return {"id": "f" * 32, "file": file, "path": path, "before": "/desk/sales.ecf"}

    async def migrate(self, mandate: str, file: str, path: str, cancel_pending: bool) -> JsonObject:
        self._find(mandate)
        self.calls.append(("migrate", mandate, file, path, cancel_pending))
        return {
            "id": "f" * 32,
            "file": PurePath(path).name,
            "path": path,
            "before": {"device": "Ada", "path": "/desk/sales.ecf"},
            "pending": {"added": 3, "deleted": 1},
            "cancelled": 0,
            "advice": None,
        }

    async def replace(self, mandate: str, file: str, path: str, dry_run: bool) -> JsonObject:
        self._find(mandate)
        self.calls.append(("replace", mandate, file, path, dry_run))
        return {
            "id": "f" * 32,
            "file": file,
            "path": path,
            "before": {"device": "Ada", "path": "/desk/sales.ecf"},
            "done": not dry_run,
            "added": 3,
            "deleted": 1,
            "posted": 5,
            "records": {"before": 5, "after": 7},
            "advice": {"code": "repost", **message("{added} new", added=3)},
        }

    async def detach(self, mandate: str, file: str) -> JsonObject:
        self.calls.append(("detach", mandate, file))
        found = self._find(mandate)
        path = f"/desk/{file}"
        return {"id": "f" * 32, "file": file, "mandate": found["name"], "path": path}

    async def reattach(self, mandate: str, file: str) -> JsonObject:
        self.calls.append(("reattach", mandate, file))
        found = self._find(mandate)
        return {"id": "f" * 32, "file": file, "mandate": found["name"], "path": None}

    async def removal_plan(self, mandate: str) -> JsonObject:
        found = self._find(mandate)
        return {
            "id": found["id"],
            "name": found["name"],
            "case": "accounting-here",
            "how": "closed",
            "told": 2,
            "detaches": [],
            "blocking": [],
            "undo_until": NOW,
        }

    async def mandate_remove(self, mandate: str) -> JsonObject:
        self.calls.append(("mandate_remove", mandate))
        plan = await self.removal_plan(mandate)
        self.removed[plan["id"]] = self.mandates.pop(plan["id"])
        return plan

    async def removed_list(self) -> JsonObject:
        return {
            "mandates": [
                {
                    "id": each["id"],
                    "name": each["name"],
                    "kind": each["kind"],
                    "state": "removed",
                    "how": "closed",
                    "removed": NOW,
                    "undo_until": NOW,
                }
                for each in self.removed.values()
            ]
        }

    async def mandate_restore(self, mandate: str) -> JsonObject:
        for identifier, each in list(self.removed.items()):
            if mandate == each["name"] or identifier.startswith(mandate):
                self.mandates[identifier] = self.removed.pop(identifier)
        found = self._find(mandate)
        return {key: found[key] for key in ("id", "name", "kind")}

    async def mandate_close(self, mandate: str) -> JsonObject:
        found = self._find(mandate)
        found["state"] = "closed"
        return {"id": found["id"], "name": found["name"], "state": "closed", "undo_until": NOW}

    async def mandate_reopen(self, mandate: str) -> JsonObject:
        found = self._find(mandate)
        found["state"] = "ok"
        return {key: found[key] for key in ("id", "name", "kind")}

    async def mandate_share(self, mandate: str) -> JsonObject:
        found = self._find(mandate)
        found["kind"] = "shared"
        return {key: found[key] for key in ("id", "name", "kind")}

    async def mandate_rename(self, mandate: str, name: str) -> JsonObject:
        found = self._find(mandate)
        found["name"] = name
        return {key: found[key] for key in ("id", "name", "folder")}

    async def suggestion_list(self, mandate: str) -> JsonObject:
        self._find(mandate)
        return {
            "suggestions": [
                {
                    "file": "desk/sales_2026.ecf",
                    "kind": "invoicing",
                    "reason": "new-year",
                    "follows": "sales_2025.ecf",
                    "command": "p2psync attach Acme desk/sales_2026.ecf --kind invoicing",
                }
            ]
        }

    async def suggestion_dismiss(self, mandate: str, file: str) -> JsonObject:
        self.calls.append(("suggestion_dismiss", mandate, file))
        self._find(mandate)
        return {"file": file, "dismissed": True}

    async def program_list(self, mandate: str) -> JsonObject:
        self._find(mandate)
        wrong = message("{program} is a trial version", program="Billing")
        problem = {"code": "program-trial", "refused": True, "hint": None, **wrong}
        return {
            "programs": [
                {
                    "file": "sales.ecf",
                    "device": self.name,
                    "program": "Billing",
                    "version": "16.2",
                    "licence": "trial",
                    "refused": True,
                    "problems": [problem],
                }
            ],
            "policy": self.policy,
        }

    async def program_register(
        self, mandate: str, file: str, name: str, version: str, licence: str
    ) -> JsonObject:
        self.calls.append(("program_register", mandate, file, name, version, licence))
        self._find(mandate)
        said = {"file": file, "name": name, "version": version, "licence": licence}
        return {**said, "refused": licence in self.policy["refuse"]}

    async def policy_show(self, mandate: str) -> JsonObject:
        self._find(mandate)
        return self.policy

    async def policy_set(
        self, mandate: str, refuse: list[str], minimums: dict[str, str]
    ) -> JsonObject:
        self._find(mandate)
        self.policy = {"refuse": refuse, "minimums": minimums}
        return self.policy

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
        self.calls.append(("attach", mandate, files, kind, period, follows))
        if offered or expect_seconds is not None or program is not None:
            self.calls.append(("attach also", expect_seconds, offered, program))
        if format is not None:
            self.calls.append(("attach as", format))
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
        return {"files": added, "offered": []} | ({"skipped": []} if offered else {})

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

    async def pending(
        self, mandate: str, files: Sequence[str] = (), records: int = 200
    ) -> JsonObject:
        self.calls.append(("pending", mandate, list(files), records))
        self._find(mandate)
        listed = [
            {"change": "added", "text": "Invoice 1", "amount": "1200.50", "date": "2024-01-05"}
        ][:records]
        return {
            "added": 1,
            "deleted": 0,
            "groups": {"added": 1, "deleted": 0},
            "changed": 0,
            "amount": "1200.50",
            "amounts": {"CHF": {"amount": "1200.50", "added": "1200.50", "deleted": "0.00"}},
            "left_out": 1 - len(listed),
            "files": [
                {
                    "name": "sales.ecf",
                    "kind": "invoicing",
                    "period": "2024",
                    "added": 1,
                    "deleted": 0,
                    "groups": {"added": 1, "deleted": 0},
                    "changed": 0,
                    "amount": "1200.50",
                    "amounts": {
                        "CHF": {"amount": "1200.50", "added": "1200.50", "deleted": "0.00"}
                    },
                    "amount_added": "1200.50",
                    "amount_deleted": "0.00",
                    "saved_by": self.name,
                    "machine": "desk",
                    "saved": NOW,
                    "records": listed,
                    "left_out": 1 - len(listed),
                    "problems": [],
                }
            ],
        }

    async def post(
        self,
        mandate: str,
        files: list[str],
        output: str | None,
        format: str = "raw",
        currency: str = "CHF",
    ) -> JsonObject:
        self.calls.append(("post", mandate, files, output, format, currency))
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
        waiting = {
            "file": "sales.ecf",
            "state": "delivered",
            "at": NOW,
            "by": self.name,
            "machine": "desk",
            "delivered": NOW,
            "added": 1,
            "deleted": 0,
        }
        return {"waiting": [waiting], "receipts": self.receipts_made}

    async def seat_show(self, mandate: str) -> JsonObject:
        found = self._find(mandate)
        holder = {"device": DEVICE, "name": self.name, "machine": "desk"}
        return {
            "mandate": found["name"],
            "seat": holder,
            "handed": 0,
            "contested": [],
            "may_hand": True,
            "heirs": [],
            "this_device": True,
        }

    async def seat_hand(self, mandate: str, device: str) -> JsonObject:
        self.calls.append(("seat_hand", mandate, device))
        return await self.seat_show(mandate)

    async def refuse(self, mandate: str, file: str) -> JsonObject:
        self.calls.append(("refuse", mandate, file))
        self._find(mandate)
        kept = ["ab" * 8]
        return {
            "file": file,
            "verdict": "refused",
            "done": True,
            "added": 0,
            "deleted": 0,
            "kept": kept,
        }

    async def held_list(self, mandate: str) -> JsonObject:
        self._find(mandate)
        answer = {"verdict": "refused", "at": NOW, "by": "Ada", "machine": "desk"}
        held = {
            "hold": "ab" * 8,
            "file": "sales.ecf",
            "at": NOW,
            "by": "Ben",
            "machine": "shop",
            "device": DEVICE,
            "here": False,
            "deleted": 59,
            "added": 0,
            "amount": "1234.50",
            "from": "2024-01-03",
            "to": "2024-12-20",
            "records_before": 60,
            "records_after": 1,
            "bytes_before": 9000,
            "bytes_after": 120,
            "answer": answer,
        }
        return {"held": [held, held | {"answer": None, "from": None, "to": None}]}

    async def confirm(self, mandate: str, file: str) -> JsonObject:
        self.calls.append(("confirm", mandate, file))
        self._find(mandate)
        return {"file": file, "added": 0, "deleted": 30}

    async def wait(self, mandate: str, synced: bool, timeout_seconds: float | None) -> JsonObject:
        self._find(mandate)
        if timeout_seconds == 0:
            raise errors.UnavailableError(cause="not synced in time")
        return {"synced": True, "members": 2}

    async def history(
        self,
        mandate: str,
        file: str | None,
        at: str | None,
        known: bool = False,
        limit: int = 200,
    ) -> JsonObject:
        self.calls.append(("history", mandate, file, at, *(["known"] if known else [])))
        self._find(mandate)
        version = {
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
            "content": "here",
        }
        old = version | {"current": False, "records": None, "added": None, "deleted": None}
        versions = [
            version,
            old | {"content": "dropped"},
            old | {"content": "elsewhere"},
        ][:limit]
        listed = {"versions": versions, "left_out": 3 - len(versions)}
        if at is None:
            return listed
        desk = {"device": DEVICE, "name": self.name, "machine": "desk"}
        state = {
            "name": "Acme",
            "shared": True,
            "closed": False,
            "seat": desk,
            "members": [desk | {"role": "owner"}],
            "files": [
                {
                    "id": "ab" * 16,
                    "name": file or "sales.ecf",
                    "kind": "invoicing",
                    "format": "ecf",
                    "device": self.name,
                    "machine": "desk",
                    "folder": "books",
                    "version": "00ff",
                    "heads": 1,
                    "merged": False,
                    "records": 12,
                    "bytes": 1234,
                    "changed": NOW,
                    "by": self.name,
                    "posted": 10,
                    "pending": {
                        "added": 2,
                        "deleted": 0,
                        "amount": "20.00",
                        "amounts": {"": "20.00"},
                    },
                }
            ],
            "receipts": [
                {
                    "receipt": "ab" * 8,
                    "at": NOW,
                    "by": self.name,
                    "machine": "desk",
                    "files": ["sales.ecf"],
                    "added": 10,
                    "deleted": 0,
                    "state": "posted",
                }
            ],
            "receipts_left_out": 0,
        }
        return {"at": NOW, "by": "arrival" if known else "clocks", "state": state, **listed}

    async def retention_show(self, mandate: str | None) -> JsonObject:
        self.calls.append(("retention_show", mandate))
        policy = {"keep_days": 30, "then": "month", "min_free_bytes": 5 * 10**9}
        if mandate is None:
            own = [{"mandate": "Acme", "policy": policy | {"keep_days": None}}]
            return {"policy": policy, "own": True, "mandate": None, "mandates": own}
        self._find(mandate)
        file = {"file": "notes.txt", "versions": 2, "bytes": 4_000_000}
        return {
            "policy": policy,
            "own": False,
            "mandate": mandate,
            "held": {"versions": 5, "bytes": 9_000_000},
            "would_drop": {"versions": 2, "bytes": 4_000_000, "files": [file]},
        }

    async def retention_set(
        self, mandate: str | None, policy: JsonObject | None, dry_run: bool = False
    ) -> JsonObject:
        self.calls.append(("retention_set", mandate, policy, dry_run))
        shown = await self.retention_show("Acme")
        self.calls.pop()
        return shown if dry_run else shown | {"dropped": {"versions": 2, "bytes": 4_000_000}}

    async def record_history(
        self,
        mandate: str,
        file: str,
        text: str | None = None,
        voucher: str | None = None,
        line: int | None = None,
        after: int = 0,
        limit: int = 100,
    ) -> JsonObject:
        self.calls.append(("record_history", mandate, file, text, voucher, line, after, limit))
        self._find(mandate)
        record = {"date": "2024-05-01", "text": "Paper", "amount": "12.50", "voucher": "R-1"}
        who = {"at": NOW, "by": self.name, "machine": "desk", "device": DEVICE}
        steps = [
            {"what": "added", **who, "version": "00ff"},
            {"what": "posted", **who, "receipt": "ab" * 8},
            {"what": "changed", **who, "version": "01ff", "before": [record]},
            {"what": "retracted", **who, "receipt": "ab" * 8},
        ]
        here = {
            "line": 3,
            "present": True,
            "posted": True,
            "records": [record | {"text": "Paper, A4"}],
            "steps": steps,
        }
        gone = {
            "line": None,
            "present": False,
            "posted": False,
            "records": [record],
            "steps": [steps[0], {"what": "deleted", **who, "version": "02ff"}],
        }
        answer: JsonObject = {"file": file, "format": "ecf", "whole": False}
        return answer | {"records": [here, gone], "next": after + limit}

    async def restore(
        self,
        mandate: str,
        file: str,
        version: str | None,
        output: str | None,
        at: str | None = None,
        known: bool = False,
    ) -> JsonObject:
        self.calls.append(("restore", mandate, file, version or at, output))
        self._find(mandate)
        answer: JsonObject = {"file": file, "version": version or "00ff"}
        if at is not None:
            answer |= {"at": NOW, "by": "arrival" if known else "clocks"}
        return answer | {"path": output or f"mandates/Acme/{file}"}

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

    async def close_alerts(self, mandate: str | None) -> JsonObject:
        found = (await self.alerts(mandate))["alerts"]
        for alert in found:
            await self.close_alert(alert["id"])
        return {"closed": len(found)}

    async def messages(
        self,
        mandate: str | None,
        before: int | None,
        limit: int,
        types: list[str],
        severity: str | None,
    ) -> JsonObject:
        self.calls.append(("messages", mandate, before, limit, types, severity))
        found = [
            event
            for event in reversed(self.kept_events)
            if (before is None or event["id"] < before) and severity in (None, event["severity"])
        ]
        return {"messages": found[:limit], "more": len(found) > limit}

    async def event_types(self) -> JsonObject:
        return {
            "types": [
                {"type": "records-waiting", "severity": "message", "action": "post"},
                {"type": "link-broken", "severity": "alert", "action": "restore-link"},
            ]
        }

    async def hook_list(self) -> JsonObject:
        return {"hooks": self.hooks}

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
        self.calls.append(("hook_add", mandate, events, command, url, secret, allow_http, language))
        hook: JsonObject = {
            "id": len(self.hooks) + 1,
            "mandate": mandate,
            "mandate_name": mandate,
            "events": events,
            "command": command,
            "url": url,
            "state": "new",
            "waiting": 0,
            "failures": 0,
            "lost": 0,
            "last": None,
        }
        self.hooks.append(hook)
        return {**hook, "secret": "whsec_made"} if url and not secret else hook

    async def hook_remove(self, hook: int) -> JsonObject:
        self.hooks.remove(self._hook(hook))
        return {"id": hook, "removed": True}

    async def hook_test(self, hook: int) -> JsonObject:
        self._hook(hook)
        return {"id": hook, "ok": False} | message("exit code {code}", code=3)

    def _hook(self, hook: int) -> JsonObject:
        for each in self.hooks:
            if each["id"] == hook:
                return each
        raise errors.HookUnknown(hook=hook)

    async def desktop_show(self) -> JsonObject:
        return {"desktop": "off", "cause": message("there is no desktop")}

    async def desktop_set(self, on: bool) -> JsonObject:
        if on:
            raise errors.DesktopMissing
        return await self.desktop_show()

    async def expect(self, mandate: str, file: str, seconds: int) -> JsonObject:
        self.calls.append(("expect", mandate, file, seconds))
        self._find(mandate)
        return {"file": file, "expect_seconds": seconds}

    async def member_list(self, mandate: str) -> JsonObject:
        return {"members": self._find(mandate)["members"], "removed": self.removed_members}

    async def member_removal(self, mandate: str, device: str) -> JsonObject:
        self.calls.append(("member_removal", mandate, device))
        return {
            "mandate": self._find(mandate)["name"],
            "device": DEVICE,
            "name": device,
            "machine": "desk",
            "role": "writer",
            "seat": True,
            "files": ["sales.ecf"],
            "tickets": 1,
            "remaining": 2,
        }

    async def member_remove(self, mandate: str, device: str) -> JsonObject:
        self.calls.append(("member_remove", mandate, device))
        return await self.member_removal(mandate, device)

    async def member_readmit(self, mandate: str, device: str) -> JsonObject:
        self.calls.append(("member_readmit", mandate, device))
        return {
            "mandate": self._find(mandate)["name"],
            "device": DEVICE,
            "name": device,
            "machine": "desk",
            "quarantined": 3,
        }

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

    async def proxy_show(self) -> JsonObject:
        return dict(PROXY)

    async def proxy_set(self, url: str, password: str | None) -> JsonObject:
        self.calls.append(("proxy_set", url, password))
        return dict(PROXY)

    async def proxy_clear(self) -> JsonObject:
        self.calls.append(("proxy_clear",))
        return {**PROXY, "proxy": None, "source": None, "state": "off"}

    async def relay_list(self) -> JsonObject:
        return {"relays": [RELAY]}

    async def relay_group(self, mandate: str, relay: str) -> JsonObject:
        self.calls.append(("relay_group", mandate, relay))
        return {"mandate": mandate, "relay": "12D3KooWrelay", "group": "a" * 26}

    async def relay_add(self, address: str, mandate: str | None = None) -> JsonObject:
        self.calls.append(("relay_add", address, mandate))
        return dict(RELAY)

    async def relay_remove(self, relay: str, mandate: str | None = None) -> JsonObject:
        self.calls.append(("relay_remove", relay, mandate))
        named = [] if mandate else ["Acme"]
        return {"peer": RELAY["peer"], "own": mandate is not None, "mandates": named}


PROXY: JsonObject = {
    "proxy": "http://office@proxy.example.ch:8080",
    "source": "setting",
    "password": True,
    "exempt": [],
    "state": "password-refused",
    "since": "2025-04-01T10:00:00Z",
    "cause": "it does not take the user name or the password",
}
RELAY: JsonObject = {
    "peer": "12D3KooWRelay",
    "address": "/dns4/relay.example.ch/tcp/4001",
    "own": True,
    "mandates": ["Acme"],
    "tickets": [],
    "state": "unreachable",
    "since": "2025-04-01T10:00:00Z",
    "cause": "connection refused",
}
