"""Engines joined by links: they converge, admit by ticket, and tell strangers nothing."""

from dataclasses import replace

from p2psync.core.crypto import SigningKey
from p2psync.core.ops import AddFile, Rename, Revoke, Save
from p2psync.engine import wire
from p2psync.engine.effects import CloseLink, LinkDown, Refused, Sighted, Warn
from p2psync.engine.replica import OwnLog
from tests.engine.joined import Network, join, mandate_of_two
from tests.engine.machine import Machine


def assert_in_step(mandate: bytes, *machines: Machine) -> None:
    tips = {machine.engine.replica(mandate).tips() for machine in machines}
    assert len(tips) == 1
    names = {machine.engine.replica(mandate).state.name for machine in machines}
    assert len(names) == 1
    for machine in machines:
        assert machine.engine.in_step(mandate)


def test_a_newcomer_with_a_ticket_is_admitted_and_both_are_in_step() -> None:
    """B-TIC-4."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    assert ben.engine.replica(mandate).is_member(ben.device)
    assert anna.engine.replica(mandate).is_member(ben.device)
    assert_in_step(mandate, anna, ben)
    assert [peer.synced for peer in anna.engine.peers(mandate)] == [True]
    assert [peer.online for peer in ben.engine.peers(mandate)] == [True]


def test_what_a_member_writes_is_pushed_at_once() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    before = len(network.sent)
    ben.author(mandate, Rename("New"))
    network.settle()
    assert anna.engine.replica(mandate).state.name == "New"
    assert_in_step(mandate, anna, ben)
    kinds = [type(message).__name__ for _, message in network.sent[before:]]
    assert kinds == ["Entries", "Have"]


def test_members_that_wrote_apart_converge_when_they_meet() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    network.cut(next(iter(network.links)))
    for count in range(5):
        anna.author(mandate, Rename(f"anna {count}"))
        ben.author(mandate, Rename(f"ben {count}"))
    network.settle(5)
    assert_in_step(mandate, anna, ben)


def test_a_third_member_relays_entries_between_two_that_never_meet() -> None:
    network = Network()
    network.apart.add(frozenset(("ben", "carl")))
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    assert not any(peer.online for peer in carl.engine.peers(mandate) if peer.device == ben.device)
    ben.author(mandate, Rename("from ben"))
    network.settle(1)
    assert carl.engine.replica(mandate).state.name == "from ben"
    assert_in_step(mandate, anna, ben, carl)


def test_a_member_that_another_admitted_is_taken_for_one_by_who_has_not_heard() -> None:
    """The newcomer itself brings the entry that admits it."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    network.stop("ben")
    carl = join(network, anna, mandate, "carl", "writer")
    network.stop("anna")
    ben = network.machine("ben", ben.disk)
    assert not ben.engine.replica(mandate).is_member(carl.device)
    network.connect(carl, ben)
    network.settle(1)
    assert ben.engine.replica(mandate).is_member(carl.device)
    assert_in_step(mandate, ben, carl)


def test_a_stranger_learns_nothing() -> None:
    """B-NET: only a greeting and an empty answer go to who holds no key."""
    network = Network()
    anna = network.machine("anna")
    secret = anna.create("Secret AG")
    anna.invite(secret)
    stranger = network.machine("stranger")
    other = stranger.create("Other")
    # The stranger believes that anna has a mandate of its own, and offers that.
    stranger.handle(Sighted(anna.device, ("/memory/anna",), (other,)))
    network.settle()
    assert any(isinstance(each, wire.Offer) and each.tags for each in network.messages("stranger"))
    sent = network.messages("anna")
    assert [type(message) for message in sent] == [wire.Hello, wire.Accept]
    assert sent[1] == wire.Accept(())
    stranger.handle(LinkDown(next(iter(network.links)), False))
    assert len(network.messages("anna")) == 2


def test_a_link_without_a_mandate_in_common_ends() -> None:
    network = Network()
    anna, stranger = network.machine("anna"), network.machine("stranger")
    network.connect(stranger, anna)
    network.settle(6)
    assert not network.links


def test_who_holds_the_key_but_no_admission_gets_a_refusal_and_no_entry() -> None:
    network = Network()
    anna = network.machine("anna")
    mandate = anna.create()
    ticket = anna.invite(mandate)
    first, second = network.machine("first"), network.machine("second")
    first.subscribe(ticket)
    network.settle(1)
    before = len(network.sent)
    second.subscribe(ticket)
    network.settle(1)
    assert Refused(mandate, anna.device, "ticket-used-up") in second.log
    kinds = {type(message) for name, message in network.sent[before:] if name == "anna"}
    assert kinds == {wire.Hello, wire.Accept, wire.Contact, wire.Refusal}
    assert not second.engine.replica(mandate).is_member(second.device)


def test_expired_and_revoked_tickets_are_refused_by_name() -> None:
    """B-TIC-3."""
    network = Network()
    anna = network.machine("anna")
    mandate = anna.create()
    expired = anna.invite(mandate, days=0)
    revoked = anna.invite(mandate)
    anna.author(mandate, Revoke(SigningKey.from_seed(revoked.admission_seed).public))
    late, back = network.machine("late"), network.machine("back")
    late.subscribe(expired)
    back.subscribe(revoked)
    network.settle(1)
    assert Refused(mandate, anna.device, "ticket-expired") in late.log
    assert Refused(mandate, anna.device, "ticket-revoked") in back.log


def test_a_writer_does_not_admit_and_says_so() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ticket = anna.invite(mandate)
    network.settle()
    disk = network.stop("anna")
    carl = network.machine("carl")
    carl.subscribe(ticket)
    carl.handle(Sighted(ben.device, ("/memory/ben",), (mandate,)))
    network.settle(1)
    assert Refused(mandate, ben.device, "not-admitting") in carl.log
    network.machine("anna", disk)
    network.settle(5)
    assert_in_step(mandate, network.machines["anna"], ben, carl)
    assert ben.engine.replica(mandate).is_member(carl.device)


def test_a_newcomer_is_admitted_as_soon_as_the_member_hears_of_its_ticket() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "accounting")
    network.cut(network.links_of("carl")[0])
    network.drop = {"Entries"}
    ticket = anna.invite(mandate)
    network.settle()
    network.drop = set()
    dora = network.machine("dora")
    dora.subscribe(replace(ticket, peers={carl.device: ("/memory/carl",)}))
    network.settle(0.1)
    assert Refused(mandate, carl.device, "ticket-foreign") in dora.log
    network.settle(100)
    assert_in_step(mandate, anna, ben, carl, dora)
    assert dora.engine.replica(mandate).is_member(dora.device)


def test_a_local_mandate_is_never_offered() -> None:
    """B-MAN-4."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    local = anna.create("Local", share=False)
    anna.handle(Sighted(ben.device, ("/memory/ben",), (local,)))
    network.settle(1)
    assert all(
        not message.tags
        for name, message in network.sent
        if name == "anna" and isinstance(message, wire.Offer)
    )
    assert mandate != local


def test_all_mandates_share_one_link() -> None:
    """B-MAN-7."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    second = ben.create("Second")
    anna.subscribe(ben.invite(second))
    network.settle(1)
    assert len(network.links) == 1
    assert_in_step(second, anna, ben)
    network.cut(next(iter(network.links)))
    network.settle(5)
    assert len(network.links) == 1
    assert_in_step(mandate, anna, ben)
    assert_in_step(second, anna, ben)


def test_a_mandate_that_is_removed_and_taken_up_again_syncs_again() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    ben.run(ben.engine.remove(mandate, ben.now, ben.wall_ms))
    anna.author(mandate, Rename("meanwhile"))
    network.settle(2)
    ben._add(mandate, ben.disk.holdings[mandate])
    network.settle(2)
    assert_in_step(mandate, anna, ben)


def test_a_forked_log_converges_with_both_branches() -> None:
    """protocol.md, "Forks": nothing is dropped, and the honest device opens a new log."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    ben.author(mandate, Rename("before"))
    network.settle()
    old = network.stop("ben")
    backup = type(old)(old.signing, dict(old.holdings), dict(old.entries), dict(old.chunks))
    ben = network.machine("ben", old)
    network.reachable = False
    for number in list(network.links):
        network.cut(number)
    ben.author(mandate, Rename("left"))
    network.connect(ben, anna)
    network.settle()
    network.stop("ben")
    ben = network.machine("ben", backup)
    ben.author(mandate, Rename("right"))
    network.connect(ben, carl)
    network.settle()
    network.reachable = True
    network.settle(30)
    assert_in_step(mandate, anna, ben, carl)
    assert any(isinstance(each, Warn) and each.code == "forked-log" for each in anna.log)
    ben.author(mandate, Rename("after"))
    network.settle()
    assert_in_step(mandate, anna, ben, carl)
    assert anna.engine.replica(mandate).state.incarnations[ben.device] == 2


def test_a_restored_machine_opens_a_new_log_instead_of_forking() -> None:
    """B-ID-4."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    disk = ben.disk
    backup = type(disk)(disk.signing, dict(disk.holdings), dict(disk.entries), dict(disk.chunks))
    ben.author(mandate, Rename("lost on ben's disk"))
    network.settle()
    network.stop("ben")
    ben = network.machine("ben", backup)
    network.settle(2)
    ben.author(mandate, Rename("after the restore"))
    network.settle()
    assert_in_step(mandate, anna, ben)
    assert not any(isinstance(each, Warn) and each.code == "forked-log" for each in anna.log)
    assert anna.engine.replica(mandate).state.incarnations[ben.device] == 2


def test_a_peer_that_breaks_the_protocol_loses_its_link_and_nothing_else() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    link = next(iter(network.links))
    network.inject(anna, link, b"\xff garbage")
    ended = [each for each in anna.log if isinstance(each, CloseLink)]
    assert ended[-1].error
    network.settle(60)
    assert_in_step(mandate, anna, ben)


def test_silence_after_the_link_came_up_ends_it() -> None:
    network = Network()
    anna, ben = network.machine("anna"), network.machine("ben")
    network.drop = {"Hello"}
    network.connect(anna, ben)
    network.settle(11)
    assert not network.links


def test_a_peer_that_does_not_deliver_is_not_waited_for() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    carl = join(network, anna, mandate, "carl", "writer")
    network.connect(carl, ben)
    network.settle(1)
    network.drop = {"Entries"}
    anna.author(mandate, Rename("lost on the way"))
    network.settle(1)
    network.drop = set()
    network.settle(90)
    assert_in_step(mandate, anna, ben, carl)


def test_who_was_dialled_may_offer_when_the_dialler_had_nothing_to_offer() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    anna.run(anna.engine.remove(mandate, anna.now, anna.wall_ms))
    network.cut(next(iter(network.links)))
    network.connect(anna, ben)
    network.settle(0.5)
    second = anna.create("Second")
    ben.subscribe(anna.invite(second))
    network.settle(0.5)
    assert not [each for each in anna.log if isinstance(each, CloseLink) and each.error]
    assert_in_step(second, anna, ben)


def test_two_that_dial_each_other_keep_one_link() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    network.cut(next(iter(network.links)))
    network.connect(anna, ben)
    network.connect(ben, anna)
    network.settle(3)
    assert len(network.links) == 1
    assert_in_step(mandate, anna, ben)


def test_a_file_reaches_the_other_side_record_by_record() -> None:
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    file = b"f" * 16
    anna.author(mandate, AddFile(file, "a.txt", "other", "lines", "", None, None, None))
    save = Save(file, (), (), None, True, 0, bytes(32))
    anna.author(mandate, save)
    network.settle()
    assert ben.engine.replica(mandate).state.files[file].versions


def test_power_that_fails_between_a_log_and_its_first_entry_does_no_harm() -> None:
    """The log's key was kept, its opening was not: the next entry opens a log all the same."""
    network = Network()
    anna, ben, mandate = mandate_of_two(network)
    disk = ben.disk
    network.stop("ben")
    holding = disk.holdings[mandate]
    holding.own_logs = [OwnLog(bytes(32), 0)]
    ben = network.machine("ben", disk)
    ben.author(mandate, Rename("after"))
    network.settle(5)
    assert anna.engine.replica(mandate).state.name == "after"
    assert_in_step(mandate, anna, ben)
