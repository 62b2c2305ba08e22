"""What a look at an audit file brings: what is wrong, what is proven, what is not.

The texts are templates, translated where they are shown.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

PROBLEM_TEXTS = {
    "damaged": "this is not a sound audit file: {cause}",
    "changed": "the file was changed after it was signed: its bytes do not have the digest that "
    "the manifest names",
    "altered": "the file was damaged or changed after it was written: its last digest does not fit",
    "manifest-signature": "the signature of the exporting device {device} under the manifest does "
    "not hold",
    "manifest-mandate": "the manifest is of another mandate than the file",
    "manifest-counts": "the manifest does not say how much there is: {what} {said}, found {found}",
    "manifest-heads": "the ends of the logs are not those that the manifest names: {cause}",
    "exporter-log": "the exporting device {device} has no log in the file",
    "exporter-stranger": "the exporting device {device} was never a member of the mandate",
    "founder": "founder and salt do not make the mandate's id",
    "founding": "no log of the founder begins with the founding of the mandate",
    "log-order": "the log {log} stands at a wrong place, or twice",
    "log-certificate": "the device {device} has not certified the log {log}",
    "log-empty": "the log {log} has no entry",
    "log-unknown": "{where}: its log was not announced at the beginning of the file",
    "log-opening": "{where}: it opens the log of another device than the file says",
    "key-repeated": "a key stands twice",
    "key-missing": "{count} entries cannot be read: the key of epoch {epoch} is not in the file",
    "entry": "{where}: {cause}",
    "entry-mandate": "{where}: it belongs to another mandate",
    "entry-repeated": "{where}: it stands in the file twice",
    "prev-missing": "{where}: the entry before it in its log is missing, changed, or comes later",
    "prev-other": "{where}: it does not continue its log",
    "deps-missing": "{where}: it refers to an entry that is missing, changed, or comes later",
    "signature": "{where}: no valid signature covers the end of its log",
    "content-unknown": "the file holds content of a version that no entry speaks of: {digest}",
    "content-changed": "the content of {file} is not what its version {version} says",
    "stamp": "the time stamp of {authority}: {cause}",
}
"""What makes a file not verify."""

REQUEST_TEXTS = {
    "mandate-other": "the file is of the mandate {found}, not of {wanted}",
    "head-missing": "the log {log} had an entry {seq} that is not in this file ({entry})",
    "stamp-untrusted": "the time stamp of {authority} does not hold: {cause}",
    "stamp-none": "certificates were given, but the file has no time stamp",
}
"""What makes a file that holds in itself not be what was asked for."""

NOTE_TEXTS = {
    "fork": "the log {log} has {count} ends: a machine was copied or restored; all branches are "
    "kept",
    "unreadable": "{where}: its author sealed something that nobody can read; it counts for "
    "nothing",
    "exporter-removed": "the exporting device {device} was removed from the mandate: what others "
    "wrote since is not in the file",
    "quarantined": "{count} entries of the removed device {device} count for nothing: it wrote "
    "them after what its removal lets stand",
    "newer": "{count} operations are of a newer p2psync; they are covered, and not explained here",
}
"""What a reader should know."""

PROVEN_TEXTS = {
    "unchanged": "Not one byte of the file was changed, removed or added since the device of "
    "{who} signed it on {when}.",
    "chains": "The entries ({entries}, in logs: {logs}) are unbroken chains of signatures: none "
    "was changed, left out of the middle, put in or reordered since its author's device wrote it.",
    "closed": "Every entry that another one refers to is there.",
    "mandate": "All of it belongs to the mandate {mandate}, which is the one that was asked for.",
    "founder": "The mandate was founded by the device {device}: nobody else can have made this id.",
    "authors": "Each log belongs to the device that is named with it.",
    "readable": "Every entry opens with the keys in the file, and says what is reported of it.",
    "members": "Who is a member is as this history admitted them; devices: {members}.",
    "contents": "The content of the files that are kept whole ({count}) is, byte for byte, that of "
    "their last version.",
    "heads": "Everything up to the ends of logs that were given ({count}) is there, unchanged.",
    "stamped": "The file, as it is, existed on {when}: {authority} attests it, and its "
    "certificate leads to one that was given.",
}

UNPROVEN_TEXTS = {
    "pin": "That this is the mandate you mean. Compare its id with one from a source that you "
    "trust, or give it with --mandate.",
    "tail": "That nothing came after, and that who exported it did not write its own newest "
    "entries anew: it can leave out or replace those, and leave out whole logs, to which no other "
    "entry in the file refers. Compare with what another member holds (--heads).",
    "tail-heads": "That nothing came after the ends of logs that were given.",
    "clock": "That the times are right: they are those of the devices' clocks, and only their "
    "order is proven, where one entry refers to another.",
    "stamp-unchecked": "That the time stamp of {authority}, which says {when}, is genuine: give "
    "the certificate of its authority with --ca.",
    "no-stamp": "When the file was made, other than by the clock of who exported it: it has no "
    "time stamp.",
    "sealed": "What the entries say, who is a member, and whether who exported it was one: the "
    "keys were left out.",
    "no-contents": "The content of files that are synchronised whole: the file does not hold it, "
    "only its digests.",
    "waiting": "What {count} further entries say: they were left out, because something that they "
    "depend on had not come.",
    "person": "Which person sat at a device, and that what was recorded is true.",
}


@dataclass(frozen=True, slots=True)
class Finding:
    """One thing found: ``template`` with ``params`` is the text for people."""

    code: str
    template: str
    params: Mapping[str, str] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The text in English."""
        return self.template.format_map(dict(self.params))


def problem(code: str, **params: object) -> Finding:
    """Something that is wrong with the file."""
    return _finding(PROBLEM_TEXTS, code, params)


def request(code: str, **params: object) -> Finding:
    """Something that was asked for and is not so."""
    return _finding(REQUEST_TEXTS, code, params)


def note(code: str, **params: object) -> Finding:
    """Something to know."""
    return _finding(NOTE_TEXTS, code, params)


def proven(code: str, **params: object) -> Finding:
    """Something that the file proves."""
    return _finding(PROVEN_TEXTS, code, params)


def unproven(code: str, **params: object) -> Finding:
    """Something that it does not prove."""
    return _finding(UNPROVEN_TEXTS, code, params)


def _finding(texts: Mapping[str, str], code: str, params: Mapping[str, object]) -> Finding:
    return Finding(code, texts[code], {name: str(value) for name, value in params.items()})
