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

from risk import paper, sketch, summary
from risk.paper import BODY, BOLD, FONT, MARGIN, NOTE, PADDING, TITLE, WARNING, WIDTH, say, style

LONGEST_NAME = 80
CALM, CARE = "#1c6b3a", "#8a5a00"
ANSWERS = {summary.YES: CALM, summary.NO: paper.ALARM, summary.UNKNOWN: CARE}
HEADLINE = partial(style, "headline", fontName=BOLD, fontSize=15, leading=20, spaceBefore=8, spaceAfter=12)
LARGE = partial(style, "large", fontName=BOLD, fontSize=20, leading=25)
ANSWER = partial(style, "answer", fontName=BOLD, fontSize=12, leading=16, spaceAfter=3)
BULLET = partial(style, "bullet", leftIndent=10, bulletIndent=0, spaceAfter=2)


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
    paper.register_fonts()
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
    canvas.setFillColor(colors.HexColor(paper.MUTED))
    canvas.drawString(MARGIN + PADDING, 10 * mm, text)
    canvas.drawRightString(A4[0] - MARGIN - PADDING, 10 * mm, str(document.page))
    canvas.restoreState()


def tell(report: Mapping[str, Any], matrix: Path, trends: Path) -> list[Flowable]:
    """Tell the report in the order in which its readers come."""
    pages = (tell_front(report), tell_clients(report["clients"]), tell_appendix(report, matrix, trends),
             tell_card(report["card"]))  # fmt: skip
    return [flowable for page in pages for flowable in (*page, PageBreak())][:-1]


# --- page 1 ------------------------------------------------------------------------------------------------


def tell_front(report: Mapping[str, Any]) -> list[Flowable]:
    """Tell the executive: state and change, figures, trend, trust."""
    told = report["summary"]
    story: list[Flowable] = [
        Paragraph("Attrition risk", TITLE()),
        Paragraph(report["date"], NOTE()),
        say(told["headline"], HEADLINE()),
    ]
    if told["figures"]:
        story += [make_tiles(told["figures"]), Spacer(1, 10)]
    story += tell_trend(report["trends"])
    story += tell_trust(told["trust"])
    story += paper.chapter("What happened last", say(told["news"], BODY()))
    story.append(Spacer(1, 8))
    story.append(Paragraph(summary.READING, NOTE()))
    return story


def make_tiles(figures: list[Mapping[str, Any]]) -> Table:
    """Make the figures that are shown large, side by side."""
    room = WIDTH / len(figures) - 16
    cells = [
        [
            say(one["name"], NOTE(spaceAfter=0), room=room),
            say(one["shown"], LARGE(), room=room),
            say(one["note"], NOTE(), room=room),
        ]
        for one in figures
    ]
    table = Table([cells], colWidths=[WIDTH / len(cells)] * len(cells))
    table.setStyle(
        [
            ("VALIGN", (0, 0), (-1, -1), "TOP"),
            ("BACKGROUND", (0, 0), (-1, -1), colors.HexColor(paper.SHADE)),
            ("LINEABOVE", (0, 0), (-1, 0), 2, colors.HexColor(paper.ACCENT)),
            ("LINEAFTER", (0, 0), (-2, -1), 6, colors.white),
            ("LEFTPADDING", (0, 0), (-1, -1), 8),
        ]
    )
    return table


def tell_trend(trends: Mapping[str, Any]) -> list[Flowable]:
    """Tell how the number of clients at risk has moved, where more than one count is known."""
    chart = sketch.draw_trend(trends, summary.TREND, summary.TREND_NAME)
    if chart is None:
        return []
    return paper.chapter(
        f"{summary.TREND_NAME} over time", paper.draw(chart), Paragraph(summary.TREND_NOTE, NOTE())
    )


def tell_trust(trust: Mapping[str, Any]) -> list[Flowable]:
    """Tell whether the model can be trusted, and why."""
    colour = colors.HexColor(ANSWERS[trust["answer"]])
    said = [Paragraph(trust["answer"].capitalize(), ANSWER(textColor=colour))]
    said += [say(reason, BULLET(), room=WIDTH - 16, bulletText="•") for reason in trust["because"]]
    box = Table([[said]], colWidths=[WIDTH])
    box.setStyle([("LINEBEFORE", (0, 0), (0, -1), 3, colour), ("LEFTPADDING", (0, 0), (-1, -1), 10)])
    return paper.chapter("Can the model be trusted?", box)


# --- the client managers' pages ----------------------------------------------------------------------------


def tell_clients(clients: Mapping[str, Any]) -> list[Flowable]:
    """Tell whom to call first, and why."""
    story: list[Flowable] = [
        Paragraph("Whom to call first", TITLE()),
        say(clients["said"], NOTE()),
    ]
    if not clients["lines"]:
        return story
    header, widths = ["", "client", "risk", "place", "because"], [-0.85, 3, 1.9, -1.3, 5]
    if clients["has_loss"]:
        header.insert(3, "loss")
        widths.insert(3, -1.2)
    rows = [cells_of(line, has_loss=clients["has_loss"]) for line in clients["lines"]]
    return [*story, paper.make_table(header, rows, widths, names=1)]


def cells_of(line: Mapping[str, Any], *, has_loss: bool) -> list[str]:
    """Give the cells of one client."""
    risk = "\n".join(filter(None, (f"{line['probability']} {line['risk']}", line["band"])))
    loss = [line["loss"] or "-"] if has_loss else []
    because = "\n".join(line["reasons"]) or "nothing stands out"
    name = line["name"] if len(line["name"]) <= LONGEST_NAME else f"{line['name'][: LONGEST_NAME - 1]}…"
    return [line["rank"], name, risk, *loss, line["change"], because]


# --- the data scientist's appendix -------------------------------------------------------------------------


def tell_appendix(report: Mapping[str, Any], matrix: Path, trends: Path) -> list[Flowable]:
    """Tell the evidence: scores, verdict, calibration, columns, rows, trends."""
    story: list[Flowable] = [
        Paragraph("Appendix", TITLE()),
        say(report["subtitle"], NOTE()),
    ]
    scores = [say(t, BODY()) for t in report["score_said"]]
    story += paper.chapter("How good is the model?", *scores)
    story += [say(text, WARNING()) for text in report["warnings"]]
    verdict = [say(text, BODY()) for text in report["verdict_said"]]
    story += paper.chapter("Has the world changed?", *verdict)
    picture = Image(str(matrix), width=120 * mm, height=100 * mm)
    story += paper.chapter("Right and wrong on the test data", picture)
    story += tell_calibration(report["calibration"])
    for part in report["tables"]:
        story += paper.tell_table(part)
    story.append(PageBreak())
    said = say(report["trends_said"], NOTE())
    story += paper.chapter("Trends", said, paper.whole_width(trends))
    story += paper.tell_table(report["trends_table"])
    return story


def tell_calibration(calibration: Mapping[str, Any]) -> list[Flowable]:
    """Tell whether probabilities mean what they say."""
    chart = sketch.draw_reliability(calibration["curve"])
    said = say(calibration["said"], NOTE())
    return paper.chapter(
        "Do probabilities mean what they say?", said, *([paper.draw(chart)] if chart else [])
    )


def tell_card(card: list[Mapping[str, Any]]) -> list[Flowable]:
    """Tell what the deployed model is."""
    story: list[Flowable] = [Paragraph("Model card", TITLE())]
    for part in card:
        story += paper.tell_table(part)
    return story
