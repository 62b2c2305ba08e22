"""Content in chunks: it arrives whole, resumes, and comes from whoever has it."""

import pytest

from p2psync.core.crypto import content_digest
from p2psync.core.ops import AddFile, Chunked, Save
from p2psync.engine import session, wire
from p2psync.engine.effects import CloseLink, ContentReady, Progress, Warn
from p2psync.engine.transfer import addresses_of, chunk_count
from p2psync.limits import CHUNK_BYTES, CHUNKS_WANTED_MAX
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import Machine, entropy_of

FILE = b"f" * 16


def attach(machine: Machine, mandate: bytes, file: bytes = FILE) -> None:
    machine.author(mandate, AddFile(file, "a.bin", "other", "opaque", "", None, None, None))


def save(
    machine: Machine,
    mandate: bytes,
    data: bytes,
    content: Chunked | None = None,
    file: bytes = FILE,
) -> None:
    state = machine.engine.replica(mandate).state.files[file]
    machine.author(
        mandate,
        Save(
            file,
            tuple(sorted(state.heads)),
            (),
            content or machine.store(mandate, data),
            False,
            len(data),
            content_digest(data),
        ),
    )


def content_of(seed: str, size: int) -> bytes:
    return entropy_of(seed)(size)


def ready(machine: Machine) -> list[ContentReady]:
    return [each for each in machine.log if isinstance(each, ContentReady)]


@pytest.mark.parametrize("size", [0, 1, 5000, CHUNK_BYTES, CHUNK_BYTES + 1, 20 * CHUNK_BYTES + 5])
def test_content_arrives_whole(size: int) -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    data = content_of("x", size)
    save(anna, mandate, data)
    network.settle()
    assert ben.content(mandate, FILE) == data
    assert len(ready(ben)) == 1
    assert anna.engine.in_step(mandate)
    assert ben.engine.in_step(mandate)


def test_small_content_rides_along_without_a_question() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    network.settle()
    before = len(network.sent)
    save(anna, mandate, b"small")
    network.settle()
    kinds = [type(message).__name__ for _, message in network.sent[before:]]
    assert kinds == ["Chunk", "Entries", "Have"]
    assert ben.content(mandate, FILE) == b"small"


def test_at_most_so_many_chunks_are_asked_for_at_a_time() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    network.drop = {"Chunk"}
    save(anna, mandate, content_of("y", 20 * CHUNK_BYTES))
    attach(anna, mandate, b"g" * 16)
    save(anna, mandate, content_of("z", 60 * CHUNK_BYTES), file=b"g" * 16)
    network.settle()
    asked = [each for each in network.messages("ben") if isinstance(each, wire.ChunkWant)]
    assert sum(len(each.addresses) for each in asked) == CHUNKS_WANTED_MAX
    assert not ben.engine.in_step(mandate)
    assert not anna.engine.in_step(mandate), "anna knows that ben still fetches"


def test_a_transfer_resumes_where_it_stopped() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    data = content_of("z", 40 * CHUNK_BYTES)
    chunks = 0

    original = network.send

    def send_some(port: object, link: int, frame: bytes) -> None:
        nonlocal chunks
        if isinstance(wire.decode(frame), wire.Chunk):
            chunks += 1
            if chunks > 21:
                return
        original(port, link, frame)  # type: ignore[arg-type]  # the port is the network's own

    network.send = send_some  # type: ignore[method-assign]  # a lossy network for this test
    save(anna, mandate, data)
    network.settle()
    kept = len(ben.disk.chunks)
    assert kept == 21
    network.send = original  # type: ignore[method-assign]  # as before
    before = len(network.sent)
    disk = network.stop("ben")
    ben = network.machine("ben", disk)
    network.settle(10)
    assert ben.content(mandate, FILE) == data
    asked = [
        address
        for name, each in network.sent[before:]
        if name == "ben" and isinstance(each, wire.ChunkWant)
        for address in each.addresses
    ]
    assert len(asked) == 40 - kept


def test_progress_is_told_and_bounded() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    save(anna, mandate, content_of("p", 60 * CHUNK_BYTES))
    network.settle()
    told = [each for each in ben.log if isinstance(each, Progress)]
    assert 1 <= len(told) <= 4
    assert all(0 < each.done_bytes < each.total_bytes for each in told)


def test_a_corrupt_chunk_ends_the_link_and_the_content_comes_all_the_same() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    data = content_of("c", 3 * CHUNK_BYTES)
    content = anna.store(mandate, data)
    spoilt = addresses_of(content.references)[1]
    good = anna.disk.chunks[spoilt]
    anna.disk.chunks[spoilt] = bytes(len(good))
    save(anna, mandate, data, content)
    network.settle()
    assert [each.error for each in ben.log if isinstance(each, CloseLink) and each.error]
    assert spoilt not in ben.disk.chunks
    anna.disk.chunks[spoilt] = good
    network.settle(90)
    assert ben.content(mandate, FILE) == data


def test_a_peer_that_is_lost_midway_is_replaced_by_another() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    data = content_of("m", 30 * CHUNK_BYTES)
    save(anna, mandate, data)
    network.settle()
    network.drop = {"Chunk"}
    carl = join(network, anna, mandate, "carl", "writer")
    network.connect(carl, ben)
    network.settle(1)
    assert not ready(carl)
    network.drop = set()
    network.stop("anna")
    network.settle(60)
    assert carl.content(mandate, FILE) == data


def test_a_peer_that_lacks_a_chunk_says_so_and_is_asked_again_when_it_has_it() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    data = content_of("l", 5 * CHUNK_BYTES)
    content = anna.store(mandate, data)
    chunks = dict(anna.disk.chunks)
    anna.disk.chunks.clear()
    save(anna, mandate, data, content)
    network.settle(1)
    assert any(isinstance(each, wire.ChunkMissing) for each in network.messages("anna"))
    assert not ready(ben)
    anna.disk.chunks |= chunks
    network.settle(12)
    assert ben.content(mandate, FILE) == data


def test_large_files_list_their_references_in_chunks() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    data = content_of("tile", CHUNK_BYTES) * 70
    content = anna.store(mandate, data)
    assert content.indirect
    save(anna, mandate, data, content)
    network.settle(1)
    assert ben.content(mandate, FILE) == data
    assert len(ready(ben)) == 1


def test_references_that_do_not_fit_the_size_are_not_fetched() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    content = anna.store(mandate, b"x")
    save(anna, mandate, bytes(5 * CHUNK_BYTES), content)
    network.settle()
    assert any(isinstance(each, Warn) and each.code == "content-invalid" for each in ben.log)
    assert not any(isinstance(each, wire.ChunkWant) for each in network.messages("ben"))
    lying = Chunked(True, anna.store(mandate, bytes(640)).references)
    save(anna, mandate, bytes(70 * CHUNK_BYTES), lying)
    network.settle()
    assert sum(isinstance(each, Warn) for each in ben.log) == 2
    assert ben.engine.in_step(mandate)


def test_a_version_that_is_replaced_is_not_fetched_any_more() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    network.drop = {"Chunk"}
    save(anna, mandate, content_of("old", 3 * CHUNK_BYTES))
    network.settle()
    network.drop = set()
    save(anna, mandate, b"new")
    network.settle(1)
    assert ben.content(mandate, FILE) == b"new"
    assert len(ready(ben)) == 1
    assert ben.engine.in_step(mandate)


def test_who_lacks_more_than_fits_into_a_message_keeps_its_link(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(session, "FILES_PER_MANDATE_MAX", 2)
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ben.engine._desk.begin(ben.now, ben.wall_ms)
    ben.engine._held[mandate].exchange.content_lacking(5)
    ben.run(ben.engine._desk.finish())
    network.settle()
    said = [each.files for each in network.messages("ben") if isinstance(each, wire.Content)]
    assert said[-1] == 2
    assert not anna.engine.in_step(mandate), "anna knows that ben still fetches"


def test_unrequested_chunks_are_kept_in_a_small_number() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    link = next(iter(network.links))
    handle = next(iter(ben.engine._links[link].mandates))
    for count in range(50):
        chunk = f"chunk {count}".encode()
        frame = wire.chunk_frame(handle, content_digest(chunk), chunk)
        network.inject(ben, link, frame)
    source = ben.engine._transfer._sources[link]
    assert len(source.early) == 4
    assert not ben.disk.chunks
    assert anna.engine.in_step(mandate)


def test_chunks_go_to_members_only() -> None:
    network = Network()
    anna = network.machine("anna")
    mandate = anna.create()
    attach(anna, mandate)
    save(anna, mandate, b"secret")
    ticket = anna.invite(mandate, days=0)
    thief = network.machine("thief")
    thief.subscribe(ticket)
    network.settle(1)
    link = next(iter(network.links))
    handle = next(iter(anna.engine._links[link].mandates))
    before = len(network.messages("anna"))
    network.inject(anna, link, wire.encode(wire.ChunkWant(handle, tuple(anna.disk.chunks))))
    network.inject(anna, link, wire.encode(wire.Want(handle, ())))
    assert len(network.messages("anna")) == before


@pytest.mark.parametrize(
    ("size", "count"), [(0, 0), (1, 1), (CHUNK_BYTES, 1), (CHUNK_BYTES + 1, 2)]
)
def test_chunk_count(size: int, count: int) -> None:
    assert chunk_count(size) == count


@pytest.mark.parametrize(("saver", "sleeper"), [("anna", "ben"), ("ben", "anna")])
def test_a_peer_that_sleeps_does_not_delay_what_another_saved(saver: str, sleeper: str) -> None:
    """Who saved it has it; a link to who stands still is cut only after a while."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    attach(anna, mandate)
    carl = join(network, anna, mandate, "carl", "writer")
    network.connect(carl, ben)
    network.settle(1)
    original = network.send
    asleep = network.machines[sleeper].port

    def send(port: object, link: int, frame: bytes) -> None:
        if asleep not in network.links[link].ends:
            original(port, link, frame)  # type: ignore[arg-type]  # the port is the network's own

    network.send = send  # type: ignore[method-assign]  # the sleeper neither hears nor says anything
    data = content_of("awake", 5 * CHUNK_BYTES)
    save(network.machines[saver], mandate, data)
    network.settle()
    assert carl.content(mandate, FILE) == data


def test_content_of_a_file_that_a_refold_takes_away_is_not_asked_for_any_more() -> None:
    """A member that loses its admission takes its files along: their content may be nowhere.
    (Seed 740 of the simulator.)"""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carol = join(network, anna, mandate, "carol", "writer")
    network.reachable = False
    for link in network.links_of("carol"):
        network.cut(link)
    network.settle()
    before = list(ben.disk.raws(mandate))
    attach(anna, mandate)
    save(anna, mandate, b"12345678", Chunked(False, b"n" * 64))
    network.settle()
    assert asked(network)  # in vain
    for link in network.links_of("ben"):
        network.cut(link)
    network.settle()
    ben.run(ben.engine.refold(mandate, before, ben.now, ben.wall_ms))
    assert FILE not in ben.engine.replica(mandate).state.files
    asked_before = len(asked(network))
    network.connect(ben, carol)
    network.settle(60.0)
    assert len(asked(network)) == asked_before


def asked(network: Network) -> list[wire.Message | None]:
    return [each for each in network.messages("ben") if isinstance(each, wire.ChunkWant)]
