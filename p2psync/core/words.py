"""Words to read aloud: generated passphrases, and phrases that stand for a key.

The 4,096 words are two different syllables each, such as ``loda``, made of letters that French and
English readers tell apart: no soft or hard ``c`` and ``g``, no ``h``, ``q``, ``w``, ``x``, ``y``,
no ``s`` that sounds like ``z`` between vowels. A word holds 12 bits.
"""

import re
import unicodedata
from typing import Final

from p2psync.core import crypto

WORD_BITS: Final = 12
PASSPHRASE_WORDS: Final = 6
PASSPHRASE_ENTROPY_BYTES: Final = 9
"""Six words of 12 bits."""
KEY_PHRASE_WORDS: Final = 5
_PHRASE: Final = b"p2psync.phrase"

_UNWELCOME: Final = re.compile(
    "bite|bita|baka|boka|dike|fade|fata|feka|fida|kafa|kike|kuni|kul[ao]|kuru|lolo|lope|made|meka"
    "|mor[io]|nazi|nebo|nike|nud[ae]|ped[eo]|peta|pine|pita|pula|put[aeo]|rape|tare|tate|tub[ai]"
    "|tude|zobi|zuli"
)
"""Words that mean something unkind in French, English or a neighbour's language."""


def _words() -> tuple[str, ...]:
    syllables = [consonant + vowel for consonant in "bdfjklmnprtvz" for vowel in "aeiou"]
    words = [
        first + second
        for first in syllables
        for second in syllables
        if first != second and not _UNWELCOME.fullmatch(first + second)
    ]
    return tuple(words[: 1 << WORD_BITS])


WORDS: Final = _words()


def _spell(number: int, count: int) -> str:
    mask = (1 << WORD_BITS) - 1
    places = range((count - 1) * WORD_BITS, -1, -WORD_BITS)
    return " ".join(WORDS[number >> place & mask] for place in places)


def passphrase(entropy: bytes) -> str:
    """Spell the first 9 bytes of fresh randomness as six words, 72 bits.

    Raises ``ValueError`` for fewer bytes.
    """
    if len(entropy) < PASSPHRASE_ENTROPY_BYTES:
        raise ValueError(f"a passphrase takes {PASSPHRASE_ENTROPY_BYTES} bytes of randomness")
    number = int.from_bytes(entropy[:PASSPHRASE_ENTROPY_BYTES], "big")
    return _spell(number, PASSPHRASE_WORDS)


def key_phrase(public_key: bytes) -> str:
    """Five words, 60 bits of a public key's digest, that two people compare aloud (B-ID-2)."""
    number = int.from_bytes(crypto.digest(_PHRASE, public_key, size=8), "big")
    return _spell(number >> 4, KEY_PHRASE_WORDS)


def normalise_passphrase(text: str) -> str:
    """Return what all ways to type one passphrase have in common.

    NFKC, case folded, words parted by one space wherever spaces or dashes stood.
    """
    clean = text.encode("utf-8", "replace").decode()  # a lone surrogate has no bytes to hash
    folded = unicodedata.normalize("NFKC", unicodedata.normalize("NFKC", clean).casefold())
    parted = "".join(
        " " if unicodedata.category(char) in ("Pd", "Zs", "Cc", "Cf") else char for char in folded
    )
    return " ".join(parted.split())
