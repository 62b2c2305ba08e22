"""Every error that a user, a program or a peer can cause.

Each class has a stable ``code`` for programs, an ``exit_code`` for the command line and two
templates: ``template`` names the cause and the thing, ``hint_template`` the next step. The
parameters given to the constructor fill both. Interfaces translate the templates, never the
filled text (see ``p2psync.i18n``).
"""

from typing import ClassVar


class P2PSyncError(Exception):
    """The base of all errors that p2psync raises on purpose."""

    code: ClassVar[str] = "internal"
    exit_code: ClassVar[int] = 1
    template: str = "something went wrong inside p2psync: {cause}"
    hint_template: ClassVar[str] = "please report this with the lines above"

    def __init__(self, **params: object) -> None:
        self.params: dict[str, str] = {name: str(value) for name, value in params.items()}
        super().__init__(self.text)

    @property
    def text(self) -> str:
        """The cause and the thing, in English."""
        return self.template.format_map(self.params)

    @property
    def hint(self) -> str:
        """The next step, in English; may be empty."""
        return self.hint_template.format_map(self.params)


# -- the five kinds: exit codes of the command line ------------------------------------------


class UsageError(P2PSyncError):
    """The caller asked for something that makes no sense (exit code 2)."""

    code = "usage"
    exit_code = 2
    template = "{cause}"
    hint_template = "see the command's --help"


class RefusedError(P2PSyncError):
    """A rule forbids it; nothing has changed (exit code 3)."""

    code = "refused"
    exit_code = 3
    template = "{cause}"
    hint_template = ""


class UnavailableError(P2PSyncError):
    """It cannot be done now, but may be later (exit code 4)."""

    code = "unavailable"
    exit_code = 4
    template = "{cause}"
    hint_template = "try again later"


class BadInputError(P2PSyncError):
    """A ticket, file, frame or request is not what it should be (exit code 5)."""

    code = "bad-input"
    exit_code = 5
    template = "{cause}"
    hint_template = ""


class StorageError(P2PSyncError):
    """The disk failed or refused; nothing was acknowledged (exit code 6)."""

    code = "storage"
    exit_code = 6
    template = "the disk refused: {cause}"
    hint_template = "free space or mend the disk, then try again"


# -- values and codecs ------------------------------------------------------------------------


class CodecError(BadInputError):
    """Bytes that are no canonical encoding, or are larger or deeper than allowed."""

    code = "codec"
    template = "not a valid encoding: {cause}"


class CryptoError(BadInputError):
    """A signature, seal or key that does not verify."""

    code = "crypto"
    template = "does not verify: {cause}"


class EntryError(BadInputError):
    """A log entry that breaks a rule of the entry format."""

    code = "entry"
    template = "not a valid log entry: {cause}"


class OperationError(BadInputError):
    """An operation that is malformed."""

    code = "operation"
    template = "not a valid operation: {cause}"


class WireError(BadInputError):
    """A frame from a peer that breaks the protocol; ends its session."""

    code = "wire"
    template = "the peer broke the protocol: {cause}"


# -- tickets (B-TIC-3) ------------------------------------------------------------------------


class TicketError(BadInputError):
    """The base of what can be wrong with a ticket."""

    code = "ticket"
    template = "this is not a p2psync ticket: {cause}"
    hint_template = "ask for the .crsync file again"


class TicketTruncated(TicketError):
    """The ticket ends too early."""

    code = "ticket-truncated"
    template = "the ticket is cut off"
    hint_template = "the file did not arrive whole; ask for it again"


class TicketAltered(TicketError):
    """The ticket's checksum or seal does not fit."""

    code = "ticket-altered"
    template = "the ticket was altered or damaged on its way"
    hint_template = "ask for the .crsync file again"


class TicketVersion(TicketError):
    """The ticket was made by another version of p2psync."""

    code = "ticket-version"
    template = "the ticket has version {version}; this p2psync reads version {known}"
    hint_template = "bring p2psync up to date on both machines"


class TicketTooLarge(TicketError):
    """The file is far larger than any ticket."""

    code = "ticket-too-large"
    template = "the file is too large for a ticket ({size_bytes} bytes; at most {limit_bytes})"


class TicketPassphraseNeeded(TicketError):
    """The ticket is sealed and no passphrase was given."""

    code = "ticket-passphrase-needed"
    template = "the ticket is sealed with a passphrase"
    hint_template = "give it with --passphrase-file FILE"


class TicketPassphraseWrong(TicketError):
    """The passphrase does not open the ticket."""

    code = "ticket-passphrase-wrong"
    template = "the passphrase does not open this ticket"
    hint_template = "check the six words with the person who sent the ticket"


class TicketExpired(TicketError):
    """The ticket's last day is over."""

    code = "ticket-expired"
    template = "the ticket expired on {expired}"
    hint_template = "ask for a new ticket; if that day is to come, set the wrong clock right"


class TicketRevoked(TicketError):
    """The person who invited took the ticket back."""

    code = "ticket-revoked"
    template = "the ticket was revoked"
    hint_template = "ask for a new ticket"


class TicketUsedUp(TicketError):
    """All uses of the ticket are taken."""

    code = "ticket-used-up"
    template = "the ticket was already used as often as it allows"
    hint_template = "ask for a new ticket"


class TicketForeign(TicketError):
    """The ticket's admission secret belongs to no invitation of that mandate."""

    code = "ticket-foreign"
    template = "no member of the mandate knows this ticket"
    hint_template = "ask for a new ticket"


class TicketClosed(TicketError):
    """The ticket's mandate was closed for everyone (B-REM-5)."""

    code = "ticket-closed"
    template = "the mandate of this ticket was closed"
    hint_template = "ask who sent the ticket to reopen it: p2psync mandate close --undo"


class DeviceRemoved(TicketError):
    """This device was a member and was removed: no ticket brings it back (B-ID-3)."""

    code = "device-removed"
    template = "this device was removed from the mandate"
    hint_template = (
        "ask who removed it, or a senior member, to let it in again: p2psync member readmit"
    )


# -- network (docs/spec/link.md) ---------------------------------------------------------------


class BadAddress(BadInputError):
    """A multiaddr that cannot be understood, dialled or listened on."""

    code = "bad-address"
    template = "the address {address} cannot be used: {cause}"
    hint_template = "use an address such as /ip4/192.0.2.7/tcp/4001"


class PortTaken(UnavailableError):
    """Another program, or a second p2psync, already listens there."""

    code = "port-taken"
    template = "another program already listens on {address}"
    hint_template = "stop the other program or choose another port"


class PeerUnreachable(UnavailableError):
    """No address led to the device; ``causes`` names each address and why."""

    code = "peer-unreachable"
    template = "the device {device} cannot be reached: {causes}"
    hint_template = "check that the other machine is on and connected; p2psync keeps trying"


class PeerNotExpected(PeerUnreachable):
    """Another device answers at the addresses of the one that was called."""

    code = "peer-not-expected"
    template = "another device answers instead of {device}: {causes}"
    hint_template = "the address is out of date or somebody else uses it; ask for a new one"


# -- local API and command line ---------------------------------------------------------------


class NodeNotRunning(UnavailableError):
    """No node of this home answers."""

    code = "node-not-running"
    template = "the node of {home} is not running"
    hint_template = "start it with: p2psync node start"


class NodeStartFailed(UnavailableError):
    """The node ended, or did not answer in time, after it was started."""

    code = "node-start-failed"
    template = "the node did not start: {cause}"
    hint_template = "its log is {log}"


class NodeStopFailed(UnavailableError):
    """The node was asked to stop and is still there."""

    code = "node-stop-failed"
    template = "the node (process {pid}) did not stop within {seconds} seconds"
    hint_template = "wait a little and ask again, or end that process"


class IdentityUnprotected(RefusedError):
    """A key cannot be locked before it has a passphrase."""

    code = "identity-unprotected"
    template = "no passphrase protects this identity yet"
    hint_template = "give one with: p2psync identity lock --passphrase-file FILE"


class TicketFileExists(RefusedError):
    """A file is where the ticket would be written."""

    code = "ticket-file-exists"
    template = "{path} is already there"
    hint_template = "choose another name, or overwrite it with --force"


class InputUnreadable(BadInputError):
    """A file that the caller named cannot be read."""

    code = "input-unreadable"
    template = "{path} cannot be read: {cause}"
    hint_template = "check the name and the permissions of the file"


class FormatUnknown(UsageError):
    """No format has that name."""

    code = "format-unknown"
    template = "there is no format called {name}"
    hint_template = "write one of: {names}"


class FormatsDiffer(BadInputError):
    """Two files that are to be compared have different formats."""

    code = "formats-differ"
    template = "{old} is {old_format} and {new} is {new_format}: they cannot be compared"
    hint_template = "if both are of one format, name it with --format"


class InspectedTooLarge(BadInputError):
    """A file has more lines than can be compared."""

    code = "inspected-too-large"
    template = "{path} has more than {limit} lines and groups: too many to be compared"
    hint_template = "compare parts of it, or each file on its own"


class OutputUnwritable(StorageError):
    """A file that the caller named cannot be written."""

    code = "output-unwritable"
    template = "{path} cannot be written: {cause}"
    hint_template = "choose another place"


class ApiUnauthorized(UnavailableError):
    """The request carries no valid token."""

    code = "unauthorized"
    template = "the request carries no valid token"
    hint_template = "send the content of api.token, from the node's home, as a bearer token"


class ApiHostRefused(RefusedError):
    """The Host header names another server (DNS rebinding)."""

    code = "host-refused"
    template = "the request is addressed to another host"
    hint_template = "use the address in api.json, from the node's home, as it is"


class ApiOriginRefused(RefusedError):
    """A page of another origin sent the request."""

    code = "origin-refused"
    template = "requests from web pages of other origins are refused"


class ApiRouteUnknown(UsageError):
    """No endpoint has this path."""

    code = "route-unknown"
    template = "there is no endpoint {path}"
    hint_template = "the endpoints are listed at /v1/openapi.json"


class ApiMethodUnknown(UsageError):
    """The endpoint does not have this method."""

    code = "method-unknown"
    template = "the endpoint {path} has no method {method}"
    hint_template = "the endpoints are listed at /v1/openapi.json"


class ApiProtocolRefused(UsageError):
    """Something else than an HTTP/1.1 request."""

    code = "protocol-refused"
    template = "the local API speaks HTTP/1.1 only"
    hint_template = ""


class ApiRequestInvalid(UsageError):
    """A field of the request is missing, unknown or of the wrong type."""

    code = "request-invalid"
    template = "the request's field {field} is not right: {cause}"
    hint_template = "the endpoints are listed at /v1/openapi.json"


class ApiBodyTooLarge(BadInputError):
    """The request's body is larger than allowed."""

    code = "body-too-large"
    template = "the request's body is larger than {limit_bytes} bytes"


class ApiBodyTooSlow(UnavailableError):
    """The request's body did not arrive in time."""

    code = "body-too-slow"
    template = "the request's body did not arrive within {seconds} seconds"


class ApiBodyInvalid(BadInputError):
    """The request's body is not acceptable JSON."""

    code = "body-invalid"
    template = "the request's body is not valid JSON: {cause}"


class ApiBodyType(BadInputError):
    """The request's body is not declared as JSON."""

    code = "body-type"
    template = "the request's body must have the content type application/json"


class ApiAnswerInvalid(UnavailableError):
    """What answered at the node's address does not speak its API."""

    code = "answer-invalid"
    template = "the answer of the node makes no sense: {cause}"
    hint_template = "restart it with: p2psync node stop, then p2psync node start"


# -- names, files and folders (docs/spec/storage.md) ------------------------------------------


class NameRefused(BadInputError):
    """A file or folder name that is not the same, or not allowed, on every system."""

    code = "name-refused"
    template = "the name {name} is not allowed: {cause}"
    hint_template = "give the file another name and attach it again"


class PathInvalid(BadInputError):
    """No path of a file on this machine."""

    code = "path-invalid"
    template = "{path} is no path of a file: {cause}"
    hint_template = "give the whole path, from the root on"


class FileBusy(UnavailableError):
    """A file changed while it was being read."""

    code = "file-busy"
    template = "{path} is being written by another program"
    hint_template = "it is taken up as soon as that program has finished"


class FileAbsent(UnavailableError):
    """A file is not in its folder; never taken for a deletion (B-MIG-1)."""

    code = "file-absent"
    template = "{path} is not there"
    hint_template = (
        "see that the path is right; if an attached file was moved or renamed, p2psync relink "
        "restores the link"
    )


class FileTooLarge(BadInputError):
    """A file is larger than what it is read for allows."""

    code = "file-too-large"
    template = "{path} is too large ({size_bytes} bytes; at most {limit_bytes})"


class NotARegularFile(RefusedError):
    """A link, a folder or a device stands where a plain file should."""

    code = "not-a-regular-file"
    template = "{path} is left alone: it is {cause}"
    hint_template = "put a plain file in its place"


class TargetChanged(UnavailableError):
    """A file is no longer what it was when its replacement was decided; nothing was written."""

    code = "target-changed"
    template = "{path} was changed by another program in the meantime"
    hint_template = "its new content is taken up first"


class FolderMissing(StorageError):
    """A folder is gone, moved or not mounted; never taken for a deletion."""

    code = "folder-missing"
    template = "the folder {path} is not there"
    hint_template = "connect the drive or put the folder back; nothing was deleted elsewhere"


class NotAFolder(StorageError):
    """A link or a file stands where a folder should."""

    code = "not-a-folder"
    template = "{path} is not a folder of its own: it is {cause}"
    hint_template = "put a plain folder in its place"


class DiskFull(StorageError):
    """No space, or none within the quota."""

    code = "disk-full"
    template = "the disk that holds {path} is full"
    hint_template = "free some space; what waits is written then"


class DiskReadOnly(StorageError):
    """The file system is mounted read-only."""

    code = "disk-read-only"
    template = "the disk that holds {path} is read-only"
    hint_template = "mount it writable, or mend the disk"


class AccessDenied(StorageError):
    """The system's permissions forbid it."""

    code = "access-denied"
    template = "no permission for {path}"
    hint_template = "give your account the right to read and write it"


class DiskFailed(StorageError):
    """Any other error of the file system."""

    code = "disk-failed"
    template = "the disk failed on {path}: {cause}"


class DatabaseDamaged(StorageError):
    """The database file is not what p2psync wrote."""

    code = "database-damaged"
    template = "the database {path} is damaged: {cause}"
    hint_template = (
        "stop p2psync, keep a copy of the file, check the disk, then put back a backup; "
        "what other devices have is fetched from them again"
    )


class StateDamaged(StorageError):
    """What was kept of a mandate's fold is not what its entries make."""

    code = "state-damaged"
    template = "what was noted of the mandate's state does not fit its entries: {cause}"
    hint_template = "it is made anew from them"


class DatabaseForeign(StorageError):
    """A database of another program stands where p2psync's should."""

    code = "database-foreign"
    template = "{path} is a database of another program"
    hint_template = "move that file away, or choose another home with --home"


class DatabaseNewer(StorageError):
    """A later p2psync wrote the database."""

    code = "database-newer"
    template = "the database {path} has version {version}; this p2psync reads up to {known}"
    hint_template = "bring p2psync up to date; nothing was changed"


class DatabaseBusy(StorageError):
    """Another process keeps the database locked."""

    code = "database-busy"
    template = "another program keeps the database {path} locked"
    hint_template = "end the program that reads or copies this file"


class SystemTooOld(StorageError):
    """The SQLite library of this Python is too old."""

    code = "sqlite-too-old"
    template = "this Python brings SQLite {version}; p2psync needs {needed} or later"
    hint_template = "install a later Python"


class ChunkMissing(StorageError):
    """A piece of file content is not in the store."""

    code = "chunk-missing"
    template = "a piece of file content is missing ({address})"
    hint_template = "it is fetched again from another device"


# -- home and device key ----------------------------------------------------------------------


class AlreadyRunning(UnavailableError):
    """Another process holds the home."""

    code = "already-running"
    template = "the home {home} is in use by process {pid}"
    hint_template = "stop it with: p2psync node stop"


class HomeExposed(StorageError):
    """Others may write into the home."""

    code = "home-exposed"
    template = "other users may write into {home}"
    hint_template = "take the right away with: chmod 700 {home}"


class HomeUnsuitable(StorageError):
    """The home is on a network or cloud-synchronised folder, where a database breaks."""

    code = "home-unsuitable"
    template = "{home} is on a {cause}: the database would break there"
    hint_template = "choose a folder on a disk of this machine with --home or P2PSYNC_HOME"


class KeyMissing(StorageError):
    """The home holds no device key."""

    code = "key-missing"
    template = "there is no device key {path}"
    hint_template = "restore it from a backup, or choose another home"


class KeyExists(RefusedError):
    """A device key is never overwritten."""

    code = "key-exists"
    template = "there is already a device key {path}"
    hint_template = "keep it: without it this device loses its place in every mandate"


class KeyExposed(StorageError):
    """Other users may read the device key."""

    code = "key-exposed"
    template = "other users may read the device key {path}"
    hint_template = "take the right away with: chmod 600 {path}"


class KeyDamaged(StorageError):
    """The device key file cannot be understood."""

    code = "key-damaged"
    template = "the device key {path} cannot be used: {cause}"
    hint_template = "restore the file from a backup"


class IdentityLocked(UnavailableError):
    """The device key is sealed and nobody signed in (B-ID-1)."""

    code = "identity-locked"
    template = "nobody is signed in: the device key is locked"
    hint_template = "sign in with: p2psync identity unlock"


class IdentityPassphraseWrong(BadInputError):
    """The passphrase does not open the device key."""

    code = "identity-passphrase-wrong"
    template = "the passphrase does not open the device key"
    hint_template = "try again; nobody can recover a forgotten passphrase"


class NotAdmitting(UnavailableError):
    """This member's role does not admit newcomers."""

    code = "not-admitting"
    template = "this member may not admit anyone"
    hint_template = "a member with the role owner or accounting has to be on line"


# -- what people name, and what rules refuse ----------------------------------------------------


class MandateUnknown(UsageError):
    """There is no such mandate on this node."""

    code = "mandate-unknown"
    template = "there is no mandate {mandate!r} here"
    hint_template = "see p2psync mandate list"


class MandateAmbiguous(UsageError):
    """Several mandates answer to that name (B-MAN-5)."""

    code = "mandate-ambiguous"
    template = "several mandates are called {mandate!r}"
    hint_template = "use the beginning of an id: {ids}"


class FileNotAttached(UsageError):
    """The mandate has no such file."""

    code = "file-not-attached"
    template = "{mandate} has no file {file!r}"
    hint_template = "see p2psync mandate show"


class VersionUnknown(UsageError):
    """The file has no such version, or several."""

    code = "version-unknown"
    template = "{file} has no single version {version!r}"
    hint_template = "see p2psync history"


class ReceiptUnknown(UsageError):
    """The mandate has no such receipt, or several."""

    code = "receipt-unknown"
    template = "{mandate} has no single receipt {receipt!r}"
    hint_template = "see p2psync receipts"


class InvitationUnknown(UsageError):
    """The mandate has no such invitation, or several."""

    code = "invitation-unknown"
    template = "{mandate} has no single invitation {invitation!r}"
    hint_template = "see p2psync invite list"


class EventTypeUnknown(UsageError):
    """No type of event has this name."""

    code = "event-type-unknown"
    template = "there is no event type {type!r}"
    hint_template = "all, alerts and messages stand for many; docs/events.md lists every type"


class HookUnknown(UsageError):
    """There is no such hook."""

    code = "hook-unknown"
    template = "there is no hook {hook}"
    hint_template = "see p2psync hook list"


class HookProgramMissing(UsageError):
    """The program that a hook is to run is not there."""

    code = "hook-program-missing"
    template = "there is no program {program!r}"
    hint_template = "give the program's full path"


class HookUrlBad(UsageError):
    """No URL that a hook can call."""

    code = "hook-url-bad"
    template = "{url!r} is no URL that a hook can call"
    hint_template = "write https://HOST/PATH, with no user or password in it"


class HookUrlPlain(UsageError):
    """A URL without encryption that leads to another machine."""

    code = "hook-url-plain"
    template = "what is sent to {url} could be read on the way"
    hint_template = "use https://, or say --allow-http; http:// to this machine itself is fine"


class HookSecretBad(UsageError):
    """A secret that cannot sign (Standard Webhooks, "Signature scheme")."""

    code = "hook-secret-bad"
    template = "this is no secret for a webhook"
    hint_template = "write whsec_ and 24 to 64 random bytes in base64; without one it is made here"


class HooksTooMany(RefusedError):
    """A node has as many hooks as it may have."""

    code = "hooks-too-many"
    template = "there are {limit} hooks already"
    hint_template = "remove one: p2psync hook list"


class DesktopMissing(UnavailableError):
    """No desktop to show notifications on."""

    code = "desktop-missing"
    template = "there is no desktop session to show notifications in"
    hint_template = "start the node from within the session: p2psync node start"


class DesktopLibraryMissing(DesktopMissing):
    """The library that shows notifications is not installed."""

    code = "desktop-library-missing"
    template = "what shows desktop notifications is not installed"
    hint_template = "install p2psync[desktop]"


class DesktopSilent(DesktopMissing):
    """Nothing in the session shows notifications."""

    code = "desktop-silent"
    template = "no notification service answers in this desktop session"
    hint_template = "see that one runs; on macOS, run p2psync from a signed Python"


class AlertUnknown(UsageError):
    """There is no such open alert."""

    code = "alert-unknown"
    template = "there is no open alert {alert}"
    hint_template = "see p2psync alerts"


class TimeInvalid(UsageError):
    """Not a time."""

    code = "time-invalid"
    template = "{time!r} is not a date or time"
    hint_template = "write 2025-12-31 or 2025-12-31T18:00"


class PersonNameInvalid(UsageError):
    """Not a name to show to others."""

    code = "person-name-invalid"
    template = "that is no name to show to others"
    hint_template = "use plain text of at most {limit} bytes"


class FileKindUnknown(UsageError):
    """No kind of file."""

    code = "file-kind-unknown"
    template = "{kind} is no kind of file"
    hint_template = "the kinds are {kinds}"


class PeriodInvalid(UsageError):
    """Not a period."""

    code = "period-invalid"
    template = "{period!r} is not a period"
    hint_template = "write the first and the last day: 2025-01-01..2025-12-31"


class TicketUnsealedRefused(UsageError):
    """Both a passphrase and no seal were asked for."""

    code = "ticket-unsealed-refused"
    template = "a ticket with a passphrase is sealed"
    hint_template = "leave out --unsealed or the passphrase"


class AttachedAlready(RefusedError):
    """The file is attached already, here or to another mandate (B-ATT-4)."""

    code = "attached-already"
    template = "{file} is already attached to {mandate}"
    hint_template = "a file belongs to one mandate, once"


class FileInMandateFolder(RefusedError):
    """A file in a mandate folder is p2psync's own copy."""

    code = "file-in-mandate-folder"
    template = "{path} lies in a mandate folder of p2psync"
    hint_template = "attach the file where the program writes it"


class AccountingTaken(RefusedError):
    """The mandate has another accounting (B-MAN-1)."""

    code = "accounting-taken"
    template = "{mandate} already has an accounting, attached by {who}"
    hint_template = (
        "make a mandate of its own for another accounting, or attach a new year of the same one "
        "with --follows FILE"
    )


class AccountingsSeveral(RefusedError):
    """Several accountings at once: nobody could tell which follows which (B-MAN-1)."""

    code = "accountings-several"
    template = "{count} files at once cannot be the accounting of {mandate}"
    hint_template = "attach the oldest year first, then each next one with --follows FILE"


class PeriodTaken(RefusedError):
    """The mandate has an accounting of that time already (B-MAN-1)."""

    code = "period-taken"
    template = "{file} is for {period}, but {mandate} has {other} for {taken}"
    hint_template = (
        "a new year comes after the one that it follows; to take another file for the same year, "
        "see p2psync replace --help"
    )


class FollowsOtherKind(RefusedError):
    """A file follows one of its own kind only (B-ATT-3)."""

    code = "follows-other-kind"
    template = "{file} is attached as {kind}, but {follows} is {other}"
    hint_template = "name the file of the year before, of the same kind"


class FollowsSeveral(UsageError):
    """Several files at once cannot follow one (B-ATT-3)."""

    code = "follows-several"
    template = "{count} files at once cannot follow {follows}"
    hint_template = "attach one file for each --follows"


class NothingOffered(RefusedError):
    """There is no accounting here whose list offers files (B-MAN-3)."""

    code = "nothing-offered"
    template = "no list beside an accounting of {mandate} on this machine offers a file"
    hint_template = "name the files: p2psync attach MANDATE FILE... --kind KIND"


class OfferedAndFiles(UsageError):
    """What is offered and named files exclude each other."""

    code = "offered-and-files"
    template = "either files and their kind are named, or what is offered is asked for"
    hint_template = "write p2psync attach MANDATE FILE... --kind KIND, or MANDATE --offered"


class SuggestionUnknown(UsageError):
    """There is no such suggestion."""

    code = "suggestion-unknown"
    template = "nothing suggests {file} for {mandate}"
    hint_template = "see p2psync suggestion list"


class LicenceUnknown(UsageError):
    """Not a state of a licence (B-VAL-1)."""

    code = "licence-unknown"
    template = "{licence!r} is no state of a licence"
    hint_template = "write one of: {licences}"


class ProgramInvalid(UsageError):
    """A program needs a name and a version that can be shown."""

    code = "program-invalid"
    template = "a program cannot have the name {name!r} and the version {version!r}"
    hint_template = "write both in 1 to {limit_bytes} bytes of letters, digits and signs"


class PolicyInvalid(UsageError):
    """A policy that cannot be."""

    code = "policy-invalid"
    template = "a policy names {count} programs, but {limit} at most"
    hint_template = "name only those whose old versions are to be refused"


class ProgramRefused(RefusedError):
    """A mandate's policy refuses the files of a program (B-VAL-1): one class for each cause."""

    code = "program-refused"
    template = "{mandate} does not take what {program} {version} writes to {file}"
    hint_template = "see p2psync program list and p2psync program policy"


class ProgramTrial(ProgramRefused):
    """The program is a trial version."""

    code = "program-trial"
    template = "{file} in {mandate}: {program} {version} is a trial version"
    hint_template = "register the program with a licence, or change p2psync program policy"


class ProgramWithoutUpdates(ProgramRefused):
    """The program has no right to updates."""

    code = "program-no-updates"
    template = "{file} in {mandate}: {program} {version} has no right to updates"
    hint_template = "renew the right to updates, or change p2psync program policy"


class ProgramTooOld(ProgramRefused):
    """The program is older than the mandate asks for."""

    code = "program-too-old"
    template = "{file} in {mandate}: {program} {version} is too old, {minimum} is asked for"
    hint_template = "bring the program up to date, or change p2psync program policy"


class ProgramUnknown(ProgramRefused):
    """No program registered, or it does not say whether its licence is valid."""

    code = "program-unknown"
    template = "{file} in {mandate}: it is not known which program with which licence writes it"
    hint_template = "the program has to register: p2psync program register --help"


class MandateFull(RefusedError):
    """The mandate has as many files as it may have."""

    code = "mandate-full"
    template = "{mandate} has {limit} files, as many as a mandate may have"
    hint_template = "use another mandate"


class MandateLocal(RefusedError):
    """Nobody can be invited to a local mandate (B-MAN-4)."""

    code = "mandate-local"
    template = "{mandate} is local: nobody else can subscribe"
    hint_template = "share it first: p2psync mandate share"


class NotAllowed(RefusedError):
    """This device's role does not allow it."""

    code = "not-allowed"
    template = "this device may not {action}"
    hint_template = "that takes the role: {roles}"


class AccountingNotDetachable(RefusedError):
    """The accounting is what a mandate is about (B-DET-1)."""

    code = "accounting-not-detachable"
    template = "{file} is the accounting of {mandate}: it cannot be detached"
    hint_template = "remove the whole mandate instead: {command}"


class DetachBlocked(RefusedError):
    """Records of the file are pending, or posted and not cancelled (B-DET-2)."""

    code = "detach-blocked"
    template = (
        "{file} cannot be detached from {mandate}: {posted} records are posted: {posted_records}; "
        "{waiting} wait to be posted: {waiting_records}"
    )
    texts: ClassVar[dict[str, str]] = {
        "posted": "{file} cannot be detached from {mandate}: {posted} records are posted: "
        "{posted_records}",
        "waiting": "{file} cannot be detached from {mandate}: {waiting} records wait to be "
        "posted: {waiting_records}",
    }
    hint_template = (
        "delete the postings in the program, save, and let the accounting post that (or take its "
        "receipt back with p2psync unpost); then detach"
    )

    def __init__(self, **params: object) -> None:
        if not params.get("waiting"):
            self.template = self.texts["posted"]
        elif not params.get("posted"):
            self.template = self.texts["waiting"]
        super().__init__(**params)


class FileDetachedAlready(RefusedError):
    """What the command would do takes an attached file."""

    code = "file-detached"
    template = "{file} is detached from {mandate}"
    hint_template = "attach it again first: {command}"


class NoDetachedFile(UsageError):
    """No detached file of the mandate answers to that name."""

    code = "no-detached-file"
    template = "{mandate} has no detached file {file!r}"
    hint_template = "see p2psync mandate show"


class DetachedSeveral(UsageError):
    """Several detached files of the mandate answer to that name."""

    code = "detached-several"
    template = "{mandate} has several detached files called {file!r}"
    hint_template = "use the beginning of an id: {ids}"


class RemovalBlocked(RefusedError):
    """Postings of a file that is on another device must be cancelled first (B-REM-4)."""

    code = "removal-blocked"
    template = (
        "{mandate} cannot be removed: {elsewhere} is on the machine of {who}, and {count} files "
        "have records that wait to be posted (+ and -) or are posted (=): {files}"
    )
    hint_template = (
        "delete these postings in the program, save, and let the accounting post that or take its "
        "receipt back with p2psync unpost; then remove the mandate"
    )


class RemovalBlockedByDrive(RemovalBlocked):
    """Postings of a file that is on a network drive must be cancelled first (B-REM-4)."""

    code = "removal-blocked-by-drive"
    template = (
        "{mandate} cannot be removed: {elsewhere} is on a network drive, and {count} files have "
        "records that wait to be posted (+ and -) or are posted (=): {files}"
    )


class MandateIsClosed(RefusedError):
    """The mandate was closed for everyone (B-REM-5)."""

    code = "mandate-closed"
    template = "{mandate} was closed by {who} on {when}: nothing can be changed in it"
    hint_template = (
        "p2psync mandate close --undo reopens it, p2psync mandate remove takes it off the list"
    )


class MandateNotClosed(RefusedError):
    """There is nothing to reopen."""

    code = "mandate-not-closed"
    template = "{mandate} is not closed"
    hint_template = "there is nothing to undo"


class RemovedUnknown(UsageError):
    """No mandate that was removed here answers to that name."""

    code = "removed-unknown"
    template = "no mandate {mandate!r} was removed from this device within the last 30 days"
    hint_template = "see p2psync mandate list --removed"


class UndoTooLate(RefusedError):
    """Closing and removing can be undone for 30 days (B-REM-5)."""

    code = "undo-too-late"
    template = "{mandate} was closed or removed on {when}: that cannot be undone any more"
    hint_template = "its files are where they were; make a new mandate for them"


class SubscribedAlready(RefusedError):
    """This device is a member already."""

    code = "subscribed-already"
    template = "this device already subscribes to {mandate}"
    hint_template = "there is nothing to do"


class SeatEmpty(RefusedError):
    """Nobody can post before an accounting is attached (B-POS-7)."""

    code = "seat-empty"
    template = "{mandate} has no accounting: nobody can post"
    hint_template = "attach the accounting file: p2psync attach --kind accounting"


class SeatElsewhere(RefusedError):
    """Another device holds the accounting seat (B-POS-7)."""

    code = "seat-elsewhere"
    template = "the accounting of {mandate} is with {who} ({machine}): only that device posts"
    hint_template = "post there, or have the seat handed over there: p2psync seat hand"


class SeatNotYours(RefusedError):
    """Only who has the seat, or an owner, hands it over (B-POS-7)."""

    code = "seat-not-yours"
    template = (
        "the accounting seat of {mandate} is with {who} ({machine}): only that device or an owner "
        "hands it over"
    )
    hint_template = "ask {who} to hand it over: p2psync seat hand"


class SeatUnclaimed(RefusedError):
    """There is no seat to hand over before an accounting is attached (B-POS-7)."""

    code = "seat-unclaimed"
    template = "{mandate} has no accounting: there is no seat to hand over"
    hint_template = "attach the accounting file: p2psync attach --kind accounting"


class SeatHeirMayNot(RefusedError):
    """Whoever gets the seat must be allowed to post (B-POS-7)."""

    code = "seat-heir-may-not"
    template = "{heir} may not post in {mandate}: its role is {role}"
    hint_template = "only a device with the role owner or accounting can have the seat"


class SeatHeirLeft(RefusedError):
    """Who removed the mandate from its list cannot post in it (B-POS-7)."""

    code = "seat-heir-left"
    template = "{heir} removed {mandate} from their machine: it cannot have the seat there"
    hint_template = "let them subscribe again first, or hand the seat to another device"


class DeviceUnknown(UsageError):
    """No member is called so."""

    code = "device-unknown"
    template = "no member of {mandate} is called {device}"
    hint_template = "p2psync member list shows the members and their devices"


class DeviceNotJunior(RefusedError):
    """Only who came in before a device, with a role that could invite it, removes it (B-ID-3)."""

    code = "device-not-junior"
    template = (
        "this device cannot remove {who} ({role}) from {mandate}, nor let it in again: only one "
        "that was let in before it may, with the role owner, or accounting for any but owners"
    )
    hint_template = "these may: {may}"


class DeviceIsThis(RefusedError):
    """A device does not remove itself like another one's."""

    code = "device-is-this"
    template = "that is this device"
    hint_template = "to take {mandate} off its list: p2psync mandate remove"


class DeviceNotRemoved(RefusedError):
    """There is nothing to undo."""

    code = "device-not-removed"
    template = "{who} was not removed from {mandate}"
    hint_template = "p2psync member list shows who was"


class RemovedByOthers(RefusedError):
    """This device was removed from the mandate by another one (B-ID-3)."""

    code = "removed-by-others"
    template = (
        "{who} removed this device from {mandate} on {when}: what is saved here stays here, and "
        "does not count for the others"
    )
    hint_template = "ask {who}, or a senior member, to let it in again: p2psync member readmit"


class DeviceAmbiguous(UsageError):
    """Several members answer to a name."""

    code = "device-ambiguous"
    template = "several members of {mandate} answer to {device}: {devices}"
    hint_template = "name one by the beginning of its id"


class DefinitionSyntax(UsageError):
    """The definition of a delimited text is no TOML."""

    code = "definition-syntax"
    template = "{file} is not valid TOML: {cause}"
    hint_template = "mend that line; docs/formats.md has an example"


class DefinitionInvalid(UsageError):
    """A key of the definition of a delimited text is wrong."""

    code = "definition-invalid"
    template = "{file}, line {line}, {key}: there is no such key"
    hint_template = "see the list of keys in docs/formats.md"

    def __init__(self, template: str | None = None, **params: object) -> None:
        self.template = template or type(self).template
        super().__init__(**params)


class DefinitionTooLong(UsageError):
    """The definition of a delimited text is too long to travel with the file."""

    code = "definition-too-long"
    template = "{file} takes {size_bytes} bytes in its short form, at most {limit_bytes}"
    hint_template = "shorten the names of columns, or leave out those that are not needed"


class OutputFormatUnknown(UsageError):
    """Records are not written in such a format."""

    code = "output-format-unknown"
    template = "{format} is no format for posted records"
    hint_template = "choose one of: {formats}"


class OutputNeeded(UsageError):
    """A format means nothing without a file to write."""

    code = "output-needed"
    template = "a format is given, but no file to write"
    hint_template = "name the file: -o OUT"


class CurrencyInvalid(UsageError):
    """The currency is none that beancount takes."""

    code = "currency-invalid"
    template = "{currency} is no currency"
    hint_template = "write its code in capitals, like CHF"


class OutputExists(RefusedError):
    """The output file is there already."""

    code = "output-exists"
    template = "{path} exists already and is not overwritten"
    hint_template = (
        "choose another name; after a post that was broken off (p2psync receipts has no receipt of "
        "it), remove the file and post again"
    )


class FileHeldBack(RefusedError):
    """A save that guts a file waits for a person's word (B-HIS-3)."""

    code = "file-held-back"
    template = "a save of {file} in {mandate} is held back: it lost most of its content"
    hint_template = "take it with p2psync confirm, or undo it with p2psync restore"


class LinkNotBroken(RefusedError):
    """The file is where it is to be: another one is a copy of it (B-MIG-1)."""

    code = "link-not-broken"
    template = "the link to {file} is not broken: it is at {path}"
    hint_template = "to have another place or name for it, see p2psync migrate --help"


class LinkElsewhere(RefusedError):
    """The file is attached on another device."""

    code = "link-elsewhere"
    template = "{file} is attached on the machine of {who}, in {folder}: its link is restored there"
    hint_template = "to take it over to this machine, see p2psync migrate --help"


class LinkWithoutCandidate(UnavailableError):
    """Nothing that was found may be the missing file."""

    code = "link-without-candidate"
    template = "nothing near {path} looks like {file}"
    hint_template = (
        "say where it is: p2psync relink MANDATE FILE PATH; if it is on a drive, connect that; if "
        "it is gone, copy it from the mandate folder {folder}"
    )


class LinkSeveral(RefusedError):
    """No candidate agrees on two signals, or several do (B-MIG-1)."""

    code = "link-several"
    template = "it is not sure which file {file} is now; it may be: {candidates}"
    hint_template = "say which: p2psync relink MANDATE FILE CANDIDATE"


class CandidateUnknown(UsageError):
    """No file that was found has that name."""

    code = "candidate-unknown"
    template = "no file that may be {file} is called {candidate!r}"
    hint_template = "write its path, or one of: {candidates}"


class LinkOtherFile(RefusedError):
    """The candidate has nothing in common with the missing file."""

    code = "link-other-file"
    template = "{path} has nothing in common with {file} but perhaps the name"
    hint_template = "to put it in its place all the same, see p2psync replace --help"


class LinkGutted(RefusedError):
    """The candidate lost most of the content (B-HIS-3)."""

    code = "link-gutted"
    template = "{path} lost most of what {file} held"
    hint_template = "to have it count all the same, see p2psync replace --help"


class PlaceSame(RefusedError):
    """The file is there already."""

    code = "place-same"
    template = "{file} is attached from {path} already"
    hint_template = "nothing is to be done; for another place or name, give the path of that file"


class PlaceOtherFormat(RefusedError):
    """The two files are not of one format: their records cannot be compared."""

    code = "place-other-format"
    template = "{path} is of the format {found}, but {file} is {format}"
    hint_template = "detach {file} and attach the other one: p2psync detach, p2psync attach"


class PlaceUnreadable(RefusedError):
    """Most of the new file cannot be read as what the old one is."""

    code = "place-unreadable"
    template = "{path} is no file like {file}: {lines} of its lines cannot be read"
    hint_template = "save it with the program that writes {file}, then try again"


class PlaceOtherPeriod(RefusedError):
    """Another year of an accounting is not the same file."""

    code = "place-other-period"
    template = "{path} is for {found}, but {file} for {period}"
    hint_template = "a new year is attached beside the old one: p2psync attach --follows"


class PlaceNeedsSeat(RefusedError):
    """The accounting is where the seat is (B-POS-7)."""

    code = "place-needs-seat"
    template = "{file} is the accounting of {mandate}, whose seat {who} has"
    hint_template = "have the seat handed to this device first: p2psync seat hand"


class MigrateBlocked(RefusedError):
    """Records that are pending or posted would be lost (B-MIG-2)."""

    code = "migrate-blocked"
    template = (
        "{file} cannot migrate to {path}: of its records, {posted} that are posted are not in it: "
        "{posted_records}; nor {pending} that wait to be posted: {pending_records}"
    )
    texts: ClassVar[dict[str, str]] = {
        "posted": "{file} cannot migrate to {path}: of its records, {posted} that are posted are "
        "not in it: {posted_records}",
        "pending": "{file} cannot migrate to {path}: of its records, {pending} that wait to be "
        "posted are not in it: {pending_records}",
    }
    hint_template = (
        "cancel their postings first, or say --cancel-pending: what waits is then dropped, what is "
        "posted waits to be taken back"
    )

    def __init__(self, **params: object) -> None:
        if not params.get("pending"):
            self.template = self.texts["posted"]
        elif not params.get("posted"):
            self.template = self.texts["pending"]
        super().__init__(**params)


class MigrateGutted(RefusedError):
    """The new file holds next to nothing of a file that is synchronised whole."""

    code = "migrate-gutted"
    template = "{path} holds far less than {file}"
    hint_template = "to have it count all the same, see p2psync replace --help"


class FileAstray(FileHeldBack):
    """Another attached file stands where this one was: it is no save (B-MIG-1)."""

    code = "file-astray"
    template = "at {path} stands another attached file: it is not taken up as {file}"
    hint_template = (
        "give the files their names back, or restore the link with p2psync relink, or, if this is "
        "{file} now, p2psync confirm"
    )


class VersionElsewhere(UnavailableError):
    """The content of an old version is not on this device (B-HIS-1)."""

    code = "version-elsewhere"
    template = "the content of version {version} of {file} is not on this device; ask {who}"
    hint_template = (
        "write it there with p2psync restore MANDATE FILE VERSION -o OUT and save that over the "
        "file"
    )


class VersionDropped(UnavailableError):
    """The content of an old version was let go of here, by the policy of retention."""

    code = "version-dropped"
    template = "the content of version {version} of {file} is no longer kept here; ask {who}"
    hint_template = (
        "who still has it writes it with p2psync restore MANDATE FILE VERSION -o OUT; see p2psync "
        "retention show"
    )


class FileNotThen(RefusedError):
    """The file had no content at that time."""

    code = "file-not-then"
    template = "{file} was not there at {time}"
    hint_template = "see p2psync history"


class ArrivalUnknown(RefusedError):
    """When entries came to this device was not noted yet at that time."""

    code = "arrival-unknown"
    template = "what this device knew at {time} is not known: that is noted since {since}"
    hint_template = "leave --known out: then the clocks of those who wrote count"


class RecordFilterInvalid(UsageError):
    """More than one way to choose records, or a line that no file has."""

    code = "record-filter-invalid"
    template = "records are chosen by a text, a voucher or a line: by one of them"
    hint_template = "give one of --record, --voucher and --line (from 1)"


class RetentionInvalid(UsageError):
    """No policy of retention."""

    code = "retention-invalid"
    template = "that is no policy of retention: {cause}"
    hint_template = "such as p2psync retention set MANDATE --keep 365d --then month"


class NothingHeld(RefusedError):
    """No save of the file is held back."""

    code = "nothing-held"
    template = "no save of {file} is held back"
    hint_template = "see p2psync held"


class AnswerElsewhere(RefusedError):
    """A save is held back on another device, and this one's role may not answer for it."""

    code = "answer-elsewhere"
    template = "the save of {file} is held back on {machine} ({who}), and is not yours to judge"
    hint_template = "it is confirmed or refused there, or by an owner or the accounting"


class NotInStep(UnavailableError):
    """The wait ended before everyone had everything."""

    code = "not-in-step"
    template = "{mandate} is not in step with its members: {cause}"
    hint_template = "see p2psync mandate show; wait longer with --timeout"


class FileInTheWay(RefusedError):
    """Somebody's own file has the name that a shared file is to have in the mandate folder."""

    code = "file-in-the-way"
    template = "{path} was there before and is not overwritten"
    hint_template = "move it away or give it another name; the shared file comes by itself then"


class NotAdmittedYet(UnavailableError):
    """Nothing can be attached before a member has let this device in."""

    code = "not-admitted-yet"
    template = "no member has let this device into {mandate} yet"
    hint_template = "attach the file once p2psync mandate list no longer says waiting"


class StateReloaded(UnavailableError):
    """What was under way when the disk failed was dropped."""

    code = "state-reloaded"
    template = "the disk failed meanwhile, and what was not written yet was dropped"
    hint_template = "do it again"


class NodeFault(StorageError):
    """The node made a mistake of its own; it goes on from what is durable."""

    code = "node-fault"
    template = "p2psync made a mistake of its own ({cause}) and reads everything anew"
    hint_template = "please report this with the node's log"


class NodeEnding(UnavailableError):
    """The node ends; what was not durable yet is dropped."""

    code = "node-ending"
    template = "the node is ending"
    hint_template = "start it again with: p2psync node start"


# -- audit files (docs/spec/audit.md) ----------------------------------------------------------


class AuditFileError(BadInputError):
    """Bytes that are no audit file, or break a rule of its format."""

    code = "audit-file"
    template = "this is not a sound audit file: {cause}"
    hint_template = "get the .p2psync-audit file again from who exported it"


class AuditNothing(UnavailableError):
    """A mandate was to be exported of which nothing has come yet."""

    code = "audit-nothing"
    template = "nothing of {mandate} has come to this device yet"
    hint_template = "export it once p2psync mandate show lists its files"


class NotOverwritten(RefusedError):
    """An audit file, a report or a bundle is not written over another file."""

    code = "not-overwritten"
    template = "{path} is there already and is not overwritten"
    hint_template = "choose another name, or remove it if it is no longer needed"


class BundleInvalid(BadInputError):
    """Bytes that are no bundle, or not as their writer sealed them; nothing of it was taken."""

    code = "bundle-invalid"
    template = "this is not a sound bundle: {cause}"
    hint_template = "nothing of it was taken; copy the file again, or have it written anew"


class BundleForeign(RefusedError):
    """A bundle that no key of this device opens."""

    code = "bundle-foreign"
    template = "{path} opens with no key of this device's mandates"
    hint_template = "it is of a mandate that is not here; to join it: p2psync subscribe TICKET"


class BundleNothing(UnavailableError):
    """A bundle was to be written in which there would be nothing."""

    code = "bundle-nothing"
    template = "there is nothing in {mandate} that is not known to be there already"
    hint_template = "to write all of it all the same, leave out --for and --since"


class BundleFromRemoved(RefusedError):
    """A bundle whose writer was removed from the mandate."""

    code = "bundle-from-removed"
    template = "{path} was written on {machine}, which was removed from {mandate}"
    hint_template = "have another member write a bundle"


class BundleFromStranger(RefusedError):
    """A bundle whose writer is no member here, and does not ask to be one."""

    code = "bundle-from-stranger"
    template = "{path} was written on a device that {mandate} does not know here"
    hint_template = "take a bundle of a member that admitted it first"


class BundleBroken(BadInputError):
    """A bundle that is as its writer sealed it, and breaks a rule that every member keeps."""

    code = "bundle-broken"
    template = "{path} breaks a rule: {cause}"
    hint_template = "what was sound was taken; tell who wrote it, and have another member write one"


class BundleNotAdmitted(RefusedError):
    """A newcomer's bundle whose ticket does not hold, or that this device may not admit."""

    code = "bundle-not-admitted"
    template = "the newcomer that wrote {path} is not admitted here: {cause}"
    hint_template = "give it a new ticket, or take the bundle to a member who may admit"


class AuditNotVerified(BadInputError):
    """A report was asked for of a file that does not verify."""

    code = "audit-not-verified"
    template = "{path} does not verify: {cause}"
    hint_template = "see what is wrong with p2psync audit verify; no report is made of it"


class AuditMandateOther(RefusedError):
    """A report was asked for of another mandate's file."""

    code = "audit-mandate-other"
    template = "{path} is not what was asked for: {cause}"
    hint_template = "see p2psync audit verify"


class HeadsInvalid(BadInputError):
    """What was given as known heads is neither an audit file nor what verify or export print."""

    code = "heads-invalid"
    template = "{path} holds no heads: {cause}"
    hint_template = "give an audit file, or what p2psync audit export or verify print with --json"


class TimeStampFailed(UnavailableError):
    """A time-stamping authority did not answer with a time stamp."""

    code = "time-stamp-failed"
    template = "{authority} gave no time stamp: {cause}"
    hint_template = (
        "the file is as it was; try again, or ask another authority: p2psync audit stamp"
    )


class TimeStampWrong(BadInputError):
    """A time-stamping authority answered with something else than what it was asked for."""

    code = "time-stamp-wrong"
    template = "what {authority} answered does not stamp this file: {cause}"
    hint_template = "the file is as it was; ask another authority"


class CertificatesInvalid(BadInputError):
    """A file of certificates holds none."""

    code = "certificates-invalid"
    template = "{path} holds no certificate: {cause}"
    hint_template = "give the authority's root certificate as PEM or DER"


class StampsFull(RefusedError):
    """An audit file has as many time stamps as it can."""

    code = "stamps-full"
    template = "{path} has {limit} time stamps already"
    hint_template = "export the mandate again"


class PdfUnavailable(UnavailableError):
    """The library that writes PDF is not installed."""

    code = "pdf-unavailable"
    template = "PDF needs reportlab, which is not installed"
    hint_template = "install p2psync[pdf], or write HTML (-o report.html) and print that"


class ReportKindUnknown(UsageError):
    """A report can be HTML or PDF."""

    code = "report-kind-unknown"
    template = "{path} is neither HTML nor PDF"
    hint_template = "give it a name that ends in .html or .pdf"


# -- relays ------------------------------------------------------------------------------------


class RelayConfigUnreadable(BadInputError):
    """The relay's configuration file cannot be read."""

    code = "relay-config-unreadable"
    template = "cannot read {path}: {cause}"
    hint_template = "name a TOML file that this user may read with --config, or leave it out"


class RelayConfigInvalid(BadInputError):
    """The relay's configuration file says something that makes no sense."""

    code = "relay-config-invalid"
    template = "{path}: {key}: {cause}"
    hint_template = "docs/relay.md lists all settings"


class RelayKeyMissing(StorageError):
    """A relay that ran here before has lost its key, and with it the addresses of its users."""

    code = "relay-key-missing"
    template = "the relay's key {path} is missing, and {token} shows that one ran here before"
    hint_template = (
        "restore the key from the back-up; for a new relay, to which all users need a new "
        "address, take {token} away, too"
    )


class RelayTokenUnreadable(StorageError):
    """The file with the relay's own token cannot be read, or holds none."""

    code = "relay-token-unreadable"
    template = "cannot read the relay's token {path}: {cause}"
    hint_template = (
        "restore it from the back-up; or take it away for a new token, and give users a new address"
    )


class RelayAddressInvalid(BadInputError):
    """What was given is no address of a relay; its token is not shown."""

    code = "relay-address-invalid"
    template = "this is no address of a relay: {cause}"
    hint_template = (
        "it looks like /dns4/relay.example.ch/tcp/4001/p2p/12D3KooW…; its operator has it from "
        "p2psync relay run"
    )


class RelaysTooMany(RefusedError):
    """This node uses as many relays as it may."""

    code = "relays-too-many"
    template = "this node uses {most} relays already"
    hint_template = "take one away first: p2psync relay list"


class AddressRecordInvalid(BadInputError):
    """Bytes that are no device's signed addresses."""

    code = "address-record-invalid"
    template = "this is no record of a device's addresses: {cause}"
    hint_template = "bring p2psync up to date on both machines"


class RelaysTooManyForAll(RefusedError):
    """A mandate names as many relays as it may."""

    code = "relays-too-many-for-all"
    template = "{mandate} names {most} relays already"
    hint_template = "take one out first: p2psync relay remove RELAY --mandate MANDATE"


class RelayUnknown(UsageError):
    """No relay, or more than one, answers to that name."""

    code = "relay-unknown"
    template = "no relay, or more than one, answers to {relay}"
    hint_template = "p2psync relay list shows them"


class RelayHomeInUse(UnavailableError):
    """Another process holds the relay's home."""

    code = "relay-home-in-use"
    template = "the relay's home {home} is in use by process {pid}"
    hint_template = "end that process first, or give this relay another --home"


class RelayNotRunning(UnavailableError):
    """No relay runs in this home."""

    code = "relay-not-running"
    template = "no relay runs in {home}"
    hint_template = "start it: p2psync relay run"


class RelayUnreachable(UnavailableError):
    """A relay cannot be reached."""

    code = "relay-unreachable"
    template = "the relay {relay} cannot be reached: {cause}"
    hint_template = "check this machine's network; if that is fine, ask the relay's operator"


class RelayRefused(UnavailableError):
    """A relay refuses this device."""

    code = "relay-refused"
    template = "the relay {relay} refuses this device: {cause}"
    hint_template = "ask its operator for an address with a valid token: p2psync relay add ADDRESS"


# -- ways out through a proxy and TLS ------------------------------------------------------------


class ProxyInvalid(BadInputError):
    """What was given is no address of an HTTP proxy; its password is not shown."""

    code = "proxy-invalid"
    template = "this is no address of a proxy: {cause}"
    hint_template = "it looks like http://user@proxy.example.ch:8080"


class ProxyPasswordShown(UsageError):
    """A proxy's password stood on the command line, where every user of the machine can read it."""

    code = "proxy-password-shown"
    template = "a password on the command line can be read by everybody on this machine"
    hint_template = "leave it out; p2psync network proxy set asks for it, or reads --password-file"


class ProxySettingUnreadable(StorageError):
    """The file with the proxy of this node cannot be read or written."""

    code = "proxy-setting-unreadable"
    template = "the proxy's settings {path} cannot be used: {cause}"
    hint_template = "set the proxy again: p2psync network proxy set URL"


class ProxyUnreachable(UnavailableError):
    """The proxy does not answer, or what answers is none."""

    code = "proxy-unreachable"
    template = "the proxy {proxy} cannot be used: {cause}"
    hint_template = "check its address: p2psync network proxy show"


class ProxyPasswordRefused(UnavailableError):
    """The proxy wants another user name or password, or another way to prove them."""

    code = "proxy-password-refused"
    template = "the proxy {proxy} lets nothing through: {cause}"
    hint_template = "set the user name and the password again: p2psync network proxy set URL"


class ProxyRefusesRelay(UnavailableError):
    """The proxy calls no relay."""

    code = "proxy-refuses-relay"
    template = "the proxy {proxy} lets nothing through: {cause}"
    hint_template = "many proxies call port 443 alone: ask for a relay that listens there"


class CaUnreadable(BadInputError):
    """The file with further CAs holds none, or cannot be read."""

    code = "ca-unreadable"
    template = "the file {path} holds no CA certificates that can be read: {cause}"
    hint_template = "give a PEM file: -----BEGIN CERTIFICATE-----"


class RelayCertificateUnreadable(BadInputError):
    """The relay's certificate or its key cannot be used."""

    code = "relay-certificate-unreadable"
    template = "the certificate {certificate} and the key {key} cannot be used: {cause}"
    hint_template = "both are PEM files, and the key must be the certificate's: docs/relay.md"
