"""A report as one HTML page that prints well: no script, nothing from elsewhere, all escaped."""

from collections.abc import Iterator
from html import escape

from p2psync.cli.report.model import Report, Section, Table

_STYLE = """
:root { color-scheme: light; }
body { font: 10pt/1.45 system-ui, "Segoe UI", "DejaVu Sans", sans-serif; color: #111;
  background: #fff; margin: 2rem auto; padding: 0 1rem; max-width: 60rem; }
h1 { font-size: 1.7em; margin: 0 0 .3em; }
h2 { font-size: 1.15em; margin: 2em 0 .5em; padding-bottom: .2em; border-bottom: 1px solid #888;
  break-after: avoid; }
.verdict { border: 2px solid #17633a; color: #17633a; font-weight: 600; padding: .5em .8em; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15em 1.2em; margin: .5em 0; }
dt { color: #444; }
dd { margin: 0; overflow-wrap: anywhere; }
ul { padding-left: 1.3em; margin: .5em 0; }
li { margin: .2em 0; break-inside: avoid; }
table { border-collapse: collapse; width: 100%; font-size: .88em; margin: .6em 0; }
thead { display: table-header-group; }
th { text-align: left; border-bottom: 1px solid #444; vertical-align: bottom; }
th, td { padding: .25em .5em .25em 0; overflow-wrap: anywhere; }
td { border-bottom: 1px solid #ddd; vertical-align: top; }
tr { break-inside: avoid; }
.n { text-align: right; font-variant-numeric: tabular-nums; white-space: nowrap; }
footer { margin-top: 2.5em; padding-top: .5em; border-top: 1px solid #888; color: #444;
  font-size: .85em; overflow-wrap: anywhere; }
@page { size: A4; margin: 18mm 15mm 18mm 15mm; }
@media print { body { margin: 0; padding: 0; max-width: none; font-size: 9pt; } }
"""
_POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"


def render(report: Report) -> bytes:
    """Return the page."""
    return "\n".join(_page(report)).encode("utf-8", "replace")


def _page(report: Report) -> Iterator[str]:
    yield "<!DOCTYPE html>"
    yield f'<html lang="{escape(report.language)}"><head><meta charset="utf-8">'
    yield f'<meta http-equiv="Content-Security-Policy" content="{escape(_POLICY)}">'
    yield '<meta name="viewport" content="width=device-width">'
    yield f"<title>{_text(report.title)}</title><style>{_STYLE}</style></head><body>"
    yield f'<h1>{_text(report.title)}</h1><p class="verdict">{_text(report.verdict)}</p>'
    for section in report.sections:
        yield from _section(section)
    yield f"<footer>{_text(report.foot)}</footer></body></html>"


def _section(section: Section) -> Iterator[str]:
    yield f"<section><h2>{_text(section.heading)}</h2>"
    if section.facts:
        yield "<dl>"
        for label, value in section.facts:
            yield f"<dt>{_text(label)}</dt><dd>{_text(value)}</dd>"
        yield "</dl>"
    for text in section.texts:
        yield f"<p>{_text(text)}</p>"
    if section.points:
        yield "<ul>"
        for point in section.points:
            yield f"<li>{_text(point)}</li>"
        yield "</ul>"
    if section.table is not None:
        yield from _table(section.table)
    yield "</section>"


def _table(table: Table) -> Iterator[str]:
    yield "<table><thead><tr>"
    for number, heading in enumerate(table.headings):
        yield f"<th{_class(table, number)}>{_text(heading)}</th>"
    yield "</tr></thead><tbody>"
    for row in table.rows:
        cells = (f"<td{_class(table, at)}>{_text(cell)}</td>" for at, cell in enumerate(row))
        yield f"<tr>{''.join(cells)}</tr>"
    yield "</tbody></table>"


def _class(table: Table, number: int) -> str:
    return ' class="n"' if number in table.right else ""


def _text(text: str) -> str:
    return escape(text)
