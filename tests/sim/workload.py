"""What people do while the world shakes: they save, post, invite, and make mistakes."""

from random import Random

from p2psync.core.crypto import content_digest
from p2psync.core.diff import diff
from p2psync.core.files import FileState, Pair
from p2psync.core.membership import MAY_POST
from p2psync.core.ops import (
    AddFile,
    Chunked,
    ClaimSeat,
    Close,
    Detach,
    Expect,
    HandSeat,
    Leave,
    Minimum,
    Operation,
    Place,
    Policy,
    Post,
    Reattach,
    Register,
    Rename,
    Reopen,
    Return,
    Revoke,
    SetRelay,
    Taken,
    Unpost,
    take,
)
from p2psync.engine.replica import Replica
from tests.core.lines import segments
from tests.engine.machine import Machine

ACTIONS = (
    ("edit", 10),
    ("opaque", 3),
    ("post", 3),
    ("unpost", 1),
    ("attach", 2),
    ("rename", 1),
    ("detach", 1),
    ("claim", 1),
    ("arrange", 2),
    ("stand", 1),
)


def act(random: Random, machine: Machine, mandate: bytes) -> str:
    """Do one thing, as far as the device may; return what."""
    names, weights = zip(*ACTIONS, strict=True)
    action: str = random.choices(names, weights)[0]
    replica = machine.engine.replica(mandate)
    if not replica.is_member(machine.device):
        return "wait"
    files = replica.state.present_files()
    records = [file for file in files if file.info.format == "lines"]
    wholes = [file for file in files if file.info.format == "opaque"]
    if action == "attach" and len(files) > 8:
        action = "edit"
    match action:
        case "attach":
            attach(random, machine, mandate, "lines" if random.random() < 0.7 else "opaque")
        case "edit" if records:
            edit(random, machine, mandate, random.choice(records))
        case "opaque" if wholes:
            replace(random, machine, mandate, random.choice(wholes))
        case "post" if records:
            post(machine, mandate, replica, records)
        case "unpost" if replica.state.receipts:
            receipt = random.choice(sorted(replica.state.receipts))
            machine.author(mandate, Unpost((receipt,)))
        case "rename":
            machine.author(mandate, Rename(f"Books {random.randrange(1000)}"))
        case "detach" if len(files) > 1 and random.random() < 0.3:
            file = random.choice(files)
            machine.author(mandate, Detach(file.id, tuple(sorted(file.heads))))
        case "claim" if random.random() < 0.3:
            machine.author(mandate, ClaimSeat(1))
        case "arrange" if replica.state.files:
            machine.author(mandate, arrange(random, replica))
        case "stand":
            machine.author(mandate, stand(random, replica))
        case _:
            attach(random, machine, mandate, "lines")
    return action


def arrange(random: Random, replica: Replica) -> Operation:
    """Say something of a file as a whole, present or not."""
    file = replica.state.files[random.choice(sorted(replica.state.files))]
    number = random.randrange(5)
    match random.randrange(4):
        case 0:
            return Reattach(file.id, tuple(sorted(file.detached_by)[:number]))
        case 1:
            return Place(file.id, f"{number}.placed", f"/{number}")
        case 2:
            return Expect(file.id, number * 86_400)
        case _:
            return Register(file.id, "Factures", f"13.{number}", "valid")


def stand(random: Random, replica: Replica) -> Operation:
    """Say whether and how the mandate goes on; what was closed or left mostly goes on soon."""
    standing, state = replica.state.standing, replica.state
    match random.randrange(5):
        case 0:
            return Close()
        case 1:
            return Reopen(tuple(each.id for each in standing.closed))
        case 2:
            return Leave() if random.random() < 0.5 else Return()
        case 3:
            return HandSeat(2, random.choice(sorted(state.membership.members)))
        case _:
            number, chance = random.randrange(5), random.random()
            if chance < 0.25 or chance > 0.75:
                relay = bytes([number % 2]) * 32
                named = (f"/memory/relay-{number}",) if number else ()
                return SetRelay(relay, named, state.relays.standing(relay))
            return Policy(chance < 0.5, False, False, (Minimum("Factures", f"13.{number}"),))


def go_on(mandate: bytes, machine: Machine) -> None:
    """Undo that a mandate was closed, or that this device left it."""
    if mandate not in machine.engine.mandates():
        return
    replica = machine.engine.replica(mandate)
    standing, role = replica.state.standing, replica.state.membership.role(machine.device)
    if standing.closed and role in MAY_POST:
        machine.author(mandate, Reopen(tuple(each.id for each in standing.closed)))
    if machine.device in standing.left():
        machine.author(mandate, Return())


def attach(random: Random, machine: Machine, mandate: bytes, format_name: str) -> None:
    """Attach a file and save its first version."""
    file = machine.entropy(16)
    name = f"{random.randrange(20)}.{format_name}"
    machine.author(mandate, AddFile(file, name, "other", format_name, "", None, None, None))
    state = machine.engine.replica(mandate).state.files[file]
    if format_name == "lines":
        edit(random, machine, mandate, state)
    else:
        replace(random, machine, mandate, state)


def edit(random: Random, machine: Machine, mandate: bytes, file: FileState) -> None:
    """Save a record file with some lines changed, added and removed."""
    shown = list(file.segments.shown())
    lines = [value.segment.raw for _, value in shown]
    for _ in range(random.randint(1, 6)):
        place = random.randrange(len(lines) + 1)
        kind = random.random()
        line = b"%d | text %d\n" % (random.randrange(30), random.randrange(30))
        if kind < 0.5 or place == len(lines):
            lines.insert(place, line)
        elif kind < 0.7:
            del lines[place]
        elif kind < 0.85:
            lines[place] = lines[place].split(b"|")[0] + b"| other %d\n" % random.randrange(30)
        else:
            lines[place] = line
    data = b"".join(lines)
    made = diff(file.id, shown, segments(data), machine.device)
    replica = machine.engine.replica(mandate)
    effects = replica.save(
        file.id,
        parents=tuple(sorted(file.heads)),
        lines=made,
        content=None,
        mergeable=True,
        size_bytes=len(data),
        digest=content_digest(data),
        wall_ms=machine.wall_ms,
    )
    machine.publish(mandate, effects)


def replace(random: Random, machine: Machine, mandate: bytes, file: FileState) -> None:
    """Save a file that is synchronised whole, of up to a few chunks."""
    size = random.choice((0, 10, 5_000, 5_000, 300_000, 1_200_000))
    data = random.randbytes(8) * (size // 8)
    content: Chunked = machine.store(mandate, data)
    replica = machine.engine.replica(mandate)
    parents = sorted(file.heads)
    if random.random() < 0.2:
        parents = parents[:1]
    effects = replica.save(
        file.id,
        parents=tuple(parents),
        lines=(),
        content=content,
        mergeable=False,
        size_bytes=len(data),
        digest=content_digest(data),
        wall_ms=machine.wall_ms,
    )
    machine.publish(mandate, effects)


def post(machine: Machine, mandate: bytes, replica: Replica, files: list[FileState]) -> None:
    """Post all that is pending."""
    adds: list[Taken] = []
    drops: list[Taken] = []
    added = deleted = 0
    for file in files:
        items = file.pending_items()
        adds += layers(file.id, items.adds)
        drops += layers(file.id, items.drops)
        counts = file.pending()
        added, deleted = added + counts[0], deleted + counts[1]
    if adds or drops:
        machine.author(mandate, Post(0, tuple(adds), tuple(drops), added, deleted))


def layers(file: bytes, pairs: tuple[Pair, ...]) -> list[Taken]:
    """Name pairs in as many parts as an element occurs in with different contents."""
    out: list[dict[tuple[bytes, int], bytes]] = []
    for element, key in pairs:
        layer = next((each for each in out if element not in each), None)
        if layer is None:
            layer = {}
            out.append(layer)
        layer[element] = key
    return [take(file, layer.items()) for layer in out]


def forget(mandate: bytes, machine: Machine) -> None:
    """Write without a care, as somebody does who does not know of the backup."""
    if machine.engine.replica(mandate).is_member(machine.device):
        machine.author(mandate, Rename("from a backup"))


def revoke(machine: Machine, mandate: bytes, invitation: bytes) -> None:
    """Take a ticket back."""
    machine.author(mandate, Revoke(invitation))
