"""What is kept of a fold: taken up again it is what the entries make, and damage is noticed."""

from dataclasses import replace

import pytest

from p2psync.core import crypto, entry, membership, ops
from p2psync.core.diff import diff
from p2psync.core.entry import LogKey
from p2psync.core.ops import Edits, Lines, OpId, Run, Save
from p2psync.engine.effects import Effect, Persist, Refold, StoredEntry
from p2psync.engine.ports import Kept
from p2psync.engine.replica import Replica, Secrets
from p2psync.errors import StateDamaged
from tests.core.lines import FILE, read, segments
from tests.engine.archive import Fold, MemoryArchive
from tests.engine.machine import WALL_MS, entropy_of, key_of
from tests.sim.checkers import picture

KEY, SEED, SALT = b"k" * 32, b"t" * 32, b"s" * 16
ANNA, BEN = key_of("anna"), key_of("ben")
MANDATE = membership.mandate_id(ANNA.public, SALT)
INVITATION = crypto.SigningKey.from_seed(SEED).public


class Home:
    """A replica, and what is on its disk."""

    def __init__(self, name: str, admission: bytes | None = None) -> None:
        self.name, self.admission = name, admission
        self.stored: dict[bytes, StoredEntry] = {}
        self.fold = Fold()
        self.replica = self.make()

    def make(self) -> Replica:
        secrets = Secrets((KEY,), self.admission)
        describe = ops.Describe(self.name, self.name)
        return Replica(MANDATE, key_of(self.name), secrets, read, entropy_of(self.name), describe)

    def keep(self, effects: list[Effect] | tuple[Effect, ...]) -> list[bytes]:
        """Do what a disk does; return the bytes of the entries."""
        raws: list[bytes] = []
        for effect in effects:
            match effect:
                case Persist(entries=entries, derived=derived):
                    for stored in entries:
                        self.stored[stored.id] = stored
                        raws.append(stored.raw)
                    assert derived is not None
                    self.fold.take(derived, len(self.stored))
                case Refold():
                    raws += self.keep(self.replica.refold(self.raws()))
                case _:
                    pass
        self.check()
        return raws

    def raws(self) -> list[bytes]:
        return [stored.raw for stored in self.stored.values()]

    def archive(self) -> MemoryArchive:
        return MemoryArchive(self.stored, MANDATE, self.fold)

    def kept(self) -> Kept:
        found = self.archive().kept()
        assert found is not None
        return found

    def restored(self) -> Replica:
        """What starts after the power failed now."""
        replica = self.make()
        replica.restore(self.kept(), self.archive())
        return replica

    def check(self) -> None:
        """What is kept is what the entries make."""
        if self.replica.state.stale:
            with pytest.raises(StateDamaged):
                self.restored()
            return
        anew, restored = self.make(), self.restored()
        anew.load(self.raws())
        assert picture(restored.state) == picture(anew.state) == picture(self.replica.state)
        assert restored.tips() == anew.tips()
        assert restored.state.waiting() == anew.state.waiting()
        for replica in (restored, anew):
            assert replica._waiting.keys() == self.replica._waiting.keys()
            assert replica.state.parts == self.replica.state.parts
            assert replica._heads.keys() == self.replica._heads.keys()
        for file_id, file in anew.state.files.items():
            again = restored.state.files[file_id]
            assert dict(again.versions) == dict(file.versions)
            assert again.early == file.early
            assert again.detached_by == file.detached_by
            assert again.missing == file.missing

    def write(self, *operations: ops.Operation) -> list[bytes]:
        return self.keep(self.replica.author(operations, WALL_MS))

    def take(self, *raws: bytes) -> None:
        self.keep(self.replica.receive(raws, WALL_MS, more=False).effects)

    def save(self, data: bytes) -> list[bytes]:
        file = self.replica.state.files[FILE]
        lines = diff(FILE, list(file.segments.shown()), segments(data), b"tie" * 3)
        return self.keep(
            self.replica.save(
                FILE,
                parents=tuple(file.heads),
                lines=lines,
                content=None,
                mergeable=True,
                size_bytes=len(data),
                digest=crypto.content_digest(data),
                wall_ms=WALL_MS,
            )
        )

    def post(self) -> OpId:
        items = self.replica.state.files[FILE].pending_items()
        before = set(self.replica.state.receipts)
        self.write(ops.Post(1, (ops.take(FILE, items.adds),), (ops.take(FILE, items.drops),), 1, 0))
        (receipt,) = set(self.replica.state.receipts) - before
        return receipt

    def restart(self) -> None:
        self.replica = self.restored()


ADD_FILE = ops.AddFile(FILE, "a.ecf", "invoicing", "lines", "", None, None, None)


def founded() -> Home:
    """Anna's mandate with a file."""
    anna = Home("anna")
    anna.write(ops.Create(ANNA.public, SALT, "Books"), ops.Share(), ops.ClaimSeat(1))
    anna.write(ops.Invite(INVITATION, "writer", WALL_MS + 1_000_000, 3))
    anna.write(ADD_FILE)
    return anna


def of_two() -> tuple[Home, Home]:
    """Anna's mandate, with Ben as a writer."""
    anna = founded()
    anna.save(b"1 | a\n2 | b\n")
    ben = Home("ben", SEED)
    opening = ben.write(ops.Observe())
    anna.keep(anna.replica.admit(BEN.public, opening, WALL_MS).effects)
    ben.take(*anna.raws())
    return anna, ben


class Forger:
    """Writes whatever it likes into a log of its own."""

    def __init__(self, name: str) -> None:
        self.device = key_of(name)
        self.key = LogKey(crypto.SigningKey.from_seed(crypto.digest(b"log", name.encode())))
        self.seq, self.prev, self.hlc = 0, b"", 1

    def write(
        self, *operations: ops.Operation, prev: bytes | None = None, deps: tuple[bytes, ...] = ()
    ) -> bytes:
        if not self.seq:
            word = membership.certify_log(self.device, MANDATE, self.key.log, 0)
            operations = (ops.OpenLog(self.device.public, 0, word), *operations)
        self.hlc += 1
        built = entry.build(
            self.key,
            mandate=MANDATE,
            seq=self.seq,
            prev=self.prev if prev is None else prev,
            deps=deps,
            hlc=self.hlc,
            epoch_key=KEY,
            payload=ops.encode(operations),
            entropy=bytes(32),
        )
        self.seq, self.prev = self.seq + 1, built.id
        return built.raw


def admitted(anna: Home, name: str) -> Forger:
    """A member with ideas of its own."""
    forger = Forger(name)
    proof = membership.redeem(SEED, MANDATE, forger.device.public)
    opening = forger.write(proof)
    anna.keep(anna.replica.admit(forger.device.public, [opening], WALL_MS).effects)
    return forger


def lines(*raws: bytes, base: bytes = b"base") -> Lines:
    """Segment changes that add some lines."""
    return Lines(FILE, (Run(base, raws),), Edits((), ()), ())


def save_of(*parts: bytes, parents: tuple[OpId, ...] = ()) -> Save:
    """A version without content."""
    return Save(FILE, parents, parts, None, True, 0, bytes(32))


# -- the usual ------------------------------------------------------------------------------------


def test_saves_receipts_and_what_takes_them_back_are_kept() -> None:
    anna, ben = of_two()
    anna.restart()
    ben.restart()
    ben.take(*anna.save(b"1 | a\n2 | changed\n3 | c\n"))
    receipt = anna.post()
    ben.restart()
    anna.restart()
    anna.take(*ben.save(b"2 | changed\n3 | c\n4 | d\n"))
    anna.restart()
    anna.write(ops.Unpost((receipt,)))
    ben.take(*anna.raws())
    ben.write(ops.Detach(FILE, tuple(ben.replica.state.files[FILE].heads)))
    anna.take(*ben.raws())
    anna.restart()
    anna.write(ops.Rename("New"))
    anna.check()


def test_an_entry_more_touches_only_what_it_changes() -> None:
    anna, _ = of_two()
    for number in range(20):
        anna.write(replace(ADD_FILE, file=bytes([number]) * 16))
    (effect,) = (each for each in _saved(anna) if isinstance(each, Persist))
    assert effect.derived is not None
    names = sorted(name[:1] for name, _ in effect.derived.things)
    assert names == [b"d", b"f", b"l"]


def _saved(home: Home) -> list[Effect]:
    return home.replica.save(
        FILE,
        parents=tuple(home.replica.state.files[FILE].heads),
        lines=[lines(b"9 | z\n")],
        content=None,
        mergeable=True,
        size_bytes=1,
        digest=bytes(32),
        wall_ms=WALL_MS,
    )


def test_nothing_is_read_of_a_file_that_nobody_asks_for() -> None:
    anna, _ = of_two()
    anna.restart()
    file = anna.replica.state.files[FILE]
    assert (file.records, file.pending(), len(file.heads)) == (2, (2, 0), 1)
    anna.replica.author([ops.Rename("New")], WALL_MS)
    assert not file.loaded
    assert file.segments.emit() == b"1 | a\n2 | b\n"
    assert file.loaded


# -- the unusual ----------------------------------------------------------------------------------


def test_entries_that_wait_and_entries_of_no_members_are_kept() -> None:
    anna, ben = of_two()
    first, second = ben.save(b"1 | a\n"), ben.save(b"1 | b\n")
    stranger = Forger("carl")
    shown = stranger.write(membership.redeem(SEED, MANDATE, stranger.device.public))
    said = stranger.write(lines(b"5 | e\n"), save_of())
    carl = admitted(anna, "dora")
    dep = entry.decode(shown).id
    anna.take(carl.write(lines(b"7 | g\n"), save_of(), deps=(dep,)))  # waits for the stranger's
    assert len(anna.replica._waiting) == 1
    anna.restart()
    anna.take(shown)
    anna.take(said)
    assert anna.replica.state.held
    anna.restart()
    anna.keep(anna.replica.admit(stranger.device.public, [shown], WALL_MS).effects)
    assert not anna.replica.state.held
    anna.take(*first, *second)
    anna.restart()
    anna.check()


def test_parts_that_no_version_took_up_yet_are_kept() -> None:
    anna, _ = of_two()
    carl = admitted(anna, "carl")
    one, two = carl.write(lines(b"5 | e\n")), carl.write(lines(b"6 | f\n", base=b"later"))
    anna.take(one, two)
    assert len(anna.replica.state.parts) == 2
    anna.restart()
    ids = tuple(entry.decode(raw).id for raw in (one, two))
    anna.take(carl.write(save_of(*ids)))
    assert not anna.replica.state.parts
    assert anna.replica.state.files[FILE].records == 4
    anna.restart()
    anna.check()


def test_versions_before_their_file_and_parents_before_their_children_are_kept() -> None:
    anna = Home("anna")
    anna.write(ops.Create(ANNA.public, SALT, "Books"), ops.Share())
    anna.write(ops.Invite(INVITATION, "writer", WALL_MS + 1_000_000, 3))
    carl = admitted(anna, "carl")
    anna.take(carl.write(lines(b"5 | e\n"), save_of(parents=((b"?" * 32, 0),))))
    assert anna.replica.state.files[FILE].early
    anna.restart()
    anna.write(ADD_FILE)
    anna.restart()
    assert anna.replica.state.files[FILE].segments.emit() == b"5 | e\n"


def test_an_entry_that_saves_and_posts_twice_counts_as_the_fold_counts_it() -> None:
    anna, _ = of_two()
    carl = Forger("carl")
    accountant = crypto.SigningKey.from_seed(b"u" * 32)
    anna.write(ops.Invite(accountant.public, "accounting", WALL_MS + 1_000_000, 1))
    opening = carl.write(membership.redeem(b"u" * 32, MANDATE, carl.device.public))
    anna.keep(anna.replica.admit(carl.device.public, [opening], WALL_MS).effects)
    items = anna.replica.state.files[FILE].pending_items()
    post = ops.Post(1, (ops.take(FILE, items.adds[:1]),), (), 1, 0)
    again = ops.Post(1, (ops.take(FILE, items.adds[1:]),), (), 1, 0)
    anna.take(carl.write(lines(b"5 | e\n"), save_of(), post, save_of(), again))
    assert anna.replica.state.files[FILE].segments.emit().count(b"5 | e\n") == 1
    anna.restart()
    anna.check()


def test_a_forked_log_is_kept_with_all_its_branches() -> None:
    anna, _ = of_two()
    carl = admitted(anna, "carl")
    start, seq = carl.prev, carl.seq
    anna.take(carl.write(lines(b"5 | e\n"), save_of()))
    carl.seq, carl.prev = seq, start
    anna.take(carl.write(lines(b"6 | f\n"), save_of()))
    assert len(anna.replica.chains.heads(carl.key.log)) == 2
    anna.restart()
    anna.take(carl.write(lines(b"7 | g\n"), save_of()))
    anna.restart()
    assert len(anna.replica.chains.heads(carl.key.log)) == 2
    anna.check()


def test_a_log_that_forks_after_a_restart_is_read_again() -> None:
    anna, _ = of_two()
    carl = admitted(anna, "carl")
    start, seq = carl.prev, carl.seq
    for number in range(5):
        anna.take(carl.write(lines(b"%d | e\n" % number), save_of()))
    anna.restart()
    carl.seq, carl.prev = seq, start
    anna.take(carl.write(lines(b"6 | f\n"), save_of()))
    assert len(anna.replica.chains.heads(carl.key.log)) == 2


# -- damage ---------------------------------------------------------------------------------------


def test_another_version_of_the_fold_is_not_taken_up() -> None:
    anna, _ = of_two()
    with pytest.raises(StateDamaged):
        anna.make().restore(replace(anna.kept(), version=0), anna.archive())


def test_every_thing_that_is_lost_altered_or_too_many_is_noticed() -> None:
    anna, _ = of_two()
    anna.post()
    good = anna.kept()
    for name, value in good.things.items():
        without = {key: each for key, each in good.things.items() if key != name}
        altered = {**good.things, name: value[:-1] + bytes([value[-1] ^ 1])}
        for things in (without, altered, {**good.things, name + b"?": value}):
            with pytest.raises(StateDamaged):
                anna.make().restore(replace(good, things=things), anna.archive())


def test_a_touch_that_is_lost_or_too_many_is_noticed_and_the_rest_distrusted() -> None:
    anna, ben = of_two()
    ben.take(*anna.save(b"1 | a\n3 | c\n"))
    anna.post()
    for key in list(anna.fold.touches):
        anna.restart()
        touch = anna.fold.touches.pop(key)
        archive = anna.archive()
        replica = anna.make()
        replica.restore(anna.kept(), archive)
        with pytest.raises(StateDamaged):
            _ = replica.state.files[FILE].body
        assert archive.distrusted
        anna.fold.touches[key] = touch


def test_after_a_failed_attempt_all_is_read_anew() -> None:
    anna, _ = of_two()
    replica = anna.make()
    with pytest.raises(StateDamaged):
        replica.restore(replace(anna.kept(), check=1), anna.archive())
    replica.load(anna.raws())
    assert picture(replica.state) == picture(anna.replica.state)
