"""Who this device is: its key, locked or not, and its person's name (B-ID-1, B-ID-2)."""

from dataclasses import dataclass
from typing import Any

from p2psync.core import crypto
from p2psync.core.words import key_phrase
from p2psync.errors import IdentityLocked, PersonNameInvalid
from p2psync.limits import NAME_BYTES_MAX

Json = dict[str, Any]


def check_person_name(name: str) -> None:
    """Raise ``PersonNameInvalid`` for a name that is empty, too long or not plain text."""
    if not name.strip() or len(name.encode()) > NAME_BYTES_MAX or not name.isprintable():
        raise PersonNameInvalid(limit=NAME_BYTES_MAX)


class LockedKey(crypto.SigningKey):
    """A device key of which only the public half is known until its person unlocks it."""

    @classmethod
    def of(cls, public: bytes) -> "LockedKey":
        """The locked key of a device."""
        return cls(b"", public, b"")

    def sign(self, domain: bytes, message: bytes) -> bytes:
        """Raises ``IdentityLocked``."""
        raise IdentityLocked()


@dataclass(slots=True)
class Identity:
    """This device. ``protected`` says that the key file is sealed with a passphrase."""

    signer: crypto.SigningKey
    name: str
    machine: str
    protected: bool

    @property
    def device(self) -> bytes:
        """The device key, 32 bytes."""
        return self.signer.public

    @property
    def locked(self) -> bool:
        """Whether the secret half is not known now."""
        return isinstance(self.signer, LockedKey)

    def check_unlocked(self) -> None:
        """Raise ``IdentityLocked`` while the key is locked."""
        if self.locked:
            raise IdentityLocked()

    def phrase_of(self, device: bytes) -> str:
        """The words that two people compare aloud (B-ID-2)."""
        return key_phrase(device)

    def view(self) -> Json:
        """As ``identity show`` prints it."""
        return {
            "device": self.device.hex(),
            "name": self.name,
            "machine": self.machine,
            "phrase": key_phrase(self.device),
            "protected": self.protected,
            "locked": self.locked,
        }
