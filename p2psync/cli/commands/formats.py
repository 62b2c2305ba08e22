"""``p2psync format``: which files are read record by record, and definitions of further ones."""

from collections.abc import Mapping
from typing import Annotated, Any

import typer

from p2psync.cli import output
from p2psync.cli.definitions import read_definition
from p2psync.cli.inputs import absolute
from p2psync.cli.output import Column
from p2psync.cli.source import Source, shown_reading
from p2psync.cli.tree import command, new_group
from p2psync.i18n import _, ngettext

group = new_group(help="Formats of exchange files.")
_SAMPLE_RECORDS = 10


@command(group, "list", example="p2psync format list")
def list_formats() -> None:
    """List the formats that p2psync reads. Shows names, suffixes and how versions are merged."""
    from p2psync.formats import registry

    formats = [
        {
            "name": form.name,
            "title": form.title,
            "suffixes": list(form.suffixes),
            "merge": form.merge,
        }
        for form in registry.all_formats()
    ]
    output.emit({"formats": formats}, _show_formats)


@command(
    group,
    "check",
    example="p2psync format check kassenbuch.toml\n"
    "p2psync format check kassenbuch.toml kassenbuch_2025-01.txt",
)
def check(
    definition: Annotated[
        str, typer.Argument(metavar="FILE.toml", help="the definition of a delimited text")
    ],
    sample: Annotated[
        str | None, typer.Argument(metavar="[SAMPLE]", help="a file that it is to read")
    ] = None,
    records: Annotated[
        int,
        typer.Option("--records", metavar="N", min=0, max=1000, help="show the first N records"),
    ] = _SAMPLE_RECORDS,
) -> None:
    """Check a definition. With a file, show what is read in it. Needs no node."""
    from p2psync.cli.inspecting import title_of
    from p2psync.formats.choice import chosen
    from p2psync.formats.delimited import DelimitedFormat

    form = chosen(read_definition(definition))
    assert isinstance(form, DelimitedFormat)
    said: dict[str, Any] = {
        "name": form.definition.name,
        "title": title_of(form),
        "format": form.name,
        "columns": [name for name in form.definition.columns if name],
        "sample": None,
    }
    if sample is not None:
        from p2psync.cli.inspecting import survey_view
        from p2psync.formats.inspection.survey import Recognised, survey

        with Source(absolute(sample)) as source, shown_reading(source):
            told = Recognised(form, ("told",))
            found = survey(told, source.size_bytes, source.blocks, records)
            said["sample"] = survey_view(source.path, found, records)
            said["header_records"] = form.header_records(source.head)
    output.emit(said, _show_checked)


def _show_formats(said: Mapping[str, Any]) -> None:
    merges = {"records": _("record by record"), "whole": _("whole")}
    output.table(
        (Column(_("name")), Column(_("format")), Column(_("suffixes")), Column(_("merged"))),
        (
            (each["name"], _(each["title"]), " ".join(each["suffixes"]), merges[each["merge"]])
            for each in said["formats"]
        ),
    )


def _show_checked(said: Mapping[str, Any]) -> None:
    columns = ", ".join(said["columns"])
    output.say(
        _("{name}: the definition is right; columns: {columns}", name=said["name"], columns=columns)
    )
    if said["sample"] is None:
        return
    from p2psync.cli.inspecting import show_survey

    if said["header_records"]:
        output.say(
            ngettext(
                "a header line is read as a record: line {lines}",
                "header lines are read as records: lines {lines}",
                len(said["header_records"]),
                lines=", ".join(map(str, said["header_records"])),
            )
        )
    output.say("")
    show_survey(said["sample"])
