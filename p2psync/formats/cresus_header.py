"""The first line that the exchange files of the Crésus family share: ``#FSC⇥version⇥KIND``."""

_HEAD_BYTES_MAX = 256
UTF8_BOM = b"\xef\xbb\xbf"


def kind_of(head: bytes) -> bytes | None:
    """Gives the kind (``b"ECF"``, ``b"ECS"``, ``b"ECC"``) that the first line names, if any."""
    first = head[:_HEAD_BYTES_MAX].removeprefix(UTF8_BOM).partition(b"\n")[0]
    fields = first.rstrip(b"\r").split(b"\t")
    if len(fields) < 3 or fields[0] != b"#FSC":
        return None
    return fields[2].strip().upper()
