"""A Hypothesis state machine over ``Life``: everything that people do, in any order."""

from collections.abc import Awaitable, Callable

from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, rule

from tests.stateful.doing import CHANGES
from tests.stateful.life import Life
from tests.stateful.placing import CONTENTS
from tests.stateful.showing import NAMES

who = st.sampled_from(NAMES)
poster = st.sampled_from(("anna", "anna", "carl", "carl", "ben"))
pairs = st.sampled_from([("anna", "ben"), ("anna", "carl"), ("ben", "carl")])
number = st.integers(0, 255)
changes = st.sampled_from(("add", *CHANGES))
mandates = st.integers(0, 3).map(lambda at: max(0, at - 2))
"""Mostly the shared one; now and then a device's own."""


class LifeMachine(RuleBasedStateMachine):
    """Three devices and their mandates."""

    def __init__(self) -> None:
        super().__init__()
        self.life = Life()
        self.failed = False
        self.started = False

    def run(self, work: Callable[[], Awaitable[None]]) -> None:
        try:
            self.life.house.call(work)
        except BaseException:
            self.failed = True
            raise

    def mandate(self, name: str, at: int) -> str | None:
        """One of the mandates on a device's list; the first is the shared one."""
        found = self.life.listed(name)
        return found[at % len(found)] if found else None

    def has_books(self, *names: str) -> bool:
        return all(self.life.books in self.life.listed(name) for name in names)

    @initialize()
    def found(self) -> None:
        self.run(self.life.found)
        self.run(lambda: self.life.attach("ben", self.life.books, 3))
        self.started = True

    @rule(pair=pairs)
    def meet(self, pair: tuple[str, str]) -> None:
        self.run(lambda: self.life.meet(*pair))

    @rule(pair=pairs)
    def part(self, pair: tuple[str, str]) -> None:
        self.run(lambda: self.life.part(*pair))

    @rule(pair=pairs)
    def meet_again(self, pair: tuple[str, str]) -> None:
        self.run(lambda: self.life.meet(*pair))

    @rule(name=who)
    def part_from_all(self, name: str) -> None:
        for other in NAMES:
            self.run(lambda other=other: self.life.part(name, other))  # type: ignore[misc]

    @rule(name=who)
    def restart(self, name: str) -> None:
        self.run(lambda: self.life.restart(name))

    @rule(name=who)
    def create(self, name: str) -> None:
        if sum(1 for group in self.life.groups.values() if name in group.known) < 3:
            self.run(lambda: self.life.create(name))

    @rule(name=who, at=mandates, texts=st.integers(0, 4))
    def attach(self, name: str, at: int, texts: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.attach(name, mandate, texts))

    @rule(name=who, at=mandates, file=number)
    def attach_again(self, name: str, at: int, file: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.attach_again(name, mandate, file))

    @rule(name=who)
    def attach_accounting(self, name: str) -> None:
        if self.has_books(name):
            self.run(lambda: self.life.attach_accounting(name))

    @rule(name=who, at=mandates, file=number, change=changes)
    def save(self, name: str, at: int, file: int, change: str) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.save(name, mandate, file, change, in_folder=False))

    @rule(name=who, at=mandates, file=number, change=changes)
    def save_in_the_folder(self, name: str, at: int, file: int, change: str) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.save(name, mandate, file, change, in_folder=True))

    @rule(pair=pairs, file=number, change=changes, in_folder=st.booleans())
    def save_and_meet(self, pair: tuple[str, str], file: int, change: str, in_folder: bool) -> None:
        if self.has_books(*pair):
            self.run(
                lambda: self.life.save_and_meet(*pair, at=file, change=change, in_folder=in_folder)
            )

    @rule(name=who, file=number, change=changes)
    def save_away(self, name: str, file: int, change: str) -> None:
        self.run(lambda: self.life.save_away(name, file, change))

    @rule(name=poster, at=mandates)
    def post_all(self, name: str, at: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.post(name, mandate, 0, chosen=False))

    @rule(name=poster, at=mandates, file=number)
    def post_one(self, name: str, at: int, file: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.post(name, mandate, file, chosen=True))

    @rule(name=poster, at=mandates, receipt=number)
    def unpost(self, name: str, at: int, receipt: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.unpost(name, mandate, receipt))

    @rule(name=who, heir=who)
    def hand(self, name: str, heir: str) -> None:
        if self.has_books(name):
            self.run(lambda: self.life.hand(name, heir))

    @rule(name=who, at=mandates, file=number, new=st.sampled_from(CONTENTS))
    def migrate(self, name: str, at: int, file: int, new: str) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.migrate(name, mandate, file, new))

    @rule(name=who, at=number)
    def rename(self, name: str, at: int) -> None:
        self.run(lambda: self.life.rename(name, at))

    @rule(name=who, at=mandates, file=number)
    def detach(self, name: str, at: int, file: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.detach(name, mandate, file))

    @rule(name=who, at=mandates, file=number)
    def reattach(self, name: str, at: int, file: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.reattach(name, mandate, file))

    @rule(name=who)
    def close_mandate(self, name: str) -> None:
        if self.has_books(name):
            self.run(lambda: self.life.close_mandate(name))

    @rule(name=who)
    def reopen(self, name: str) -> None:
        if self.has_books(name):
            self.run(lambda: self.life.reopen(name))

    @rule(name=who, at=mandates)
    def remove(self, name: str, at: int) -> None:
        if mandate := self.mandate(name, at):
            self.run(lambda: self.life.remove(name, mandate))

    @rule(at=number)
    def restore(self, at: int) -> None:
        removed = list(self.life.removed)
        if removed:
            name, mandate = removed[at % len(removed)]
            self.run(lambda: self.life.restore(name, mandate))

    def teardown(self) -> None:
        try:
            if self.started and not self.failed:
                self.run(self.life.finish)
        finally:
            self.life.close()
