"""A report as PDF, by reportlab (``p2psync[pdf]``)."""

import io
from functools import lru_cache
from typing import Any
from xml.sax.saxutils import escape

from p2psync.cli.report.model import Report, Section, Table
from p2psync.errors import PdfUnavailable

_FONT, _BOLD = "Vera", "VeraBd"
_MARGIN_MM = 15
_FRAME_PADDING = 6
"""What reportlab leaves free at each side, in points."""


def render(report: Report) -> bytes:
    """Return the document; raises ``PdfUnavailable`` when reportlab is not installed.

    Its fonts know the letters of western Europe; another letter is written as ``[U+5B57]``.
    """
    try:
        from reportlab.lib.pagesizes import A4
        from reportlab.lib.units import mm
        from reportlab.platypus import SimpleDocTemplate
    except ImportError:
        raise PdfUnavailable() from None
    _register()
    out = io.BytesIO()
    document = SimpleDocTemplate(
        out,
        pagesize=A4,
        title=report.title,
        author="p2psync",
        lang=report.language,
        leftMargin=_MARGIN_MM * mm,
        rightMargin=_MARGIN_MM * mm,
        topMargin=18 * mm,
        bottomMargin=20 * mm,
        invariant=True,
    )

    def foot(canvas: Any, page: Any) -> None:
        canvas.saveState()
        canvas.setFont(_FONT, 7)
        canvas.drawString(_MARGIN_MM * mm, 11 * mm, _known(report.foot)[:130])
        canvas.drawRightString(A4[0] - _MARGIN_MM * mm, 11 * mm, str(page.page))
        canvas.restoreState()

    document.build(
        _story(report, document.width - 2 * _FRAME_PADDING), onFirstPage=foot, onLaterPages=foot
    )
    return out.getvalue()


@lru_cache(maxsize=1)
def _register() -> None:
    from reportlab.pdfbase import pdfmetrics
    from reportlab.pdfbase.ttfonts import TTFont

    for name in (_FONT, _BOLD):
        pdfmetrics.registerFont(TTFont(name, f"{name}.ttf"))


@lru_cache(maxsize=1)
def _letters() -> frozenset[int]:
    from reportlab.pdfbase import pdfmetrics

    regular, bold = (pdfmetrics.getFont(name).face.charToGlyph for name in (_FONT, _BOLD))
    return frozenset(regular.keys() & bold.keys())


def _known(text: str) -> str:
    """The text with what the font has no letter for written out."""
    letters = _letters()
    plain = text.replace("\u202f", "\u00a0").replace("\u2009", " ")
    return "".join(c if ord(c) in letters else f"[U+{ord(c):04X}]" for c in plain)


@lru_cache(maxsize=1)
def _styles() -> dict[str, Any]:
    from reportlab.lib.colors import HexColor
    from reportlab.lib.enums import TA_RIGHT
    from reportlab.lib.styles import ParagraphStyle

    body = ParagraphStyle("body", fontName=_FONT, fontSize=8.5, leading=12, splitLongWords=1)
    green = HexColor("#17633a")
    return {
        "body": body,
        "title": ParagraphStyle(
            "title", body, fontName=_BOLD, fontSize=16, leading=20, spaceAfter=6
        ),
        "verdict": ParagraphStyle(
            *("verdict", body),
            fontName=_BOLD,
            textColor=green,
            borderColor=green,
            borderWidth=1.2,
            borderPadding=5,
            spaceBefore=8,
            spaceAfter=8,
        ),
        "heading": ParagraphStyle(
            *("heading", body),
            fontName=_BOLD,
            fontSize=10.5,
            leading=14,
            spaceBefore=14,
            spaceAfter=4,
            keepWithNext=1,
        ),
        "point": ParagraphStyle(
            "point", body, leftIndent=10, bulletIndent=0, spaceBefore=2, spaceAfter=2
        ),
        "cell": ParagraphStyle("cell", body, fontSize=7, leading=9),
        "number": ParagraphStyle("number", body, fontSize=7, leading=9, alignment=TA_RIGHT),
        "head": ParagraphStyle("head", body, fontName=_BOLD, fontSize=7, leading=9),
        "head-number": ParagraphStyle(
            "head-number", body, fontName=_BOLD, fontSize=7, leading=9, alignment=TA_RIGHT
        ),
    }


def _paragraph(text: str, style: str, bullet: str | None = None) -> Any:
    from reportlab.platypus import Paragraph

    return Paragraph(escape(_known(text)), _styles()[style], bulletText=bullet)


def _story(report: Report, width: float) -> list[Any]:
    story = [_paragraph(report.title, "title"), _paragraph(report.verdict, "verdict")]
    for section in report.sections:
        story += _section(section, width)
    return story


def _section(section: Section, width: float) -> list[Any]:
    story = [_paragraph(section.heading, "heading")]
    if section.facts:
        story.append(_grid([list(pair) for pair in section.facts], [width * 0.25, width * 0.75]))
    story += [_paragraph(text, "body") for text in section.texts]
    story += [_paragraph(point, "point", "•") for point in section.points]
    if section.table is not None:
        story.append(_table(section.table, width))
    return story


def _grid(rows: list[list[str]], widths: list[float]) -> Any:
    from reportlab.platypus import Table as Grid

    cells = [[_paragraph(cell, "cell") for cell in row] for row in rows]
    tight = [("VALIGN", (0, 0), (-1, -1), "TOP"), ("TOPPADDING", (0, 0), (-1, -1), 1)]
    tight += [("BOTTOMPADDING", (0, 0), (-1, -1), 1), ("LEFTPADDING", (0, 0), (-1, -1), 0)]
    return Grid(cells, colWidths=widths, style=tight)


def _table(table: Table, width: float) -> Any:
    from reportlab.lib.colors import HexColor
    from reportlab.platypus import LongTable

    shares = list(table.widths) or [1] * len(table.headings)
    widths = [width * share / sum(shares) for share in shares]
    head = [
        _paragraph(text, "head-number" if at in table.right else "head")
        for at, text in enumerate(table.headings)
    ]
    rows = [
        [_paragraph(cell, "number" if at in table.right else "cell") for at, cell in enumerate(row)]
        for row in table.rows
    ]
    style = [
        ("VALIGN", (0, 0), (-1, -1), "TOP"),
        ("LINEBELOW", (0, 0), (-1, 0), 0.7, HexColor("#444444")),
        ("LINEBELOW", (0, 1), (-1, -1), 0.3, HexColor("#cccccc")),
        ("LEFTPADDING", (0, 0), (-1, -1), 0),
        ("RIGHTPADDING", (0, 0), (-1, -1), 5),
        ("TOPPADDING", (0, 0), (-1, -1), 2),
        ("BOTTOMPADDING", (0, 0), (-1, -1), 2),
    ]
    return LongTable([head, *rows], colWidths=widths, repeatRows=1, style=style)
