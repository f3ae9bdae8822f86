"""The report as PDF: the pages described in `pages`, drawn with reportlab."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from functools import partial
from pathlib import Path
from typing import IO, Any, NamedTuple

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

from risk.reporting import formats, pdf_layout, small_charts, summary
from risk.reporting.pages import Block, Page, make_pages
from risk.reporting.pdf_layout import BODY, MARGIN, NOTE, PADDING, WARNING, WIDTH, chapter, make_paragraph

LONGEST_NAME = 80
CALM, CARE = "#1c6b3a", "#8a5a00"
ANSWERS = {summary.YES: CALM, summary.NO: pdf_layout.ALARM, summary.UNKNOWN: CARE}
HEADLINE = partial(
    pdf_layout.style,
    "headline",
    fontName=pdf_layout.BOLD,
    fontSize=15,
    leading=20,
    spaceBefore=8,
    spaceAfter=12,
)
LARGE = partial(pdf_layout.style, "large", fontName=pdf_layout.BOLD, fontSize=20, leading=25)
ANSWER = partial(pdf_layout.style, "answer", fontName=pdf_layout.BOLD, fontSize=12, leading=16, spaceAfter=3)
BULLET = partial(pdf_layout.style, "bullet", leftIndent=10, bulletIndent=0, spaceAfter=2)


class Pictures(NamedTuple):
    """Files that are shown as they are."""

    matrix: Path
    trends: Path


def render_pdf(handle: IO[bytes], report: Mapping[str, Any], matrix: Path, trends: Path) -> int:
    """Write the PDF of a report; the same facts and pictures give the same bytes.

    Parameters
    ----------
    handle : binary file
        Where the PDF goes.
    report : mapping
        report.json.
    matrix, trends : Path
        The pictures of the confusion matrix and of the trends.

    Returns
    -------
    n_pages : int
    """
    pdf_layout.register_fonts()
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
    pictures = Pictures(matrix, trends)
    pages = [
        flowable for page in make_pages(report) for flowable in (*draw_page(page, pictures), PageBreak())
    ]
    document.build(pages[:-1], onFirstPage=foot, onLaterPages=foot)
    return int(document.page)


def draw_foot(canvas: Any, document: Any, *, text: str) -> None:
    """Draw release, date and page number below a page."""
    canvas.saveState()
    canvas.setFont(pdf_layout.FONT, 7.5)
    canvas.setFillColor(colors.HexColor(pdf_layout.MUTED))
    canvas.drawString(MARGIN + PADDING, 10 * mm, text)
    canvas.drawRightString(A4[0] - MARGIN - PADDING, 10 * mm, str(document.page))
    canvas.restoreState()


def draw_page(page: Page, pictures: Pictures) -> list[Flowable]:
    """Draw the title and the blocks of a page, which may take several sheets."""
    title: list[Flowable] = [Paragraph(page.title, pdf_layout.TITLE())]
    return title + [flowable for block in page.blocks for flowable in DRAWINGS[block.kind](block, pictures)]


# --- texts -------------------------------------------------------------------------------------------------


def draw_note(block: Block, _: Pictures) -> list[Flowable]:
    """Draw a note in small letters."""
    return [make_paragraph(block.content, NOTE())]


def draw_guide(block: Block, _: Pictures) -> list[Flowable]:
    """Draw what the other pages hold."""
    return [Spacer(1, 8), make_paragraph(block.content, NOTE())]


def draw_headline(block: Block, _: Pictures) -> list[Flowable]:
    """Draw the state in one sentence."""
    return [make_paragraph(block.content, HEADLINE())]


def draw_text(block: Block, _: Pictures) -> list[Flowable]:
    """Draw sentences under a heading."""
    return chapter(block.title, *(make_paragraph(text, BODY()) for text in block.content))


def draw_warnings(block: Block, _: Pictures) -> list[Flowable]:
    """Draw what makes the figures less reliable."""
    return [make_paragraph(text, WARNING()) for text in block.content]


def draw_trust(block: Block, _: Pictures) -> list[Flowable]:
    """Draw whether the model can be trusted, and why."""
    colour = colors.HexColor(ANSWERS[block.content["answer"]])
    answer = [Paragraph(block.content["answer"].capitalize(), ANSWER(textColor=colour))]
    answer += [
        make_paragraph(reason, BULLET(), room=WIDTH - 16, bulletText="•")
        for reason in block.content["because"]
    ]
    box = Table([[answer]], colWidths=[WIDTH])
    box.setStyle([("LINEBEFORE", (0, 0), (0, -1), 3, colour), ("LEFTPADDING", (0, 0), (-1, -1), 10)])
    return chapter(block.title, box)


# --- tables ------------------------------------------------------------------------------------------------


def draw_tiles(block: Block, _: Pictures) -> list[Flowable]:
    """Draw the figures that are shown large, side by side."""
    figures: Sequence[Mapping[str, Any]] = block.content
    if not figures:
        return []
    room = WIDTH / len(figures) - 16
    cells = [
        [
            make_paragraph(one["name"], NOTE(spaceAfter=0), room=room),
            make_paragraph(one["shown"], LARGE(), room=room),
            make_paragraph(one["note"], NOTE(), room=room),
        ]
        for one in figures
    ]
    table = Table([cells], colWidths=[WIDTH / len(cells)] * len(cells))
    table.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("BACKGROUND", (0, 0), (-1, -1), colors.HexColor(pdf_layout.SHADE)),
            ("LINEABOVE", (0, 0), (-1, 0), 2, colors.HexColor(pdf_layout.ACCENT)),
            ("LINEAFTER", (0, 0), (-2, -1), 6, colors.white),
            ("LEFTPADDING", (0, 0), (-1, -1), 8),
        ]
    )
    return [table, Spacer(1, 10)]


def draw_clients(block: Block, _: Pictures) -> list[Flowable]:
    """Draw the clients to call first, with reasons."""
    clients = block.content
    if not clients["lines"]:
        return []
    header, widths = ["", "client", "risk", "change", "reasons"], [-0.85, 3, 1.9, -1.3, 5]
    if clients["has_loss"]:
        header.insert(3, "loss")
        widths.insert(3, -1.2)
    rows = [make_cells(line, has_loss=clients["has_loss"]) for line in clients["lines"]]
    return [pdf_layout.make_table(header, rows, widths, names=1)]


def make_cells(line: Mapping[str, Any], *, has_loss: bool) -> list[str]:
    """Make the cells of one client."""
    risk = "\n".join(filter(None, (f"{line['probability']} {line['risk']}", line["band"])))
    loss = [line["loss"] or "-"] if has_loss else []
    reasons = "\n".join(line["reasons"]) or "nothing stands out"
    name = formats.shorten(line["name"], LONGEST_NAME)
    return [line["rank"], name, risk, *loss, line["change"], reasons]


def draw_table(block: Block, _: Pictures) -> list[Flowable]:
    """Draw a table under its heading."""
    return pdf_layout.make_section(block.content)


# --- pictures ----------------------------------------------------------------------------------------------


def draw_trend(block: Block, _: Pictures) -> list[Flowable]:
    """Draw how the number of clients at risk has changed, where it is known."""
    chart = small_charts.draw_trend(block.content, summary.TREND, summary.TREND_NAME)
    if chart is None:
        return []
    note = [make_paragraph(block.note, NOTE())] if block.note else []
    return chapter(block.title, pdf_layout.draw(chart), *note)


def draw_matrix(block: Block, pictures: Pictures) -> list[Flowable]:
    """Show the picture of the confusion matrix."""
    picture = Image(str(pictures.matrix), width=120 * mm, height=100 * mm)
    return chapter(block.content["title"], picture)


def draw_calibration(block: Block, _: Pictures) -> list[Flowable]:
    """Draw the calibration curve."""
    chart = small_charts.draw_reliability(block.content)
    return chapter(
        block.title, make_paragraph(block.note, NOTE()), *([pdf_layout.draw(chart)] if chart else [])
    )


def draw_trends(block: Block, pictures: Pictures) -> list[Flowable]:
    """Show the picture of the trends on a sheet of its own."""
    note = make_paragraph(block.note, NOTE())
    return [PageBreak(), *chapter(block.title, note, pdf_layout.whole_width(pictures.trends))]


DRAWINGS: dict[str, Callable[[Block, Pictures], list[Flowable]]] = {
    "date": draw_note,
    "headline": draw_headline,
    "tiles": draw_tiles,
    "trend": draw_trend,
    "trust": draw_trust,
    "text": draw_text,
    "guide": draw_guide,
    "note": draw_note,
    "clients": draw_clients,
    "warnings": draw_warnings,
    "matrix": draw_matrix,
    "calibration": draw_calibration,
    "table": draw_table,
    "trends": draw_trends,
}
