"""Three nodes at work, one after the other killed in the middle of it, and what they may not lose.

Everything that chance decides is drawn from the seed: who does what, who dies, and when: at the
n-th touch of the disk from now, while it starts, or some milliseconds after what was done last.
The moment on the clock itself is the machine's, so a seed names a kind of story, not one trace.
"""

import random
import shutil
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Self

from tests.kills.hosts import CutOff, Host, NotThere, Refused, eventually
from tests.kills.model import HEADER_LINES, File, Model, Receipt, records

EXAMPLES = Path(__file__).resolve().parents[2] / "docs" / "examples"
CRP = "atelier_2025.crp"
SALES = (EXAMPLES / "atelier_2025_v1.ecf").read_bytes().splitlines(keepends=True)
MANDATE = "Books"
NAMES = ("accountant", "clerk", "payroll")
OPAQUE_BYTES_MAX = 1 << 20
FILES_MAX = 7
SETTLE_EVERY = 10
TOUCHES_MAX = 150
ACTIONS = (("save", 10), ("opaque", 4), ("post", 4), ("unpost", 1), ("attach", 2), ("name", 1))


def invoices(rng: random.Random, name: str, count: int) -> list[bytes]:
    """Some postings of a file; now and then two are alike, for two alike are two (B-POS-2).

    What stands in another file is another posting, so each file has numbers of its own.
    """
    mark = name.partition(".")[0][-2:].encode()
    return [
        SALES[HEADER_LINES].replace(b"R-2001", b"%s-%04d" % (mark, rng.randrange(5000)))
        for _ in range(count)
    ]


@dataclass
class Kills:
    """How often which kind of end came, and what had been asked of the nodes by then."""

    by_kind: Counter[str] = field(default_factory=Counter)
    actions: Counter[str] = field(default_factory=Counter)
    cut_off: int = 0

    def __str__(self) -> str:
        kinds = ", ".join(f"{count} {kind}" for kind, count in sorted(self.by_kind.items()))
        done = ", ".join(f"{count} {name}" for name, count in sorted(self.actions.items()))
        return f"{self.by_kind.total()} kills ({kinds}); {done}; {self.cut_off} cut off"


class Life:
    """One mandate on three homes."""

    def __init__(self, root: Path, seed: int, mutant: str = "") -> None:
        """``mutant``: a fault that the nodes have, from ``hosted.MUTANTS``."""
        self.rng = random.Random(f"{seed}/life")
        self.root = root
        self.hosts = [Host(root / name, mutant) for name in NAMES]
        self.model = Model()
        self.tally = Kills()
        self.expected: set[str] = set()
        """Alerts that are no sign of trouble."""
        self._outputs = 0

    @property
    def accountant(self) -> Host:
        """The node that posts."""
        return self.hosts[0]

    def __enter__(self) -> Self:
        try:
            self._begin()
        except BaseException:
            self._end()
            raise
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self._end()
        if isinstance(error, AssertionError):
            for host in self.hosts:
                error.add_note(f"{host.root.name}: {host.said()}")
        elif error is None:
            shutil.rmtree(self.root)

    def _end(self) -> None:
        for host in self.hosts:
            host.end()

    def run(self, kills: int) -> Kills:
        """Live until so many kills were survived; raises ``AssertionError``."""
        with self:
            settled = 0
            while (done := self.tally.by_kind.total()) < kills:
                self._episode()
                if done - settled >= SETTLE_EVERY:
                    settled = done
                    self.settle()
            self.settle()
            self.last_post()
        return self.tally

    # -- the story ------------------------------------------------------------------------------

    def _begin(self) -> None:
        accountant = self.accountant
        for host in self.hosts:
            host.start()
        crp = self._file(0, CRP, (EXAMPLES / CRP).read_bytes(), counts=False)
        made = {"name": MANDATE, "accounting": str(crp.path)}
        accountant("POST", "mandates", body=made)
        crp.attached = True
        accountant("POST", "mandates", MANDATE, "share")
        for host in self.hosts[1:]:
            ticket = accountant("POST", "mandates", MANDATE, "invitations", body={"unsealed": True})
            host("POST", "subscriptions", body={"ticket": ticket["ticket"]})
        for owner in (1, 2):
            name = f"{NAMES[owner]}.ecf"
            content = b"".join([*SALES[:HEADER_LINES], *invoices(self.rng, name, 12)])
            file = self._file(owner, name, content, counts=True)
            eventually(partial(self._is_member, owner))
            self._attach(file)
            plans = self.rng.randbytes(300_000)
            self._attach(self._file(owner, f"{NAMES[owner]}.bin", plans, counts=False))
        self.settle()

    def _is_member(self, index: int) -> bool:
        return bool(self.hosts[index].ask("mandates", MANDATE)["state"] == "ok")

    def _file(self, owner: int, name: str, content: bytes, *, counts: bool) -> File:
        file = File(name, owner, self.hosts[owner].work / name, [], counts)
        self._save(file, content)
        return file

    def _save(self, file: File, content: bytes) -> None:
        """Save as programs do: whole, by renaming. What is on the disk then is acknowledged."""
        beside = file.path.with_name(f".{file.name}.saving")
        beside.write_bytes(content)
        file.contents.append(content)
        beside.replace(file.path)

    def _attach(self, file: File) -> None:
        body = {"files": [str(file.path)], "kind": "invoicing" if file.counts else "other"}
        self.model.files[file.name] = file
        self.hosts[file.owner]("POST", "mandates", MANDATE, "files", body=body)
        file.attached = True

    def _episode(self) -> None:
        victim = self.rng.choice(self.hosts)
        kind = self.rng.choices(("touch", "time", "both"), (6, 3, 1))[0]
        touches = int(TOUCHES_MAX ** self.rng.random())
        if kind == "touch":
            victim.meter.kill_after(touches)
        for _ in range(self.rng.randint(1, 4)):
            self.act()
        victims = [victim]
        if kind == "both":
            victims.append(self.rng.choice([each for each in self.hosts if each is not victim]))
        time.sleep(self.rng.uniform(0, 0.15) if kind != "touch" else 0)  # the moment, not a hope
        for each in victims:
            by_itself = each.kill(0.5 if kind == "touch" else 0.0)
            self.tally.by_kind["at a touch" if by_itself else "at a time"] += 1
        if self.rng.random() < 0.3:
            self.act()  # people work on while a node is dead
        for each in victims:
            self._revive(each)
        for each in victims:
            self.check(each)

    def _revive(self, host: Host) -> None:
        """Start a node; sometimes it dies once more while it does."""
        again = self.rng.random() < 0.2
        host.meter.kill_after(int(700 ** self.rng.random()) if again else 0)
        host.launch()
        if host.await_ready():
            if not again:
                return
            host.kill()
        self.tally.by_kind["while it starts"] += 1
        host.meter.kill_after(0)
        host.start()

    # -- what people do -------------------------------------------------------------------------

    def act(self) -> None:
        """Somebody does something."""
        names, weights = zip(*ACTIONS, strict=True)
        name: str = self.rng.choices(names, weights)[0]
        self.tally.actions[name] += 1
        try:
            getattr(self, f"_do_{name}")()
        except CutOff:
            self.tally.cut_off += 1

    def _do_save(self) -> None:
        file = self.rng.choice([each for each in self.model.attached() if each.counts])
        lines = file.current.splitlines(keepends=True)
        head, body = lines[:HEADER_LINES], lines[HEADER_LINES:]
        if len(body) > 8 and self.rng.random() < 0.6:  # fewer than what would be held back
            for _ in range(self.rng.randint(1, min(len(body) // 3, 15))):
                body.pop(self.rng.randrange(len(body)))
        for line in invoices(self.rng, file.name, self.rng.randint(0, 8)):
            body.insert(self.rng.randint(0, len(body)), line)
        if self.rng.random() < 0.3:
            body.insert(0, self.rng.choice(body))
        self._save(file, b"".join([*head, *body]))

    def _do_opaque(self) -> None:
        file = self.rng.choice([each for each in self.model.attached() if not each.counts])
        if file.name == CRP:
            return
        content = bytearray(file.current)
        at = self.rng.randrange(len(content))
        content[at : at + 100] = self.rng.randbytes(self.rng.randint(100, OPAQUE_BYTES_MAX // 4))
        if len(content) > OPAQUE_BYTES_MAX:
            del content[OPAQUE_BYTES_MAX // 2 :]
        self._save(file, bytes(content))

    def save(self, owner: int, more: int) -> None:
        """Somebody's program writes more postings."""
        file = self.model.files[f"{NAMES[owner]}.ecf"]
        self._save(file, file.current + b"".join(invoices(self.rng, file.name, more)))

    def append(self, owner: int) -> None:
        """Somebody's program writes one more posting in place, at the end of the file."""
        file = self.model.files[f"{NAMES[owner]}.ecf"]
        (line,) = invoices(self.rng, file.name, 1)
        file.contents.append(file.current + line)
        with file.path.open("ab") as written:
            written.write(line)

    def replace(self, owner: int, size_bytes: int) -> None:
        """Somebody saves another content that nobody understands."""
        file = self.model.files[f"{NAMES[owner]}.bin"]
        self._save(file, self.rng.randbytes(size_bytes))

    def overwrite(self, index: int, owner: int, size_bytes: int) -> None:
        """Somebody saves another content over the copy of another one's file."""
        file = self.model.files[f"{NAMES[owner]}.bin"]
        content = self.rng.randbytes(size_bytes)
        copy = self.hosts[index].home / "mandates" / MANDATE / file.name
        beside = copy.with_name(f".{file.name}.saving")
        beside.write_bytes(content)
        file.contents.append(content)
        beside.replace(copy)

    def arrived(self, host: Host) -> bool:
        """Whether a node has written out what was saved last, all of it."""
        return all(self._holds(host, file) for file in self.model.attached())

    def _holds(self, host: Host, file: File) -> bool:
        copy = host.home / "mandates" / MANDATE / file.name
        return copy.exists() and copy.read_bytes() == file.current

    def _do_attach(self) -> None:
        if len(self.model.files) >= FILES_MAX:
            return
        owner = self.rng.randrange(len(self.hosts))
        name = f"more{len(self.model.files)}"
        if self.rng.random() < 0.5:
            content = b"".join([*SALES[:HEADER_LINES], *invoices(self.rng, f"{name}.ecf", 4)])
            self._attach(self._file(owner, f"{name}.ecf", content, counts=True))
        else:
            self._attach(self._file(owner, f"{name}.bin", self.rng.randbytes(5000), counts=False))

    def _do_name(self) -> None:
        self.name(self.rng.randrange(len(self.hosts)))

    def name(self, index: int) -> None:
        """Somebody says what their name is."""
        name = f"{NAMES[index]} {self.rng.randrange(100)}"
        self.model.names.pop(index, None)
        self.hosts[index]("PUT", "identity", body={"name": name})
        self.model.names[index] = name

    def _do_post(self) -> None:
        self.post()

    def post(self) -> None:
        """Post all that waits, and note what was handed over."""
        accountant = self.accountant
        self._outputs += 1
        output = accountant.work / f"post{self._outputs}"
        known = set(self.model.receipts)
        try:
            body = {"output": str(output)}
            made = accountant("POST", "mandates", MANDATE, "receipts", body=body)
        except NotThere:
            raise
        except CutOff:
            # Once or not at all; the receipt tells which.
            self._await_accountant()
            listed = accountant.ask("mandates", MANDATE, "receipts")["receipts"]
            new = [each["receipt"] for each in listed if each["receipt"] not in known]
            assert len(new) <= 1, f"one post gave {new}"
            if new:
                self._note_receipt(new[0], output)
            raise
        if made["receipt"] is not None:
            self._note_receipt(made["receipt"], output)
            receipt = self.model.receipts[made["receipt"]]
            assert made["added"] - made["deleted"] == (
                receipt.came.total() - receipt.gone.total()
            ), (made, receipt)

    def _await_accountant(self) -> None:
        """It has killed itself while it was asked; start it anew to see what it kept."""
        self.accountant.kill(1.0)
        self.tally.by_kind["at a touch"] += 1
        self._revive(self.accountant)

    def _note_receipt(self, name: str, output: Path) -> None:
        deleted = output.with_name(f"{output.name}.deleted")
        parts = [path.read_bytes() if path.exists() else b"" for path in (output, deleted)]
        came, gone = (Counter(part.splitlines()) for part in parts)
        self.model.receipts[name] = Receipt(came, gone)

    def _do_unpost(self) -> None:
        live = [name for name, each in self.model.receipts.items() if not each.retracted]
        if not live:
            return
        name = live[-1]
        accountant = self.accountant
        try:
            accountant("DELETE", "mandates", MANDATE, "receipts", name)
        except NotThere:
            raise
        except CutOff:
            self._await_accountant()
            self.model.receipts[name].retracted = self._receipts()[name] == "retracted"
            raise
        self.model.receipts[name].retracted = True

    def _receipts(self) -> dict[str, str]:
        listed = self.accountant.ask("mandates", MANDATE, "receipts")["receipts"]
        return {each["receipt"]: each["state"] for each in listed}

    # -- what must hold -------------------------------------------------------------------------

    def check(self, host: Host) -> None:
        """What must be there right after a restart, before anybody else was asked."""
        index = self.hosts.index(host)
        status = host.ask("status")
        assert "read_only" not in status, status
        shown = host.ask("mandates", MANDATE)
        listed = {file["name"] for file in shown["files"]}
        for file in self.model.files.values():
            if file.owner == index:
                if file.attached:
                    assert file.name in listed, f"{file.name} was acknowledged and is not attached"
                elif file.name in listed:
                    file.attached = True  # the command was cut off after it had happened
        if index == 0:
            states = self._receipts()
            for name, receipt in self.model.receipts.items():
                expected = "retracted" if receipt.retracted else "posted"
                assert states.get(name) == expected, f"{name}: {states.get(name)}, not {expected}"
            assert len(states) == len(self.model.receipts), "a receipt that nobody asked for"
        if index in self.model.names:
            assert status["name"] == self.model.names[index]
        self._check_alerts(host)
        self._check_logs(host)
        self._check_copies(host)

    def _check_alerts(self, host: Host) -> None:
        alerts = [each for each in host.alerts() if each["type"] not in self.expected]
        assert not alerts, f"{host.root.name}: {alerts}"

    def _check_logs(self, host: Host) -> None:
        """No log has two entries in one place, nor a gap, and every entry is there once."""
        entries = host.entries()
        places = [(log, seq) for log, seq, _ in entries]
        assert len(places) == len(set(places)), "a log has two entries in one place"
        assert len({entry for _, _, entry in entries}) == len(entries)
        for log in {log for log, _ in places}:
            seqs = sorted(seq for each, seq in places if each == log)
            assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"log {log} has a gap"

    def _check_copies(self, host: Host) -> None:
        """Whatever stands in the mandate folder was saved by somebody, whole."""
        for file in self.model.files.values():
            with suppress(FileNotFoundError):
                held = (host.home / "mandates" / MANDATE / file.name).read_bytes()
                assert held in file.contents, f"{file.name}: a content that nobody saved"

    def settle(self) -> None:
        """Wait until all have the same, and compare it with what was noted."""
        for host in self.hosts:
            host.meter.kill_after(0)
            if not host.running:
                host.start()
        for file in self.model.files.values():
            if not file.attached:
                listed = self.hosts[file.owner].ask("mandates", MANDATE)["files"]
                if file.name in {each["name"] for each in listed}:
                    file.attached = True
                else:
                    self._attach(file)
        for host in self.hosts:
            for file in self.model.attached():
                arrived = partial(self._holds, host, file)
                eventually(arrived, what=f"{file.name} on {host.root.name}")
        for host in self.hosts:
            wait = {"synced": True, "timeout_seconds": 60}
            try:
                host("POST", "mandates", MANDATE, "wait", body=wait)
            except Refused as error:
                raise AssertionError(f"{host.root.name}: {error.error}") from error
        for index, host in enumerate(self.hosts):
            self.check(host)
            found = host.ask("mandates", MANDATE, "pending")
            expected = self.model.pending()
            counts = (found["added"], found["deleted"])
            assert counts == expected, f"{counts} wait on {host.root.name}, not {expected}"
            for file in self.model.attached():
                assert file.path.read_bytes() == file.current or file.owner != index
            versions = host.ask("mandates", MANDATE, "history")["versions"]
            for file in self.model.attached():
                if file.counts:
                    told = sum(
                        each["added"] - each["deleted"]
                        for each in versions
                        if each["file"] == file.name
                    )
                    assert told == records(file.current).total(), f"{file.name} counted twice"

    def last_post(self) -> None:
        """In the end the accountant's program has exactly the postings of the files."""
        self.post()
        assert +self.model.posted() == self.model.current()
        assert not -self.model.posted(), "more was taken back than ever came"
        for host in self.hosts:
            eventually(partial(self._nothing_waits, host), what=f"all is posted: {host.root.name}")

    def _nothing_waits(self, host: Host) -> bool:
        found = host.ask("mandates", MANDATE, "pending")
        return (found["added"], found["deleted"]) == (0, 0)
