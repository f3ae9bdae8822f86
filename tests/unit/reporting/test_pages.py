"""The pages of the report: which blocks stand on them."""

import pytest

from risk.reporting import pages, summary

DAYS = ("2026-01-05T08:00:00Z", "2026-02-05T08:00:00Z")


def make_trends(n_points, *deployed):
    points = [{"at": at, "value": 3.0} for at in DAYS[:n_points]]
    marks = [{"kind": "deployed", "at": at} for at in deployed]
    return {"trends": {"series": {summary.TREND: {"panel": "clients", "points": points}}, "marks": marks}}


@pytest.mark.parametrize(
    ("report", "note"),
    [
        (make_trends(0), ""),
        (make_trends(1, DAYS[0]), ""),
        (make_trends(2, DAYS[0]), ""),
        (make_trends(2, "2026-01-20T08:00:00Z"), summary.TREND_NOTE),
    ],
    ids=["nothing", "one count", "before the line", "on the line"],
)
def test_a_dashed_line_is_explained_where_one_is_drawn(report, note):
    assert pages.describe_trend(report) == note
