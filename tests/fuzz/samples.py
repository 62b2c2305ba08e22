"""One honest example of everything that goes over the wire or into an entry."""

from p2psync.core import codec, crypto, entry, ops
from p2psync.core.entry import Entry, LogKey
from p2psync.core.frontier import Tip
from p2psync.core.ops import Operation
from p2psync.core.ticket import Ticket, TicketPeer
from p2psync.engine import wire

KEY = bytes(range(32))
OTHER = bytes(range(32, 64))
FILE = bytes(range(16))
SIGNATURE = bytes(range(64))
REFERENCE = KEY + OTHER
EPOCH_KEY = bytes(range(128, 160))
LOG_KEY = LogKey(crypto.SigningKey.from_seed(bytes(range(96, 128))))
OP = (KEY, 3)
WALL_MS = 1_800_000_000_000

OPERATIONS: tuple[Operation, ...] = (
    ops.Create(KEY, FILE, "Books"),
    ops.OpenLog(KEY, 1, SIGNATURE),
    ops.Describe("Ada", "desk"),
    ops.Invite(KEY, "writer", WALL_MS, 1),
    ops.Revoke(KEY),
    ops.Redeem(KEY, SIGNATURE),
    ops.Admit(KEY, OTHER),
    ops.SetRole(KEY, "reader"),
    ops.Remove(KEY, (OTHER,)),
    ops.Readmit(KEY, (OP,)),
    ops.SetRelay(KEY, ("/ip4/127.0.0.1/tcp/4001",), (OP,)),
    ops.Rotate(FILE, (ops.SealedKey(KEY, bytes(80)),), bytes(48)),
    ops.Share(),
    ops.Rename("Café"),
    ops.ClaimSeat(1),
    ops.HandSeat(2, KEY),
    ops.Observe(),
    ops.AddFile(FILE, "sales.ecf", "invoicing", "cresus-ecf", "Sales", None, 738_000, 738_364),
    ops.Detach(FILE, (OP,)),
    ops.Lines(
        FILE,
        (ops.Run(b"\x80", (b"one\r\n", b"two\r\n")),),
        ops.Edits((OP, (OTHER, 0)), (b"three\r\n", b"four\r\n")),
        ((KEY, 1), (KEY, 2), (OTHER, 7)),
    ),
    ops.Save(FILE, (OP,), (OTHER,), None, True, 9, KEY),
    ops.Save(FILE, (), (), ops.Chunked(False, REFERENCE), False, 100, KEY),
    ops.Post(1, (ops.Taken(FILE, (OP,), FILE),), (), 1, 0),
    ops.Unpost((OP,)),
)


def entry_of(*operations: Operation, seq: int = 0, prev: bytes = b"") -> Entry:
    """A signed entry."""
    return entry.build(
        LOG_KEY,
        mandate=KEY,
        seq=seq,
        prev=prev,
        deps=[OTHER],
        hlc=WALL_MS << 16,
        epoch_key=EPOCH_KEY,
        payload=ops.encode(operations),
        entropy=bytes(32),
    )


def messages() -> tuple[wire.Message, ...]:
    """One of each, and some twice."""
    raw = entry_of(*OPERATIONS[1:3]).raw
    tip = Tip(KEY, 3, bytes(8))
    return (
        wire.Hello(1, KEY, "p2psync/0"),
        wire.Offer(0, (FILE, bytes(16))),
        wire.Offer(0, ()),
        wire.Accept((wire.Accepted(0, FILE), wire.Accepted(2, FILE))),
        wire.Accept(()),
        wire.Opening(0, (raw,)),
        wire.Refusal(0, "ticket-expired"),
        wire.Frontier(0, (tip, Tip(OTHER, 0, bytes(8)))),
        wire.Want(0, (wire.Wanted(KEY, 3, bytes(8), ((2, bytes(8)), (0, bytes(8)))),)),
        wire.Entries(0, (raw,), False),
        wire.Entries(0, (raw, raw), True),
        wire.Have(0, (tip,)),
        wire.ChunkWant(0, (KEY, OTHER)),
        wire.Chunk(0, KEY, b"data"),
        wire.ChunkMissing(0, (KEY,)),
        wire.Contact(("/ip4/192.0.2.1/tcp/4001",)),
        wire.Bye("wire", "why"),
        wire.Content(0, 3),
    )


TICKET = Ticket(
    KEY,
    OTHER,
    EPOCH_KEY,
    bytes(32),
    "Books",
    "writer",
    WALL_MS,
    1,
    (TicketPeer(KEY, ("/ip4/192.0.2.1/tcp/4001",)),),
    (TicketPeer(OTHER, ()),),
)


def tree(packed: bytes) -> codec.Value:
    """What some packed bytes hold."""
    return codec.unpack(packed, len(packed))
