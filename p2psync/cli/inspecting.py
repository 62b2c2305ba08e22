"""What ``p2psync inspect`` says: as JSON for programs, as tables and a diff for people."""

import sys
from collections.abc import Iterable, Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

from p2psync.cli import output
from p2psync.cli.output import Column
from p2psync.cli.source import Source
from p2psync.core.records import Problem, Record
from p2psync.formats.base import Format
from p2psync.formats.inspection.compare import Change, Comparison, Hunk
from p2psync.formats.inspection.plain import compare_lines
from p2psync.formats.inspection.records import Sums
from p2psync.formats.inspection.survey import WHY_WHOLE_TEXTS, Survey, listed
from p2psync.formats.inspection.text import shown_lines
from p2psync.i18n import _, ngettext
from p2psync.limits import INSPECTED_AT_ONCE_BYTES_MAX

Json = dict[str, Any]

_MONTHS_SHOWN = 24
"""Longer files are shown by year."""
_AMOUNTS = ("debit", "credit", "plus", "minus")


# -- one file: JSON --------------------------------------------------------------------------------


def survey_view(path: str, found: Survey, most: int) -> Json:
    """What is seen in one file."""
    document, counts, text = found.document, found.counts, found.text
    form = found.recognised.form
    first, last = document.period or (counts.first, counts.last)
    return {
        "file": path,
        "size_bytes": text.size_bytes,
        "format": form.name,
        "title": title_of(form),
        "recognised_by": list(found.recognised.evidence),
        "name_says": found.recognised.by_name,
        "merge": "records" if found.why_whole is None else "whole",
        "why_whole": None
        if found.why_whole is None
        else {"code": found.why_whole, "text": _(WHY_WHOLE_TEXTS[found.why_whole])},
        "encoding": text.encoding,
        "line_ends": dict(text.line_ends),
        "segments": counts.segments,
        "records": counts.records,
        "groups": counts.groups,
        "bare": counts.bare,
        "counts": dict(document.counts),
        "embedded_id": document.embedded_id,
        "first": None if first is None else first.isoformat(),
        "last": None if last is None else last.isoformat(),
        "totals": [sums_view(sums, currency) for currency, sums in counts.totals().items()],
        "years": list(_periods(counts.years())),
        "months": list(_periods(counts.by_month())),
        "problems": [problem_view(each) for each in listed(found.problems, most)],
        "problem_count": found.problem_count,
        "sample": [record_view(line, record) for line, record in found.sample],
    }


def _periods(periods: Mapping[str, Mapping[str, Sums]]) -> Iterator[Json]:
    for period, by_currency in periods.items():
        for currency, sums in by_currency.items():
            yield {"period": period or None, **sums_view(sums, currency)}


def sums_view(sums: Sums, currency: str | None = None) -> Json:
    """Sums as plain digits."""
    said: Json = {} if currency is None else {"currency": currency or None}
    amounts = {name: format(getattr(sums, name), "f") for name in ("amount", *_AMOUNTS)}
    return {**said, "records": sums.records, **amounts}


def problem_view(problem: Problem) -> Json:
    """One problem, in the reader's language."""
    text = _(problem.template, **problem.params)
    return {"code": problem.code, "line": problem.line, "text": text}


def record_view(line: int, record: Record) -> Json:
    """One record with all its fields; the text as the file has it."""
    return {
        "line": line,
        "date": None if record.date is None else record.date.isoformat(),
        "amount": None if record.amount is None else format(record.amount, "f"),
        "currency": record.fields.get("currency") or None,
        "text": record.text,
        "fields": {name: value for name, value in record.fields.items() if value},
    }


def title_of(form: Format) -> str:
    """What a format is called, in the reader's language."""
    template = getattr(form, "title_template", form.title)
    return _(template, **getattr(form, "title_params", {}))


def _format_words(said: Mapping[str, Any]) -> str:
    """A format's title, and its name unless that is a whole definition."""
    name = said["format"].partition(":{")[0]
    return f"{said['title']} ({name})"


# -- one file: for people --------------------------------------------------------------------------


def show_survey(said: Mapping[str, Any]) -> None:
    """Print what is seen in one file."""
    output.facts(
        (
            (_("file"), said["file"]),
            (_("format"), _format_words(said)),
            (_("recognised by"), _evidence(said)),
            (_("size"), ngettext("{count} byte", "{count} bytes", said["size_bytes"])),
            (_("encoding"), _text(said)),
            (_("embedded id"), said["embedded_id"]),
            (_("records"), said["records"] or None),
            (_("entries of several lines"), said["groups"] or None),
            (_("without a record"), _bare(said)),
            (_("counts"), ", ".join(f"{name} {n}" for name, n in said["counts"].items())),
            (_("dates"), _span(said["first"], said["last"])),
            (_("merged"), _merge(said)),
            (_("problems"), said["problem_count"] or _("none")),
        )
    )
    _show_periods(said)
    _show_problems(said)
    _show_sample(said)


def _evidence(said: Mapping[str, Any]) -> str:
    words = {
        "content": _("its content"),
        "name": _("its name"),
        "told": _("what you said"),
    }
    found = _(", ").join(words[each] for each in said["recognised_by"])
    if said["name_says"]:
        return _("{found}; its name alone says {other}", found=found, other=said["name_says"])
    return found or _("nothing: no format that p2psync knows")


def _text(said: Mapping[str, Any]) -> str:
    encodings = {
        "8-bit": _("8-bit text, not UTF-8"),
        "binary": _("no text: it holds NUL bytes"),
        "utf-8-bom": _("UTF-8 with a byte-order mark"),
        "ascii": "ASCII",
        "utf-8": "UTF-8",
        "utf-16": "UTF-16",
        "windows-1252": "Windows-1252",
        "cp437": "CP437",
    }
    names = {"CRLF": "CR LF", "CRCRLF": "CR CR LF"}
    ends = [f"{names.get(end, end)} {count}" for end, count in said["line_ends"].items()]
    encoding = encodings.get(said["encoding"], said["encoding"])
    return _(", ").join([encoding, *(ends if said["encoding"] != "binary" else ())])


def _bare(said: Mapping[str, Any]) -> str | None:
    if not said["records"] or not said["bare"]:
        return None
    return ngettext("{count} line or part", "{count} lines or parts", said["bare"])


def _span(first: str | None, last: str | None) -> str:
    if first is None or last is None:
        return ""
    return first if first == last else f"{first}..{last}"


def _merge(said: Mapping[str, Any]) -> str:
    if said["why_whole"] is None:
        return _("record by record")
    return _("as a whole: {why}", why=said["why_whole"]["text"])


def _show_periods(said: Mapping[str, Any]) -> None:
    if not said["records"]:
        return
    periods = said["months"] if len(said["months"]) <= _MONTHS_SHOWN else said["years"]
    totals = [{"period": _("in all"), **each} for each in said["totals"]]
    rows = [*periods, *totals] if len(periods) > len(totals) else periods
    output.say("")
    _show_sums(
        (_("period"), _("currency")),
        [((row["period"] or _("no date"), row["currency"]), row) for row in rows],
    )


def _show_sums(
    headings: Sequence[str], rows: Sequence[tuple[Sequence[object], Mapping[str, Any]]]
) -> None:
    """Print sums; columns that hold nothing are left out."""
    texts = {
        "debit": _("debit"),
        "credit": _("credit"),
        "plus": _("amounts +"),
        "minus": _("amounts −"),
    }
    shown = [name for name in _AMOUNTS if any(row[name].strip("-0.") for _, row in rows)]
    kept = [index for index in range(len(headings)) if any(cells[index] for cells, _ in rows)]
    output.table(
        (
            *(Column(headings[index]) for index in kept),
            Column(_("records"), right=True),
            *(Column(texts[name], right=True) for name in shown),
        ),
        (
            (*(cells[index] for index in kept), row["records"], *(row[name] for name in shown))
            for cells, row in rows
        ),
    )


def _show_problems(said: Mapping[str, Any]) -> None:
    if not said["problems"]:
        return
    output.say("")
    output.table(
        (Column(_("line"), right=True), Column(_("problem"))),
        ((each["line"] or None, each["text"]) for each in said["problems"]),
    )
    _show_rest(said["problem_count"] - len(said["problems"]))


def _show_rest(count: int) -> None:
    if count > 0:
        more = ngettext("{count} more is not listed", "{count} more are not listed", count)
        output.say(_("{more}: list more with --records", more=more))


def _show_sample(said: Mapping[str, Any]) -> None:
    sample = said["sample"]
    if not sample:
        return
    output.say("")
    names = ["line", "date", "amount", "currency", "text"]
    if not any(each["currency"] for each in sample):
        names.remove("currency")
    headings = {
        "line": Column(_("line"), right=True),
        "date": Column(_("date")),
        "amount": Column(_("amount"), right=True),
        "currency": Column(_("currency")),
        "text": Column(_("text")),
    }
    output.table([headings[name] for name in names], ([e[n] for n in names] for e in sample))
    _show_rest(said["records"] - len(sample))


# -- two files: JSON -------------------------------------------------------------------------------


def comparison_view(found: Comparison, format_name: str, most: int, *, diff: bool) -> Json:
    """How two files with records differ."""
    shown = [change_view(each) for each in islice(found.changes, most)]
    total = found.added + found.deleted + found.changed
    said: Json = {
        "same": not (total or found.renumbered or found.moved or found.hunks or any(found.bare)),
        "same_records": found.same_records,
        "unchanged": found.unchanged,
        "renumbered": found.renumbered,
        "moved": found.moved,
        "added": found.added,
        "deleted": found.deleted,
        "changed": found.changed,
        "bare": {"added": found.bare[0], "deleted": found.bare[1]},
        "paired": found.paired,
        "sums": [
            {
                "currency": currency or None,
                **{what: sums_view(by_kind.get(what, Sums())) for what in _KINDS},
                "difference": sums_view(_difference(by_kind)),
            }
            for currency, by_kind in sorted(found.sums.items())
        ],
        "changes": shown,
        "left_out": total - len(shown),
    }
    if diff:
        said["diff"] = list(_diff_lines(found.hunks, format_name))
    return said


_KINDS = ("added", "deleted", "before", "after")


def _difference(by_kind: Mapping[str, Sums]) -> Sums:
    """What came less what went: records and sums."""
    total = Sums()
    for what, sums in by_kind.items():
        total.include(sums if what in ("added", "after") else sums.opposite())
    return total


def change_view(change: Change) -> Json:
    """One record that came, went or changed."""
    return {
        "change": change.kind,
        "old": None if change.old is None else record_view(*change.old),
        "new": None if change.new is None else record_view(*change.new),
        "differences": [
            {"field": name, "old": old, "new": new} for name, old, new in change.differences()
        ],
    }


def _diff_lines(hunks: Iterable[Hunk], format_name: str) -> Iterator[str]:
    for hunk in hunks:
        old, new = hunk.old, hunk.new
        yield f"@@ {_place('-', old)} {_place('+', new)} @@"
        for sign, side in (("-", old), ("+", new)):
            for placed in side:
                for line in shown_lines(format_name, placed.segment.raw):
                    yield sign + line


def _place(sign: str, side: Sequence[Any]) -> str:
    count = sum(max(1, placed.segment.raw.count(b"\n")) for placed in side)
    return f"{sign}{side[0].line if side else 0}" + ("" if count == 1 else f",{count}")


def lines_view(format_name: str, old: Source, new: Source, most: int, *, diff: bool) -> Json:
    """How two files differ that are kept whole."""
    same = old.size_bytes == new.size_bytes and all(
        one == other for one, other in zip(old.blocks(), new.blocks(), strict=True)
    )
    found = None
    if max(old.size_bytes, new.size_bytes) <= INSPECTED_AT_ONCE_BYTES_MAX:
        found = compare_lines(format_name, b"".join(old.blocks()), b"".join(new.blocks()))
    said: Json = {
        "same": same,
        "lines": None if found is None else {"added": found.added, "deleted": found.deleted},
    }
    if diff:
        said["diff"] = [] if found is None else list(found.diff)
    return said


# -- two files: for people -------------------------------------------------------------------------


def show_comparison(said: Mapping[str, Any], *, diff: bool) -> None:
    """Print how two files differ: as a diff, or in tables."""
    if diff and (said["diff"] or said["same"]):
        if said["diff"]:
            _print_diff([f"--- {said['old']}", f"+++ {said['new']}", *said["diff"]])
        return
    output.facts(
        (
            (_("old"), said["old"]),
            (_("new"), said["new"]),
            (_("format"), _format_words(said)),
        )
    )
    output.say("")
    if said["same"]:
        output.say(_("both files are the same, byte for byte"))
    elif "unchanged" in said:
        _show_records(said)
    else:
        _show_lines(said)


def _show_lines(said: Mapping[str, Any]) -> None:
    lines = said["lines"]
    if lines is None:
        output.say(_("the files differ; they cannot be compared line by line"))
    elif not (lines["added"] or lines["deleted"]):
        output.say(_("the files differ, but in nothing that is shown"))
    else:
        output.say(_("lines added: {added}, deleted: {deleted}; show them with --diff", **lines))


def _show_records(said: Mapping[str, Any]) -> None:
    bare = said["bare"]
    output.facts(
        (
            (_("records added"), said["added"]),
            (_("records deleted"), said["deleted"]),
            (_("records changed"), said["changed"]),
            (_("lines or parts unchanged"), said["unchanged"]),
            (_("only renumbered"), said["renumbered"] or None),
            (_("only moved"), said["moved"] or None),
            (_("without a record, added"), bare["added"] or None),
            (_("without a record, deleted"), bare["deleted"] or None),
        )
    )
    if said["same_records"]:
        output.say(_("both files hold the same records"))
        return
    if not said["paired"]:
        output.say(_("too much differs to tell which records are edited ones"))
    words = {
        "added": _("added"),
        "deleted": _("deleted"),
        "before": _("changed, before"),
        "after": _("changed, after"),
        "difference": _("difference"),
    }
    rows = [
        ((words[what], each["currency"]), each[what])
        for each in said["sums"]
        for what in words
        if each[what]["records"] or what == "difference"
    ]
    output.say("")
    _show_sums((_("change"), _("currency")), rows)
    if said["changes"]:
        output.say("")
        output.table(
            (
                Column(_("change")),
                Column(_("line"), right=True),
                Column(_("date")),
                Column(_("amount"), right=True),
                Column(_("text")),
                Column(_("what changed")),
            ),
            map(_change_row, said["changes"]),
        )
    _show_rest(said["left_out"])


def _change_row(change: Mapping[str, Any]) -> Sequence[object]:
    old, new = change["old"], change["new"]
    shown = new or old
    lines = dict.fromkeys(each["line"] for each in (old, new) if each is not None)
    what = [
        _("{field}: {old} → {new}", **{**each, "field": _field(each["field"])})
        for each in change["differences"]
    ]
    word = _("changed") if change["change"] == "changed" else output.word(change["change"])
    return (
        word,
        " → ".join(map(str, lines)),
        shown["date"],
        shown["amount"],
        shown["text"],
        "; ".join(what),
    )


def _field(name: str) -> str:
    names = {
        "date": _("date"),
        "value_date": _("value date"),
        "debit": _("debit"),
        "credit": _("credit"),
        "voucher": _("voucher"),
        "text": _("text"),
        "amount": _("amount"),
        "currency": _("currency"),
        "currency_amount": _("foreign amount"),
        "vat_code": _("VAT code"),
        "cost_centre": _("cost centre"),
        "journal": _("journal"),
        "counterparty": _("counterparty"),
        "account": _("account"),
        "reference": _("reference"),
    }
    return names.get(name, name)


def _print_diff(lines: Iterable[str]) -> None:
    if not sys.stdout.isatty():
        for line in lines:
            output.say(line)
        return
    from rich.console import Console
    from rich.text import Text

    styles = {"-": "red", "+": "green", "@": "cyan"}
    console = Console(highlight=False)
    for line in lines:
        head = line.startswith(("--- ", "+++ "))
        style = "bold" if head else styles.get(line[:1], "")
        console.print(Text(output.safe(line), style), soft_wrap=True)
