"""How does a report look on paper: the facts of report.json in, a PDF out."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from pathlib import Path
from typing import IO, Any

from reportlab.lib import colors
from reportlab.lib.pagesizes import A4
from reportlab.lib.units import mm
from reportlab.platypus import Flowable, Image, PageBreak, Paragraph, SimpleDocTemplate, Spacer, Table

from risk.reporting import pdf_layout, small_charts, summary

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


def render_pdf(handle: IO[bytes], report: Mapping[str, Any], matrix: Path, trends: Path) -> int:
    """Write the PDF of a report; the same facts and pictures give the same bytes.

    Page 1 is the executive's, the pages after it the client managers', the rest the data scientist's.

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
    pdf_layout.register_fonts()
    document = SimpleDocTemplate(
        handle,
        pagesize=A4,
        leftMargin=pdf_layout.MARGIN,
        rightMargin=pdf_layout.MARGIN,
        topMargin=pdf_layout.MARGIN,
        bottomMargin=pdf_layout.MARGIN,
        title=f"Attrition risk, {report['date']}",
        author="Dynamic Risk Assessment",
        invariant=1,
    )
    foot = partial(draw_foot, text=f"release {report['release']['id']} · {report['date']}")
    document.build(make_pages(report, matrix, trends), onFirstPage=foot, onLaterPages=foot)
    return int(document.page)


def draw_foot(canvas: Any, document: Any, *, text: str) -> None:
    """Draw release, date and page number below a page."""
    canvas.saveState()
    canvas.setFont(pdf_layout.FONT, 7.5)
    canvas.setFillColor(colors.HexColor(pdf_layout.MUTED))
    canvas.drawString(pdf_layout.MARGIN + pdf_layout.PADDING, 10 * mm, text)
    canvas.drawRightString(A4[0] - pdf_layout.MARGIN - pdf_layout.PADDING, 10 * mm, str(document.page))
    canvas.restoreState()


def make_pages(report: Mapping[str, Any], matrix: Path, trends: Path) -> list[Flowable]:
    """Tell the report in the order in which its readers come."""
    pages = (make_front(report), make_clients(report["clients"]), make_appendix(report, matrix, trends),
             make_card(report["card"]))  # fmt: skip
    return [flowable for page in pages for flowable in (*page, PageBreak())][:-1]


# --- page 1 ------------------------------------------------------------------------------------------------


def make_front(report: Mapping[str, Any]) -> list[Flowable]:
    """Tell the executive: state and change, figures, trend, trust."""
    told = report["summary"]
    story: list[Flowable] = [
        Paragraph("Attrition risk", pdf_layout.TITLE()),
        Paragraph(report["date"], pdf_layout.NOTE()),
        pdf_layout.make_paragraph(told["headline"], HEADLINE()),
    ]
    if told["figures"]:
        story += [make_tiles(told["figures"]), Spacer(1, 10)]
    story += make_trend(report["trends"])
    story += make_trust(told["trust"])
    story += pdf_layout.chapter(
        "What happened last", pdf_layout.make_paragraph(told["news"], pdf_layout.BODY())
    )
    story.append(Spacer(1, 8))
    story.append(Paragraph(summary.READING, pdf_layout.NOTE()))
    return story


def make_tiles(figures: list[Mapping[str, Any]]) -> Table:
    """Make the figures that are shown large, side by side."""
    room = pdf_layout.WIDTH / len(figures) - 16
    cells = [
        [
            pdf_layout.make_paragraph(one["name"], pdf_layout.NOTE(spaceAfter=0), room=room),
            pdf_layout.make_paragraph(one["shown"], LARGE(), room=room),
            pdf_layout.make_paragraph(one["note"], pdf_layout.NOTE(), room=room),
        ]
        for one in figures
    ]
    table = Table([cells], colWidths=[pdf_layout.WIDTH / len(cells)] * len(cells))
    table.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("BACKGROUND", (0, 0), (-1, -1), colors.HexColor(pdf_layout.SHADE)),
            ("LINEABOVE", (0, 0), (-1, 0), 2, colors.HexColor(pdf_layout.ACCENT)),
            ("LINEAFTER", (0, 0), (-2, -1), 6, colors.white),
            ("LEFTPADDING", (0, 0), (-1, -1), 8),
        ]
    )
    return table


def make_trend(trends: Mapping[str, Any]) -> list[Flowable]:
    """Tell how the number of clients at risk has moved, where more than one count is known."""
    chart = small_charts.draw_trend(trends, summary.TREND, summary.TREND_NAME)
    if chart is None:
        return []
    return pdf_layout.chapter(
        f"{summary.TREND_NAME} over time",
        pdf_layout.draw(chart),
        Paragraph(summary.TREND_NOTE, pdf_layout.NOTE()),
    )


def make_trust(trust: Mapping[str, Any]) -> list[Flowable]:
    """Tell whether the model can be trusted, and why."""
    colour = colors.HexColor(ANSWERS[trust["answer"]])
    said = [Paragraph(trust["answer"].capitalize(), ANSWER(textColor=colour))]
    said += [
        pdf_layout.make_paragraph(reason, BULLET(), room=pdf_layout.WIDTH - 16, bulletText="•")
        for reason in trust["because"]
    ]
    box = Table([[said]], colWidths=[pdf_layout.WIDTH])
    box.setStyle([("LINEBEFORE", (0, 0), (0, -1), 3, colour), ("LEFTPADDING", (0, 0), (-1, -1), 10)])
    return pdf_layout.chapter("Can the model be trusted?", box)


# --- the client managers' pages ----------------------------------------------------------------------------


def make_clients(clients: Mapping[str, Any]) -> list[Flowable]:
    """Tell whom to call first, and why."""
    story: list[Flowable] = [
        Paragraph("Whom to call first", pdf_layout.TITLE()),
        pdf_layout.make_paragraph(clients["said"], pdf_layout.NOTE()),
    ]
    if not clients["lines"]:
        return story
    header, widths = ["", "client", "risk", "place", "because"], [-0.85, 3, 1.9, -1.3, 5]
    if clients["has_loss"]:
        header.insert(3, "loss")
        widths.insert(3, -1.2)
    rows = [cells_of(line, has_loss=clients["has_loss"]) for line in clients["lines"]]
    return [*story, pdf_layout.make_table(header, rows, widths, names=1)]


def cells_of(line: Mapping[str, Any], *, has_loss: bool) -> list[str]:
    """Give the cells of one client."""
    risk = "\n".join(filter(None, (f"{line['probability']} {line['risk']}", line["band"])))
    loss = [line["loss"] or "-"] if has_loss else []
    because = "\n".join(line["reasons"]) or "nothing stands out"
    name = line["name"] if len(line["name"]) <= LONGEST_NAME else f"{line['name'][: LONGEST_NAME - 1]}…"
    return [line["rank"], name, risk, *loss, line["change"], because]


# --- the data scientist's appendix -------------------------------------------------------------------------


def make_appendix(report: Mapping[str, Any], matrix: Path, trends: Path) -> list[Flowable]:
    """Tell the evidence: scores, verdict, calibration, columns, rows, trends."""
    story: list[Flowable] = [
        Paragraph("Appendix", pdf_layout.TITLE()),
        pdf_layout.make_paragraph(report["subtitle"], pdf_layout.NOTE()),
    ]
    scores = [pdf_layout.make_paragraph(t, pdf_layout.BODY()) for t in report["score_said"]]
    story += pdf_layout.chapter("How good is the model?", *scores)
    story += [pdf_layout.make_paragraph(text, pdf_layout.WARNING()) for text in report["warnings"]]
    verdict = [pdf_layout.make_paragraph(text, pdf_layout.BODY()) for text in report["verdict_said"]]
    story += pdf_layout.chapter("Has the world changed?", *verdict)
    picture = Image(str(matrix), width=120 * mm, height=100 * mm)
    story += pdf_layout.chapter("Right and wrong on the test data", picture)
    story += make_calibration(report["calibration"])
    for part in report["tables"]:
        story += pdf_layout.make_section(part)
    story.append(PageBreak())
    said = pdf_layout.make_paragraph(report["trends_said"], pdf_layout.NOTE())
    story += pdf_layout.chapter("Trends", said, pdf_layout.whole_width(trends))
    story += pdf_layout.make_section(report["trends_table"])
    return story


def make_calibration(calibration: Mapping[str, Any]) -> list[Flowable]:
    """Tell whether probabilities mean what they say."""
    chart = small_charts.draw_reliability(calibration["curve"])
    said = pdf_layout.make_paragraph(calibration["said"], pdf_layout.NOTE())
    return pdf_layout.chapter(
        "Do probabilities mean what they say?", said, *([pdf_layout.draw(chart)] if chart else [])
    )


def make_card(card: list[Mapping[str, Any]]) -> list[Flowable]:
    """Tell what the deployed model is."""
    story: list[Flowable] = [Paragraph("Model card", pdf_layout.TITLE())]
    for part in card:
        story += pdf_layout.make_section(part)
    return story
