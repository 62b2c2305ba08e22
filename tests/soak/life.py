"""Hours of a few nodes: random work, random faults, and what must hold whenever all is at rest.

The last node is never ended, only paused now and then: what leaks grows there. What chance decides
is drawn from the seed; moments on the clock are the machine's.
"""

import random
import time
from collections import Counter
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from threading import Timer

from tests.kills.hosts import CutOff, NotThere, eventually
from tests.kills.life import CRP, EXAMPLES, SALES, invoices
from tests.kills.model import HEADER_LINES, File, Model, Receipt, records
from tests.soak.node import SoakNode
from tests.soak.watch import Rows, Watch

BOOKS = "Books"
OTHERS = ("Plans", "Letters")
ACTIONS = {"save": 12, "opaque": 6, "post": 3, "unpost": 1, "attach": 0.3, "ask": 3}
FAULTS = {"kill": 4, "kill in work": 3, "stop": 2, "pause": 4, "link": 2}
ACTION_SECONDS = 2.0
FAULT_SECONDS = 30.0
CHECK_SECONDS = 240.0
DOWN_SECONDS_MAX = 20.0
PAUSE_SECONDS_MAX = 40.0
AGREE_SECONDS_MAX = 240.0
FILES_MAX = 24
OPAQUE_BYTES_MAX = 1 << 20
CONTENTS_MAX = 40


@dataclass(frozen=True, slots=True)
class Pace:
    """How long on average from one action, fault and check to the next, in seconds."""

    action: float = ACTION_SECONDS
    fault: float = FAULT_SECONDS
    check: float = CHECK_SECONDS


class Soak:
    """One accountant's mandate and two more on N homes."""

    def __init__(self, root: Path, count: int, seed: int, rows: Rows, pace: Pace) -> None:
        """``root`` gets the homes."""
        assert count >= 2, "a soak needs two nodes"
        self.rng = random.Random(f"{seed}/soak")
        self.nodes = [SoakNode(root / f"node{index}") for index in range(count)]
        self.models = {mandate: Model() for mandate in (BOOKS, *OTHERS)}
        self.rows = rows
        self.pace = pace
        self.watch = Watch(self.nodes, rows)
        self.problems = 0
        self._outputs = 0
        self._back_at: dict[int, float] = {}
        self._timers: list[Timer] = []

    # -- the run --------------------------------------------------------------------------------

    def run(self, seconds: float) -> None:
        """Live so long, the last check included in what comes after; then end all processes."""
        try:
            self._begin()
            self.watch.start()
            self._check()
            end = time.monotonic() + seconds
            check_at = time.monotonic() + self.pace.check
            fault_at = self._after(self.pace.fault)
            while (now := time.monotonic()) < end:
                self._bring_back(now)
                if now >= check_at:
                    self._check()
                    check_at = time.monotonic() + self.pace.check
                if now >= fault_at:
                    self._fault()
                    fault_at = self._after(self.pace.fault)
                self._act()
                time.sleep(self.rng.expovariate(1 / self.pace.action))
            self._check()
            self._last_post()
        finally:
            self.end()

    def end(self) -> None:
        """Let nothing run on."""
        for timer in self._timers:
            timer.cancel()
        with suppress(RuntimeError):  # never started
            self.watch.stop()
        for node in self.nodes:
            node.end()

    def _after(self, mean_seconds: float) -> float:
        return time.monotonic() + self.rng.expovariate(1 / mean_seconds)

    def _begin(self) -> None:
        for node in self.nodes:
            node.start()
        books = self._file(BOOKS, 0, CRP, (EXAMPLES / CRP).read_bytes(), counts=False)
        self.nodes[0]("POST", "mandates", body={"name": BOOKS, "accounting": str(books.path)})
        books.attached = True
        self._share(BOOKS, 0)
        for number, mandate in enumerate(OTHERS, 1):
            founder = number % len(self.nodes)
            self.nodes[founder]("POST", "mandates", body={"name": mandate})
            self._share(mandate, founder)
        for owner in range(1, len(self.nodes)):
            lines = [*SALES[:HEADER_LINES], *invoices(self.rng, f"sales{owner}.ecf", 30)]
            self._attach(BOOKS, owner, f"sales{owner}.ecf", b"".join(lines), counts=True)
        for mandate in self.models:
            for owner in range(len(self.nodes)):
                plans = self.rng.randbytes(self.rng.choice((20_000, 300_000)))
                self._attach(mandate, owner, f"{mandate}{owner}.bin", plans, counts=False)

    def _share(self, mandate: str, founder: int) -> None:
        host = self.nodes[founder]
        host("POST", "mandates", mandate, "share")
        for node in self.nodes:
            if node is not host:
                made = host("POST", "mandates", mandate, "invitations", body={"unsealed": True})
                node("POST", "subscriptions", body={"ticket": made["ticket"]})
                eventually(lambda node=node: node.ask("mandates", mandate)["state"] == "ok")  # type: ignore[misc]

    # -- what people do -------------------------------------------------------------------------

    def _act(self) -> None:
        name = self.rng.choices(list(ACTIONS), list(ACTIONS.values()))[0]
        outcome = "done"
        try:
            getattr(self, f"_do_{name}")()
        except NotThere:
            outcome = "not there"
        except CutOff:
            outcome = "cut off"
        except TimeoutError:
            outcome = "paused"
        except Exception as error:  # whatever it is, it is told, and the run goes on
            outcome = "failed"
            self._problem(f"{name}: {type(error).__name__} {error}")
        self.rows.write("action", name=name, outcome=outcome)

    def _problem(self, text: str) -> None:
        self.problems += 1
        self.rows.write("problem", text=text)

    def _file(self, mandate: str, owner: int, name: str, content: bytes, *, counts: bool) -> File:
        file = File(name, owner, self.nodes[owner].work / name, [], counts)
        self.models[mandate].files[name] = file
        self._save(mandate, file, content)
        return file

    def _attach(self, mandate: str, owner: int, name: str, content: bytes, *, counts: bool) -> None:
        file = self._file(mandate, owner, name, content, counts=counts)
        self._attach_file(mandate, file)

    def _attach_file(self, mandate: str, file: File) -> None:
        body = {"files": [str(file.path)], "kind": "invoicing" if file.counts else "other"}
        self.nodes[file.owner]("POST", "mandates", mandate, "files", body=body)
        file.attached = True

    def _save(self, mandate: str, file: File, content: bytes) -> None:
        """Save as programs do: whole, by renaming."""
        beside = file.path.with_name(f".{file.name}.saving")
        beside.write_bytes(content)
        file.contents.append(content)
        del file.contents[:-CONTENTS_MAX]
        beside.replace(file.path)
        if file.attached:
            self.watch.saved(self.nodes[file.owner], mandate, file.name, content)

    def _do_save(self) -> None:
        file = self.rng.choice([each for each in self.models[BOOKS].attached() if each.counts])
        lines = file.current.splitlines(keepends=True)
        head, body = lines[:HEADER_LINES], lines[HEADER_LINES:]
        if len(body) > 20 and self.rng.random() < 0.6:  # fewer than what would be held back
            for _ in range(self.rng.randint(1, 6)):
                body.pop(self.rng.randrange(len(body)))
        for line in invoices(self.rng, file.name, self.rng.randint(0, 7)):
            body.insert(self.rng.randint(0, len(body)), line)
        if self.rng.random() < 0.3:
            body.insert(0, self.rng.choice(body))
        self._save(BOOKS, file, b"".join([*head, *body]))

    def _do_opaque(self) -> None:
        mandate = self.rng.choice(list(self.models))
        files = [each for each in self.models[mandate].attached() if not each.counts]
        file = self.rng.choice([each for each in files if each.name != CRP])
        content = bytearray(file.current)
        at = self.rng.randrange(len(content))
        most = OPAQUE_BYTES_MAX // 4 if self.rng.random() < 0.3 else 5_000
        content[at : at + 100] = self.rng.randbytes(self.rng.randint(100, most))
        del content[OPAQUE_BYTES_MAX:]
        self._save(mandate, file, bytes(content))

    def _do_attach(self) -> None:
        mandate = self.rng.choice(list(self.models))
        model = self.models[mandate]
        owner = self.rng.randrange(len(self.nodes))
        if len(model.files) >= FILES_MAX or not self.nodes[owner].up:
            raise NotThere
        name = f"{mandate}more{len(model.files)}"
        if mandate == BOOKS and self.rng.random() < 0.5:
            lines = [*SALES[:HEADER_LINES], *invoices(self.rng, f"{name}.ecf", 4)]
            self._attach(mandate, owner, f"{name}.ecf", b"".join(lines), counts=True)
        else:
            content = self.rng.randbytes(5_000)
            self._attach(mandate, owner, f"{name}.bin", content, counts=False)

    def _do_ask(self) -> None:
        """Somebody looks, as an interface does."""
        up = [each for each in self.nodes if each.up]
        if not up:
            raise NotThere
        node = self.rng.choice(up)
        mandate = self.rng.choice(list(self.models))
        for path in ((), ("pending",), ("members",), ("history",)):
            node.ask("mandates", mandate, *path)

    def _do_post(self) -> None:
        accountant = self.nodes[0]
        if not accountant.up:
            raise NotThere
        self._outputs += 1
        output = accountant.work / f"post{self._outputs}"
        known = set(self.models[BOOKS].receipts)
        try:
            body = {"output": str(output)}
            made = accountant("POST", "mandates", BOOKS, "receipts", body=body)
        except NotThere:
            raise
        except CutOff:
            # Once or not at all; the receipt tells which.
            self._restart(0)
            new = [name for name in self._receipts() if name not in known]
            assert len(new) <= 1, f"one post gave {new}"
            for name in new:
                self._note_receipt(name, output)
            raise
        if made["receipt"] is not None:
            self._note_receipt(made["receipt"], output)
            receipt = self.models[BOOKS].receipts[made["receipt"]]
            assert made["added"] - made["deleted"] == (
                receipt.came.total() - receipt.gone.total()
            ), (made, receipt)

    def _note_receipt(self, name: str, output: Path) -> None:
        deleted = output.with_name(f"{output.name}.deleted")
        parts = [path.read_bytes() if path.exists() else b"" for path in (output, deleted)]
        came, gone = (Counter(part.splitlines()) for part in parts)
        self.models[BOOKS].receipts[name] = Receipt(came, gone)

    def _do_unpost(self) -> None:
        receipts = self.models[BOOKS].receipts
        live = [name for name, each in receipts.items() if not each.retracted]
        if not live or not self.nodes[0].up:
            raise NotThere
        try:
            self.nodes[0]("DELETE", "mandates", BOOKS, "receipts", live[-1])
        except NotThere:
            raise
        except CutOff:
            self._restart(0)
            receipts[live[-1]].retracted = self._receipts()[live[-1]] == "retracted"
            raise
        receipts[live[-1]].retracted = True

    def _receipts(self) -> dict[str, str]:
        listed = self.nodes[0].ask("mandates", BOOKS, "receipts")["receipts"]
        return {each["receipt"]: each["state"] for each in listed}

    # -- what befalls nodes ---------------------------------------------------------------------

    def _fault(self) -> None:
        name = self.rng.choices(list(FAULTS), list(FAULTS.values()))[0]
        index = self.rng.randrange(len(self.nodes))
        if index == len(self.nodes) - 1:
            name = "pause"
        node = self.nodes[index]
        if not node.up or index in self._back_at:
            return
        most = PAUSE_SECONDS_MAX if name == "pause" else DOWN_SECONDS_MAX
        away = self.rng.uniform(1, most)
        self.rows.write("fault", name=name, node=index, seconds=round(away, 1))
        match name:
            case "pause":
                node.pause()
            case "kill":
                node.kill()
            case "kill in work":
                self._kill_in_work(index)
            case "stop":
                node.stop()
            case _:
                node.stop()
                node.move()
                away = 0
        self._back_at[index] = time.monotonic() + away

    def _kill_in_work(self, index: int) -> None:
        """Kill it some milliseconds from now, while something is done."""
        process = self.nodes[index]._process
        timer = Timer(self.rng.uniform(0, 0.3), process.kill)
        self._timers = [timer]
        timer.start()
        for _ in range(3):
            self._act()
        timer.join()
        if self.nodes[index]._process is process:
            self.nodes[index].kill()

    def _restart(self, index: int) -> None:
        node = self.nodes[index]
        node.kill(1.0)
        node.start()
        self._back_at.pop(index, None)

    def _bring_back(self, now: float) -> None:
        for index, moment in list(self._back_at.items()):
            if now >= moment:
                del self._back_at[index]
                node = self.nodes[index]
                node.wake()
                if not node.running:
                    began = time.monotonic()
                    node.start()
                    took = round(time.monotonic() - began, 3)
                    self.rows.write("back", node=index, seconds=took)

    # -- what must hold -------------------------------------------------------------------------

    def _check(self) -> None:
        """Let all come to rest, and compare it with what was noted."""
        self._bring_back(float("inf"))
        began = time.monotonic()
        problems: list[str] = []
        for step in (self._agree, self._synced, self._pending, self._whole, self._quiet):
            try:
                step()
            except Exception as error:  # whatever it is, it is told, and the run goes on
                problems.append(f"{step.__name__.strip('_')}: {type(error).__name__} {error}")
        for problem in problems:
            self._problem(problem)
        self.rows.write(
            "check",
            seconds=round(time.monotonic() - began, 3),
            ok=not problems,
            files=sum(len(model.attached()) for model in self.models.values()),
            records=self.models[BOOKS].current().total(),
            receipts=len(self.models[BOOKS].receipts),
            homes=[_bytes_below(node.home) for node in self.nodes],
        )

    def _agree(self) -> None:
        """Every home has the bytes that were saved last."""
        for mandate, model in self.models.items():
            for file in model.files.values():
                if not file.attached:
                    listed = self.nodes[file.owner].ask("mandates", mandate)["files"]
                    file.attached = file.name in {each["name"] for each in listed}
                    if not file.attached:
                        self._attach_file(mandate, file)
            for node in self.nodes:
                for file in model.attached():
                    copy = node.folder(mandate) / file.name
                    eventually(
                        lambda copy=copy, file=file: (
                            copy.exists()  # type: ignore[misc]
                            and copy.read_bytes() == file.current
                        ),
                        AGREE_SECONDS_MAX,
                        f"{mandate}/{file.name} on {node.root.name}",
                    )
                    if self.nodes[file.owner] is node:
                        assert file.path.read_bytes() == file.current, f"{file.path} was changed"

    def _synced(self) -> None:
        for mandate in self.models:
            for node in self.nodes:
                body = {"synced": True, "timeout_seconds": 50}
                node("POST", "mandates", mandate, "wait", body=body)

    def _pending(self) -> None:
        """What waits to be posted is the same everywhere, and what paper says (B-POS-2)."""
        for mandate, model in self.models.items():
            expected = model.pending()
            for node in self.nodes:
                said = node.ask("mandates", mandate, "pending")
                found = said["added"], said["deleted"]
                assert found == expected, f"{mandate}, {node.root.name}: {found}, not {expected}"
        model = self.models[BOOKS]
        states = self._receipts()
        wanted = {
            name: "retracted" if each.retracted else "posted"
            for name, each in model.receipts.items()
        }
        assert states == wanted, f"receipts: {states}, not {wanted}"
        for node in self.nodes:
            versions = node.ask("mandates", BOOKS, "history")["versions"]
            for file in model.attached():
                told = sum(
                    (each["added"] or 0) - (each["deleted"] or 0)
                    for each in versions
                    if each["file"] == file.name
                )
                count = records(file.current).total()
                assert told == count or not file.counts, f"{file.name}: {told}, not {count}"

    def _whole(self) -> None:
        """No log has two entries in one place, nor a gap; all have the same entries."""
        every = []
        for node in self.nodes:
            entries = node.entries()
            places = [(log, seq) for log, seq, _ in entries]
            ids = {entry for _, _, entry in entries}
            assert len(places) == len(set(places)), "a log has two entries in one place"
            assert len(ids) == len(entries), "an entry is there twice"
            for log in {log for log, _ in places}:
                seqs = sorted(seq for each, seq in places if each == log)
                assert seqs == list(range(seqs[0], seqs[0] + len(seqs))), f"log {log} has a gap"
            every.append(ids)
        assert all(ids == every[0] for ids in every), f"entries: {[len(ids) for ids in every]}"

    def _quiet(self) -> None:
        """Nobody was alerted, and nobody is read-only."""
        for node in self.nodes:
            alerts = node.alerts()
            assert not alerts, f"{node.root.name}: {alerts}"
            assert "read_only" not in node.ask("status"), node.root.name

    def _last_post(self) -> None:
        """In the end the accountant's program has exactly the postings of the files."""
        try:
            self._do_post()
            model = self.models[BOOKS]
            assert +model.posted() == model.current(), "what is posted is not what the files have"
            assert not -model.posted(), "more was taken back than ever came"
        except Exception as error:
            self._problem(f"last post: {type(error).__name__} {error}")


def _bytes_below(folder: Path) -> int:
    total = 0
    for path in folder.rglob("*"):
        with suppress(OSError):
            if path.is_file():
                total += path.stat().st_size
    return total
