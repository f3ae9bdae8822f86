"""report.html: everything in one small file, nothing from elsewhere, and no text of data is markup."""

import html.parser
import itertools
import re

import pytest
from report_kit import LISTED, REASONS, make_line, make_reported

from risk.reporting import summary, tables
from risk.reporting.html import CSS, MOST_BYTES, render_report

FETCHING = ("src", "href", "data", "action", "poster", "srcset", "xlink:href", "formaction")


@pytest.fixture(scope="module")
def report(tmp_path_factory):
    return make_reported(tmp_path_factory.mktemp("reported"))


def with_clients(report, *lines, **changes):
    listed = LISTED | {"clients": list(lines)} | changes
    told = {
        **report["summary"],
        "headline": summary.describe_headline(listed),
        "figures": summary.make_figures(listed),
    }
    return report | {"summary": told, "clients": tables.describe_clients(listed)}


class Reader(html.parser.HTMLParser):
    """Reads elements, and complains of one that is not closed by its own tag."""

    EMPTY = ("meta", "link", "input", "br")

    def __init__(self, text):
        super().__init__()
        self.elements, self.open, self.text = [], [], []
        self.feed(text)
        assert not self.open

    def handle_starttag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))
        if tag not in self.EMPTY:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.elements.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        self.text.append(data)


def test_nothing_comes_from_elsewhere_and_nothing_runs(report):
    text = render_report(with_clients(report, make_line(1)))
    page = Reader(text)
    assert "script" not in {tag for tag, _ in page.elements}
    for tag, attributes in page.elements:
        assert not [name for name in attributes if name.startswith("on")], tag
        for name in FETCHING:
            assert attributes.get(name, "#").startswith(("#", "data:,")), (tag, attributes)
    assert (
        "url(" not in text and "@import" not in text and "http" not in text.lower().replace("http-equiv", "")
    )


def test_texts_of_data_are_no_markup(report):
    line = make_line(1, '<script>alert("x")</script>', reasons=["<b>bold</b> & 'quoted'"])
    page = Reader(render_report(with_clients(report, line)))
    assert not {"script", "b"} & {tag for tag, _ in page.elements}
    assert '<script>alert("x")</script>' in page.text and "<b>bold</b> & 'quoted'" in page.text


def test_names_stand_alone_so_that_their_direction_is_their_own(report):
    text = render_report(with_clients(report, make_line(1, "שלום (12)")))
    assert "<bdi>שלום (12)</bdi>" in text


def test_a_reason_is_read_from_left_to_right_whatever_name_it_begins_with(report):
    text = render_report(with_clients(report, make_line(1, reasons=["פעילות 6, usually 150"])))
    assert '<li dir="ltr">פעילות 6, usually 150</li>' in text


def test_every_reason_and_figure_is_shown(report):
    told = with_clients(report, make_line(1), make_line(2, reasons=[]))
    text = " ".join("".join(Reader(render_report(told)).text).split())
    for wanted in (*REASONS, "nothing stands out", "119", "14.0 %", "1,234,568", "20 to 99 %"):
        assert wanted in text, wanted


@pytest.mark.parametrize("n", [0, 5, 1000], ids=str)
def test_it_stays_under_300_kb_however_long_list_and_names_are(report, n):
    lines = [make_line(k, "x" * 255, reasons=["y" * 200] * 3) for k in range(1, n + 1)]
    text = render_report(with_clients(report, *lines))
    assert len(text.encode()) < MOST_BYTES
    shown = text.count('<li>\n<span class="rank">')
    assert shown == n if n <= 5 else 5 <= shown < n
    assert ("Shown here:" in text) == (shown < n)


def test_wide_tables_are_cut_and_say_by_how_much(report):
    part = {"title": "T", "said": "", "header": ["a"], "widths": [1], "rows": [["z" * 300]] * 2000}
    text = render_report(report | {"tables": [part]})
    shown = text.count("z" * 300)
    assert 5 <= shown < 2000 and f"and {2000 - shown} more" in text
    assert len(text.encode()) < MOST_BYTES


def test_every_heading_goes_down_by_one_and_every_id_is_there_once(report):
    page = Reader(render_report(with_clients(report, make_line(1))))
    levels = [int(tag[1]) for tag, _ in page.elements if re.fullmatch("h[1-6]", tag)]
    assert levels[0] == 1 and all(b - a <= 1 for a, b in itertools.pairwise(levels))
    ids = [attributes["id"] for _, attributes in page.elements if "id" in attributes]
    assert len(ids) == len(set(ids))
    named = [a[n] for _, a in page.elements for n in ("aria-labelledby", "for") if n in a]
    assert set(named) <= set(ids)


def luminance(colour):
    parts = [int(colour[k : k + 2], 16) / 255 for k in (1, 3, 5)]
    linear = [c / 12.92 if c <= 0.04045 else ((c + 0.055) / 1.055) ** 2.4 for c in parts]
    return 0.2126 * linear[0] + 0.7152 * linear[1] + 0.0722 * linear[2]


def test_every_colour_of_text_has_the_contrast_of_wcag_aa_by_day_by_night_and_on_paper():
    css = CSS.read_text()
    themes = [
        dict(re.findall(r"--([a-z-]+): (#[0-9a-f]{6})", block))
        for block in re.findall(r":root \{(.*?)\}", css, re.S)
    ]
    assert len(themes) == 3
    for theme in themes:
        pairs = [
            (ink, ground)
            for ink in ("ink", "muted", "accent", "yes", "no", "unknown")
            for ground in ("page", "shade")
        ]
        pairs += [("on-accent", "accent")] if "on-accent" in theme else []
        for ink, ground in pairs:
            light, dark = sorted((luminance(theme[ink]), luminance(theme[ground])), reverse=True)
            assert (light + 0.05) / (dark + 0.05) >= 4.5, (ink, ground, theme)
