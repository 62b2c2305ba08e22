"""``p2psync inspect``: what p2psync sees in a file, and how two files differ, without a node."""

from typing import TYPE_CHECKING, Annotated, Any

import typer

from p2psync import errors
from p2psync.cli import output
from p2psync.cli.definitions import format_text
from p2psync.cli.inputs import absolute
from p2psync.cli.source import Source, shown_reading
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _
from p2psync.limits import (
    INSPECTED_RECORDS_LISTED,
    INSPECTED_SEGMENTS_MAX,
    PENDING_LISTED_MAX,
)

if TYPE_CHECKING:
    from p2psync.formats.base import Format

group = new_group()
_READ_TIMES = 4
"""How often each of two large files is read to be compared, nearly."""


@command(
    group,
    "inspect",
    example="p2psync inspect sales.ecf\np2psync inspect sales_old.ecf sales.ecf --diff",
)
def inspect(
    file: Annotated[str, typer.Argument(metavar="FILE", help="the file to look at")],
    new: Annotated[
        str | None,
        typer.Argument(metavar="[NEW]", help="a later version of it, to be compared with it"),
    ] = None,
    diff: Annotated[
        bool, typer.Option("--diff", help="show the lines that differ, - old and + new")
    ] = False,
    records: Annotated[
        int,
        typer.Option(
            "--records",
            metavar="N",
            min=0,
            max=PENDING_LISTED_MAX,
            help="list at most N records, changes and problems; the numbers are always complete",
        ),
    ] = INSPECTED_RECORDS_LISTED,
    format_name: Annotated[
        str | None,
        typer.Option(
            "--format",
            metavar="FORMAT",
            help="read it as this: a name of p2psync format list, or a definition in FILE.toml",
        ),
    ] = None,
) -> None:
    """Show what p2psync sees in a file, or how two files differ. Needs no node, changes nothing."""
    from p2psync.cli.inspecting import show_comparison, show_survey

    if new is None:
        if diff:
            raise errors.UsageError(cause=_("--diff takes two files"))
        with Source(absolute(file)) as source, shown_reading(source):
            said = _survey(source, _forced(format_name), records)
        output.emit(said, show_survey)
        return
    with Source(absolute(file)) as old, Source(absolute(new)) as later:
        compared = _compared(old, later, _forced(format_name), records, diff=diff)
    output.emit(compared, lambda shown: show_comparison(shown, diff=diff))


def _forced(name: str | None) -> "Format | None":
    """Return the format of that name or definition; raises ``FormatUnknown`` and the like."""
    from p2psync.formats.choice import chosen

    text = format_text(name)
    return None if text is None else chosen(text)


def _survey(source: Source, forced: "Format | None", most: int) -> dict[str, Any]:
    from p2psync.cli.inspecting import survey_view
    from p2psync.formats.inspection.survey import Recognised, recognise, survey

    found = recognise(source.name, source.head)
    if forced is not None:
        found = Recognised(forced, ("told",))
    return survey_view(source.path, survey(found, source.size_bytes, source.blocks, most), most)


def _compared(
    old: Source, new: Source, forced: "Format | None", most: int, *, diff: bool
) -> dict[str, Any]:
    from p2psync.cli.inspecting import comparison_view, lines_view, title_of
    from p2psync.formats.inspection.compare import TooManySegments, compare
    from p2psync.formats.inspection.survey import recognise, segments_of

    ends = [recognise(each.name, each.head).form for each in (old, new)]
    form = forced or ends[0]
    if forced is None and ends[0] is not ends[1]:
        raise errors.FormatsDiffer(
            old=old.path, new=new.path, old_format=ends[0].name, new_format=ends[1].name
        )
    head = {
        "old": old.path,
        "new": new.path,
        "format": form.name,
        "title": title_of(form),
        "old_size_bytes": old.size_bytes,
        "new_size_bytes": new.size_bytes,
    }
    with shown_reading(old, new, times=_READ_TIMES):
        sides = [segments_of(form, each.size_bytes, each.blocks) for each in (old, new)]
        counted = (segment.record_count for side in sides for segment in side())
        if form.merge == "whole" and not any(counted):
            return head | lines_view(form.name, old, new, most, diff=diff)
        try:
            found = compare(*sides)
        except TooManySegments:
            raise errors.InspectedTooLarge(path=new.path, limit=INSPECTED_SEGMENTS_MAX) from None
        return head | comparison_view(found, form.name, most, diff=diff)
