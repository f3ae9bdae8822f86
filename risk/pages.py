"""How does a report look on paper: the facts of report.json in, a PDF out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any
from xml.sax.saxutils import escape

from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import (
    CondPageBreak,
    Flowable,
    Image,
    KeepTogether,
    PageBreak,
    Paragraph,
    SimpleDocTemplate,
    Spacer,
    Table,
)

FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, MUTED, LINE, SHADE, ALARM = "#1a202c", "#4a5568", "#cbd5e0", "#f7fafc", "#9b2c2c"
MARGIN = 18 * mm
PADDING = 6  # of a frame of platypus, in points, on each side
WIDTH = A4[0] - 2 * (MARGIN + PADDING)
HEAD_OF_TABLE = 40 * mm  # heading, note, header and the first rows; less room begins a new page
LONGEST = 300


def register_fonts() -> None:
    """Register DejaVu Sans, which matplotlib ships: the PDF standard fonts know no Ł and no Ω."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)


def printable(text: str) -> str:
    """Give a text of any origin as markup that prints as it is; signs without a glyph as \\uXXXX."""
    if len(text) > LONGEST:
        text = text[: LONGEST - 1] + "…"
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    signs = (sign if ord(sign) in known and sign.isprintable() else ascii(sign)[1:-1] for sign in text)
    return escape("".join(signs)).replace("  ", " \N{NO-BREAK SPACE}")


def style(name: str, **changes: Any) -> ParagraphStyle:
    """Make a paragraph style."""
    given = {
        "fontName": FONT,
        "fontSize": 9,
        "leading": 12.5,
        "textColor": colors.HexColor(INK),
        "splitLongWords": 1,
    }
    return ParagraphStyle(name, **(given | changes))


TITLE = partial(style, "title", fontName=BOLD, fontSize=18, leading=24)
HEADING = partial(style, "heading", fontName=BOLD, fontSize=11.5, leading=15, spaceBefore=12, spaceAfter=4)
BODY = partial(style, "body", spaceAfter=4)
NOTE = partial(style, "note", fontSize=8, leading=11, textColor=colors.HexColor(MUTED), spaceAfter=4)
WARNING = partial(style, "warning", textColor=colors.HexColor(ALARM), spaceAfter=4)


def render_pdf(handle: IO[bytes], report: Mapping[str, Any], matrix: Path, trends: Path) -> int:
    """Write the PDF of a report; the same facts and pictures give the same bytes.

    Parameters
    ----------
    handle : binary file
        Where the PDF goes.
    report : mapping
        report.json.
    matrix, trends : Path
        The drawn confusion matrix, and how things have moved.

    Returns
    -------
    n_pages : int
    """
    register_fonts()
    document = SimpleDocTemplate(
        handle,
        pagesize=A4,
        leftMargin=MARGIN,
        rightMargin=MARGIN,
        topMargin=MARGIN,
        bottomMargin=MARGIN,
        title=f"Attrition risk, {report['date']}",
        author="Dynamic Risk Assessment",
        invariant=1,
    )
    foot = partial(draw_foot, text=f"release {report['release']['id']} · {report['date']}")
    document.build(tell(report, matrix, trends), onFirstPage=foot, onLaterPages=foot)
    return int(document.page)


def draw_foot(canvas: Any, document: Any, *, text: str) -> None:
    """Draw release, date and page number below a page."""
    canvas.saveState()
    canvas.setFont(FONT, 7.5)
    canvas.setFillColor(colors.HexColor(MUTED))
    canvas.drawString(MARGIN + PADDING, 10 * mm, text)
    canvas.drawRightString(A4[0] - MARGIN - PADDING, 10 * mm, str(document.page))
    canvas.restoreState()


def tell(report: Mapping[str, Any], matrix: Path, trends: Path) -> list[Flowable]:
    """Tell the report in the order in which a person asks."""
    story: list[Flowable] = [
        Paragraph("Attrition risk", TITLE()),
        Paragraph(printable(report["subtitle"]), NOTE()),
    ]
    story += chapter(
        "How good is the model?", *(Paragraph(printable(t), BODY()) for t in report["score_said"])
    )
    story += [Paragraph(printable(text), WARNING()) for text in report["warnings"]]
    verdict = [Paragraph(printable(text), BODY()) for text in report["verdict_said"]]
    story += chapter("Has the world changed?", *verdict)
    story += chapter("Right and wrong on the test data", Image(str(matrix), width=120 * mm, height=100 * mm))
    for part in report["tables"]:
        story += tell_table(part)
    story.append(PageBreak())
    story += chapter("Trends", Paragraph(printable(report["trends_said"]), NOTE()), whole_width(trends))
    story += tell_table(report["trends_table"])
    return story


def tell_table(part: Mapping[str, Any]) -> list[Flowable]:
    """Tell one table under its heading."""
    body: list[Flowable] = [Paragraph(printable(part["said"]), NOTE())] if part["said"] else []
    if part["rows"]:
        body.append(make_table(part["header"], part["rows"], part["widths"]))
    return chapter(part["title"], *body)


def whole_width(picture: Path) -> Image:
    """Show a picture as wide as the text."""
    width, height = ImageReader(str(picture)).getSize()
    return Image(str(picture), width=WIDTH, height=WIDTH * height / width)


def chapter(title: str, *body: Flowable) -> list[Flowable]:
    """Keep a heading with the first thing below it."""
    heading = Paragraph(escape(title), HEADING())
    if body and isinstance(body[-1], Table) and len(body[-1]._cellvalues) > 12:
        return [CondPageBreak(HEAD_OF_TABLE), heading, *body]
    return [KeepTogether([heading, *body]), Spacer(1, 2)]


def make_table(header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float]) -> Table:
    """Make a table whose header is repeated on each page; figures stand right."""
    left, right = (
        style("cell", fontSize=8, leading=10),
        style("figure", fontSize=8, leading=10, alignment=TA_RIGHT),
    )
    head, head_right = (
        style("head", fontName=BOLD, fontSize=8, leading=10, alignment=a) for a in (0, TA_RIGHT)
    )
    wide = [width > 0 for width in widths]
    cells = [[Paragraph(escape(t), head if w else head_right) for t, w in zip(header, wide, strict=True)]]
    for row in rows:
        cells.append([Paragraph(printable(t), left if w else right) for t, w in zip(row, wide, strict=True)])
    whole = sum(map(abs, widths))
    table = Table(cells, colWidths=[WIDTH * abs(width) / whole for width in widths], repeatRows=1)
    table.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.HexColor(INK)),
            ("LINEBELOW", (0, 1), (-1, -1), 0.25, colors.HexColor(LINE)),
            ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.HexColor(SHADE)]),
            ("TOPPADDING", (0, 0), (-1, -1), 2),
            ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
            ("LEFTPADDING", (0, 0), (-1, -1), 3),
            ("RIGHTPADDING", (0, 0), (-1, -1), 3),
        ]
    )
    return table
