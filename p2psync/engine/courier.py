"""Takes in what a bundle brings: the frames of a member that is not there itself (B-NET-4).

A bundle's frames are those of a link, in the order opening, keys, entries, frontier; content is
asked for as of any peer. The member counts as neither present nor in step for it, and is told
nothing. Specification: docs/spec/bundle.md.
"""

from p2psync.engine import wire
from p2psync.engine.effects import Courier, Warn
from p2psync.engine.session import Exchange
from p2psync.engine.transfer import Transfer
from p2psync.errors import BadInputError, TicketError, WireError

HANDLE = 0
"""What stands for the mandate in a bundle's frames."""


def take(
    courier: Courier, link: int, device: bytes, exchange: Exchange, transfer: Transfer, frame: bytes
) -> None:
    """Take a frame of a bundle that ``device`` wrote; a mistake ends it, see ``Courier``."""
    if courier.mistake or courier.refusal is not None:
        return
    try:
        message = wire.decode(frame)
        if message is not None:
            _take(courier, link, device, exchange, transfer, message)
    except BadInputError as error:
        courier.mistake = error.text


def _take(
    courier: Courier,
    link: int,
    device: bytes,
    exchange: Exchange,
    transfer: Transfer,
    message: wire.Message,
) -> None:
    replica, desk = exchange.replica, exchange.desk
    match message:
        case wire.Opening(raws=raws):
            if exchange.newcomer or replica.is_member(device):
                return
            try:
                received = replica.admit(device, raws, desk.wall_ms)
            except TicketError as error:
                courier.refusal = error
                return
            courier.admitted = True
            courier.entries += len(received.new)
            exchange.publish(received.effects)
        case wire.Keys(keys=keys):
            exchange.publish(replica.learn(keys))
        case wire.Entries(raws=raws, more=more):
            received = replica.receive(raws, desk.wall_ms, more=more, link=link, device=device)
            courier.entries += len(received.new)
            exchange.publish(received.effects)
        case wire.Frontier(tips=tips):
            courier.heard = True
            courier.lacking = len({tip.log for tip in replica.missing(tips)})
            if replica.own_log_behind(tips):
                desk.out += replica.close_log()
                desk.out.append(Warn(exchange.mandate, "log-behind", replica.device))
            transfer.open(link, device, HANDLE, exchange.mandate)
        case wire.Chunk(address=address, data=data):
            transfer.on_chunk(link, address, data)
        case wire.ChunkMissing(addresses=addresses):
            transfer.on_missing(link, addresses)
        case _:
            raise WireError(cause="a message that has no place in a bundle")
