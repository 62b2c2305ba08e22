"""``p2psync audit``: a history that an auditor can check without p2psync's word for it (B-HIS-2).

Only ``export`` asks the node; the others need nothing but the file.
"""

import os
import sys
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.inputs import absolute
from p2psync.cli.options import Mandate, node
from p2psync.cli.output import local_time
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, fill, language, translate

if TYPE_CHECKING:
    from p2psync.audit.findings import Finding
    from p2psync.audit.verify import Verification, Wanted

group = new_group(help="Export a mandate's signed history, verify it, and report on it.")

AuditFile = Annotated[str, typer.Argument(metavar="FILE", help="the .p2psync-audit file")]
Pin = Annotated[
    str | None,
    typer.Option(
        "--mandate", metavar="ID", help="the mandate's id, 64 hex digits, from a trusted source"
    ),
]
Authorities = Annotated[
    str | None,
    typer.Option(
        "--ca", metavar="CERT", help="the time-stamping authority's root certificate (PEM or DER)"
    ),
]
Heads = Annotated[
    str | None,
    typer.Option(
        "--heads",
        metavar="HEADS",
        help="what must be in it: another audit file, or what export or verify print with --json",
    ),
]


@command(
    group,
    "export",
    example="p2psync audit export Acme -o acme-2025.p2psync-audit\n"
    "p2psync audit export Acme -o acme.p2psync-audit --timestamp http://tsa.example/tsr",
)
def export(
    mandate: Mandate,
    out: Annotated[
        str, typer.Option("-o", "--output", metavar="FILE", help="write the audit file here")
    ],
    without_keys: Annotated[
        bool,
        typer.Option(
            "--without-keys",
            "--sealed",
            help="leave the keys out: the file proves that nothing was changed, and nobody can "
            "read it",
        ),
    ] = False,
    contents: Annotated[
        bool,
        typer.Option(
            "--contents", help="also put in the current content of files that are kept whole"
        ),
    ] = False,
    timestamp: Annotated[
        str | None,
        typer.Option(
            "--timestamp", metavar="URL", help="have a time-stamping authority (RFC 3161) stamp it"
        ),
    ] = None,
    authorities: Authorities = None,
) -> None:
    """Write the signed history into one file. Who has the file can read the mandate."""
    if without_keys and contents:
        raise errors.UsageError(
            cause=_("--without-keys and --contents exclude each other"),
        )
    if authorities and not timestamp:
        raise errors.UsageError(cause=_("--ca belongs to --timestamp"))
    roots = _roots(authorities)
    place = absolute(out)
    body = {"output": place, "keys": not without_keys, "contents": contents}
    from p2psync.cli.progress import shown_progress

    with shown_progress(_("exporting {name}", name=os.path.basename(place)), mandate):
        said = dict(node().post("mandates", mandate, "audit", body=body))
    if timestamp:
        said["stamp"] = _stamp(place, timestamp, roots)
    output.emit(said, _show_exported)


@command(
    group,
    "verify",
    example="p2psync audit verify acme-2025.p2psync-audit --mandate 5f0c…\n"
    "p2psync audit verify acme.p2psync-audit --heads from-ben.p2psync-audit --ca tsa.pem",
)
def verify(
    file: AuditFile, pin: Pin = None, heads: Heads = None, authorities: Authorities = None
) -> int:
    """Check an audit file. Needs nothing but the file; says what it proves and what it does not."""
    found = _verified(file, _wanted(pin, heads, authorities))
    said = view(found, file)
    output.emit(said, lambda shown: _show_verified(found, shown))
    return found.exit_code


@command(
    group,
    "stamp",
    example="p2psync audit stamp acme.p2psync-audit --authority http://tsa.example --ca tsa.pem",
)
def stamp(
    file: AuditFile,
    authority: Annotated[
        str,
        typer.Option(
            "--authority", metavar="URL", help="the time-stamping authority's address (RFC 3161)"
        ),
    ],
    authorities: Authorities = None,
) -> None:
    """Add a time stamp to an audit file. The authority sees a digest, nothing of the content."""
    path = absolute(file)
    said = {"path": path, "stamp": _stamp(path, authority, _roots(authorities))}
    output.emit(said, lambda shown: _show_stamp(shown["stamp"]))


@command(
    group,
    "report",
    example="p2psync audit report acme.p2psync-audit -o acme.html --mandate 5f0c…\n"
    "p2psync audit report acme.p2psync-audit -o acme.pdf --lang fr",
)
def report(
    file: AuditFile,
    out: Annotated[
        str,
        typer.Option("-o", "--output", metavar="OUT", help="write it here: a .html or .pdf file"),
    ],
    pin: Pin = None,
    heads: Heads = None,
    authorities: Authorities = None,
    force: Annotated[
        bool, typer.Option("--force", help="overwrite a file that is there already")
    ] = False,
) -> None:
    """Write a report to print: members, files, versions, receipts, and what is proven."""
    place = Path(absolute(out))
    kind = place.suffix.lower()
    if kind not in (".html", ".htm", ".pdf"):
        raise errors.ReportKindUnknown(path=out)
    if place.exists() and not force:
        raise errors.NotOverwritten(path=place)
    wanted = _wanted(pin, heads, authorities)
    found = _verified(file, wanted, records=True)
    if not found.sound:
        raise errors.AuditNotVerified(path=file, cause=said_text(found.check.problems[0]))
    if found.requests:
        raise errors.AuditMandateOther(path=file, cause=said_text(found.requests[0]))
    from p2psync.cli.report import content, html, pdf

    made = content.build(found, Path(absolute(file)))
    data = pdf.render(made) if kind == ".pdf" else html.render(made)
    _write(place, data)
    said = {"path": str(place), "mandate": view(found, file)["mandate"]}
    output.emit(said, lambda shown: output.say(_("the report is in {path}", path=shown["path"])))


# -- what they share ------------------------------------------------------------------------------


def _roots(path: str | None) -> list[Any]:
    if path is None:
        return []
    from p2psync.audit.stamps import load_certificates

    return list(load_certificates(Path(absolute(path))))


def _wanted(pin: str | None, heads: str | None, authorities: str | None) -> "Wanted":
    from p2psync.audit.verify import Wanted, read_heads

    mandate = None
    if pin is not None:
        digits = pin.strip().lower().replace(" ", "")
        if len(digits) != 64 or not set(digits) <= set("0123456789abcdef"):
            raise errors.UsageError(
                cause=_("--mandate takes the whole id, 64 hex digits: see mandate show --json")
            )
        mandate = bytes.fromhex(digits)
    known = [] if heads is None else read_heads(Path(absolute(heads)))
    return Wanted(mandate, known, _roots(authorities))


def _verified(file: str, wanted: "Wanted", *, records: bool = False) -> "Verification":
    from p2psync.audit.verify import verify as run

    tell, end = _progress(_("checking {name}", name=os.path.basename(file)))
    try:
        return run(Path(absolute(file)), wanted, records=records, tell=tell)
    finally:
        end()


def _progress(text: str) -> tuple[Callable[[int, int], None], Callable[[], None]]:
    """Draw a line on standard error, for people at a terminal."""
    from p2psync.cli.settings import current

    if current().json or not sys.stderr.isatty():
        return (lambda done, total: None), (lambda: None)

    def tell(done: int, total: int) -> None:
        percent = 100 * done // max(total, 1)
        sys.stderr.write(f"\r{output.safe(text)} {percent:3} %")
        sys.stderr.flush()

    def end() -> None:
        sys.stderr.write("\r\x1b[K")
        sys.stderr.flush()

    return tell, end


def _stamp(path: str, authority: str, roots: list[Any]) -> dict[str, Any]:
    from p2psync.audit.stamping import stamp as run

    found = run(Path(path), authority, roots)
    return {
        "authority": found.authority,
        "at": None if found.at is None else found.at.isoformat(),
        "signer": found.signer,
        "trusted": found.trusted,
    }


def _write(place: Path, data: bytes) -> None:
    from p2psync.storage.file_state import ANYTHING
    from p2psync.storage.folder import Folder

    with Folder.open(place.parent) as folder:
        folder.replace(place.name, [data], ANYTHING)


def said_text(found: "Finding") -> str:
    """A finding's text in the reader's language."""
    return fill(translate(found.template, language()), found.params)


def view(found: "Verification", file: str) -> dict[str, Any]:
    """What verify prints with --json."""
    from p2psync.audit.verify import hlc_utc, utc

    check, manifest = found.check, found.check.manifest

    def findings(some: "list[Finding]") -> list[dict[str, Any]]:
        return [{"code": each.code, "text": said_text(each)} for each in some]

    said: dict[str, Any] = {
        "file": file,
        "verified": found.verified,
        "mandate": None if check.head is None else check.head.mandate.hex(),
        "name": None if found.state is None else found.state.name,
        "problems": findings(check.problems),
        "unlisted": check.unlisted,
        "requests": findings(found.requests),
        "notes": findings(check.notes),
        "proven": findings(found.proven),
        "unproven": findings(found.unproven),
        "entries": check.entries,
        "logs": len(check.logs),
    }
    if manifest is not None:
        said |= {
            "exported_by": manifest.device.hex(),
            "at": utc(manifest.at_ms),
            "sealed": manifest.sealed,
            "waiting": manifest.waiting,
            "contents": manifest.contents,
            "software": manifest.software,
            "first": None if check.first_hlc is None else hlc_utc(check.first_hlc),
            "last": hlc_utc(check.last_hlc),
            "heads": [
                {"log": head.log.hex(), "seq": head.seq, "entry": head.entry.hex()}
                for head in manifest.heads
            ],
            "stamps": [
                {
                    "authority": each.authority,
                    "at": None if each.at is None else each.at.isoformat(),
                    "signer": each.signer,
                    "trusted": each.trusted,
                }
                for each in found.stamps
            ],
        }
    return said


# -- for people -----------------------------------------------------------------------------------


def _show_exported(said: Mapping[str, Any]) -> None:
    output.say(
        _(
            "{entries} entries of {name} are in {path}",
            entries=said["entries"],
            name=said["name"],
            path=said["path"],
        )
    )
    output.say(_("mandate id: {id}", id=said["mandate"]))
    if said["sealed"]:
        output.say(_("nobody can read what it holds: the keys were left out"))
    else:
        output.say(_("who has this file can read the whole mandate: hand it over like the books"))
    if said["waiting"]:
        output.say(
            _(
                "{count} entries are not in it: what they depend on has not come yet",
                count=said["waiting"],
            )
        )
    for name in said["lacking"]:
        output.say(_("the content of {name} is not on this device and not in the file", name=name))
    if said.get("stamp"):
        _show_stamp(said["stamp"])


def _show_stamp(said: Mapping[str, Any]) -> None:
    output.say(
        _("stamped by {authority}: {at}", authority=said["authority"], at=local_time(said["at"]))
    )
    if said["trusted"] is None:
        output.say(_("its certificates were not checked: give the authority's with --ca"))


def _show_verified(found: "Verification", said: Mapping[str, Any]) -> None:
    output.say(_("VERIFIED") if said["verified"] else _("NOT VERIFIED"))
    for each in [*said["problems"], *said["requests"]]:
        output.say(f"  ✗ {each['text']}")
    if said["unlisted"]:
        output.say(_("  and {count} more", count=said["unlisted"]))
    output.facts(
        [
            (_("mandate"), said["name"]),
            (_("mandate id"), said["mandate"]),
            (_("exported"), local_time(said.get("at"))),
            (_("log entries"), said["entries"]),
            (_("logs"), said["logs"]),
            (_("from"), local_time(said.get("first"))),
            (_("to"), local_time(said.get("last"))),
            (_("made by"), said.get("software")),
        ]
    )
    for each in said["notes"]:
        output.say(_("note: {text}", text=each["text"]))
    if not found.sound:
        output.say(_("nothing is proven by a file that does not hold"))
        return
    for heading, sign, some in (
        (_("It proves:"), "✓", said["proven"]),
        (_("It does not prove:"), "–", said["unproven"]),
    ):
        output.say("")
        output.say(heading)
        for each in some:
            output.say(f"  {sign} {each['text']}")
