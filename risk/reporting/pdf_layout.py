"""Texts, tables and small charts on paper: data in, flowables of reportlab out."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import Any
from xml.sax.saxutils import escape

from reportlab.graphics.shapes import Circle, Drawing, PolyLine, String
from reportlab.lib import colors
from reportlab.lib.enums import TA_RIGHT
from reportlab.lib.pagesizes import A4
from reportlab.lib.styles import ParagraphStyle
from reportlab.lib.units import mm
from reportlab.lib.utils import ImageReader
from reportlab.pdfbase import pdfmetrics
from reportlab.pdfbase.cidfonts import UnicodeCIDFont
from reportlab.pdfbase.ttfonts import TTFont
from reportlab.platypus import CondPageBreak, Flowable, Image, KeepTogether, Paragraph, Spacer, Table

from risk.reporting import bidi, formats, small_charts
from risk.reporting.small_charts import SmallChart

FONT, BOLD = "DejaVuSans", "DejaVuSans-Bold"
INK, MUTED, LINE, SHADE, ALARM = "#1a202c", "#4a5568", "#cbd5e0", "#f7fafc", "#9b2c2c"
ACCENT, PALE = "#0b5cad", "#91b7da"
MARGIN = 18 * mm
PADDING = 6  # of a frame of platypus, in points, on each side
WIDTH = A4[0] - 2 * (MARGIN + PADDING)
HEAD_OF_TABLE = 40 * mm  # heading, note, header and the first rows; less room begins a new page
LONGEST, LONGEST_SENTENCE = 300, 2_000
CELL, CELL_LEADING, CELL_PADDING = 8.0, 9.4, 3
LOOKS = {"line": ACCENT, "dot": ACCENT, "grid": LINE, "mark": MUTED, "label": MUTED, "strong": INK}
LOOKS |= {"pale": PALE}


def register_fonts() -> None:
    """Register DejaVu Sans, which matplotlib ships, and the names of fonts that a PDF reader brings."""
    import matplotlib

    folder = Path(matplotlib.get_data_path()) / "fonts" / "ttf"
    for name in (FONT, BOLD):
        pdfmetrics.registerFont(TTFont(name, str(folder / f"{name}.ttf")))
    pdfmetrics.registerFontFamily(FONT, normal=FONT, bold=BOLD, italic=FONT, boldItalic=BOLD)
    for name in bidi.CODECS:
        pdfmetrics.registerFont(UnicodeCIDFont(name))


def printable(text: str, direction: int | None = None) -> str:
    """Render a text of any origin as markup that prints as it is; signs without a glyph as \\uXXXX."""
    text = formats.shorten(text, LONGEST_SENTENCE)
    known = pdfmetrics.getFont(FONT).face.charToGlyph
    runs = bidi.split_by_font(
        bidi.to_visual(text, direction), lambda sign: ord(sign) in known and sign.isprintable()
    )
    return "".join(
        f'<font name="{font}">{run}</font>' if font else escape(run).replace("  ", " \N{NO-BREAK SPACE}")
        for font, run in runs
    )


# --- texts -------------------------------------------------------------------------------------------------


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


def make_paragraph(text: str, look: ParagraphStyle, *, room: float = WIDTH, **options: Any) -> Paragraph:
    """Make a sentence of ours, in which names from data may stand, in lines of at most `room` points."""
    lines = break_lines(text, look.fontName, look.fontSize, room - look.leftIndent)
    return Paragraph(lines, look, **options)


def break_lines(text: str, font: str, size: float, room: float, *, sentence: bool = True) -> str:
    """Render a text as markup; where letters run from right to left its lines are broken here, to their room.

    Left to itself reportlab would break what is in visual order already, and begin with its end.
    """
    if not bidi.is_right_to_left(text):
        return printable(text)
    text = text[:LONGEST_SENTENCE]
    lines = bidi.break_lines(text, lambda line: bool(pdfmetrics.stringWidth(line, font, size) <= room))
    direction = bidi.find_direction(text, sentence=sentence)
    return "<br/>".join(printable(line, direction) for line in lines)


TITLE = partial(style, "title", fontName=BOLD, fontSize=18, leading=24)
HEADING = partial(style, "heading", fontName=BOLD, fontSize=11.5, leading=15, spaceBefore=12, spaceAfter=4)
BODY = partial(style, "body", spaceAfter=4)
NOTE = partial(style, "note", fontSize=8, leading=11, textColor=colors.HexColor(MUTED), spaceAfter=4)
WARNING = partial(style, "warning", textColor=colors.HexColor(ALARM), spaceAfter=4)


def chapter(title: str, *body: Flowable) -> list[Flowable]:
    """Keep a heading with the first thing below it."""
    heading = Paragraph(escape(title), HEADING())
    if body and isinstance(body[-1], Table) and len(body[-1]._cellvalues) > 12:
        return [CondPageBreak(HEAD_OF_TABLE), heading, *body]
    return [KeepTogether([heading, *body]), Spacer(1, 2)]


# --- tables ------------------------------------------------------------------------------------------------


def make_section(table: Mapping[str, Any]) -> list[Flowable]:
    """Make one table of report.json under its heading."""
    body: list[Flowable] = [make_paragraph(table["said"], NOTE())] if table["said"] else []
    if table["rows"]:
        body.append(make_table(table["header"], table["rows"], table["widths"]))
    return chapter(table["title"], *body)


def make_table(
    header: Sequence[str], rows: Sequence[Sequence[str]], widths: Sequence[float], names: int | None = None
) -> Table:
    """Make a table whose header is repeated on each page; figures stand right; a cell may have lines.

    A negative width marks a column of figures. The column `names` holds names from data, the others
    sentences of ours.
    """
    has_header = any(header)
    of_whole = WIDTH / sum(map(abs, widths))
    aligned = [0 if width > 0 else TA_RIGHT for width in widths]
    heads = [style("head", fontName=BOLD, fontSize=CELL, leading=CELL_LEADING, alignment=a) for a in aligned]
    looks = [style("cell", fontSize=CELL, leading=CELL_LEADING, alignment=a) for a in aligned]
    cells = [[Paragraph(escape(text), look) for text, look in zip(header, heads, strict=True)]]
    for row in rows:
        lines = [
            render_cell(text, abs(width) * of_whole, sentence=column != names)
            for column, (text, width) in enumerate(zip(row, widths, strict=True))
        ]
        cells.append([Paragraph(text, look) for text, look in zip(lines, looks, strict=True)])
    table = Table(
        cells if has_header else cells[1:],
        colWidths=[abs(width) * of_whole for width in widths],
        repeatRows=int(has_header),
    )
    table.setStyle([*LINED, HEAD_LINE] if has_header else LINED)
    return table


HEAD_LINE = ("LINEBELOW", (0, 0), (-1, 0), 0.8, colors.HexColor(INK))
LINED: list[Any] = [
    ("VALIGN", (0, 0), (-1, -1), "TOP"),
    ("LINEBELOW", (0, 0), (-1, -1), 0.25, colors.HexColor(LINE)),
    ("ROWBACKGROUNDS", (0, 1), (-1, -1), [colors.white, colors.HexColor(SHADE)]),
    ("TOPPADDING", (0, 0), (-1, -1), 1.5),
    ("BOTTOMPADDING", (0, 0), (-1, -1), 3),
    ("LEFTPADDING", (0, 0), (-1, -1), CELL_PADDING),
    ("RIGHTPADDING", (0, 0), (-1, -1), CELL_PADDING),
]


def render_cell(text: str, width: float, *, sentence: bool) -> str:
    """Render the lines of a cell of this width as markup."""
    room, lines = width - 2 * CELL_PADDING, text[:LONGEST].split("\n")
    return "<br/>".join(break_lines(line, FONT, CELL, room, sentence=sentence) for line in lines)


# --- pictures ----------------------------------------------------------------------------------------------


def whole_width(picture: Path) -> Image:
    """Show a picture as wide as the text."""
    width, height = ImageReader(str(picture)).getSize()
    return Image(str(picture), width=WIDTH, height=WIDTH * height / width)


def draw(chart: SmallChart) -> Drawing:
    """Draw a small chart; wider ones than the text are made to fit."""
    drawing = Drawing(chart.width, chart.height)
    for shape in chart.shapes:
        drawing.add(_draw_shape(shape, chart.height))
    return drawing


def _draw_shape(shape: Any, height: float) -> Any:
    colour = colors.HexColor(LOOKS[shape.look])
    if isinstance(shape, small_charts.Line):
        points = [place for x, y in shape.points for place in (x, height - y)]
        width = 1.5 if shape.look == "line" else 0.5
        dashes = [2, 2] if shape.look == "mark" else None
        return PolyLine(points, strokeColor=colour, strokeWidth=width, strokeDashArray=dashes)
    x, y = shape.at
    if isinstance(shape, small_charts.Dot):
        return Circle(x, height - y, shape.radius, fillColor=colour, strokeColor=None)
    strong = shape.look == "strong"
    return String(
        x,
        height - y,
        shape.text,
        fontName=BOLD if strong else FONT,
        fontSize=small_charts.LETTER if strong else small_charts.LETTER - 2,
        fillColor=colour,
        textAnchor=shape.anchor,
    )
