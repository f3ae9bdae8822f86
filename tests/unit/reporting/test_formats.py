"""Numbers as people read them."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.reporting import formats


@pytest.mark.parametrize(
    ("value", "shown"),
    [
        (None, "-"),
        (5_000_000, "5,000,000"),
        (4.25, "4.25"),
        (1e10, "1e10"),
        (1.5e-7, "1.5e-7"),
        (-2.5e100, "-2.5e100"),
        (1234.0, "1234"),
    ],
)
def test_a_number_is_shortened(value, shown):
    assert formats.format_cell(value) == shown


@given(st.floats(allow_nan=False, allow_infinity=False) | st.integers(-(2**63), 2**63), st.booleans())
def test_a_cell_fits_its_column(value, signed):
    assert len(formats.format_cell(value, signed=signed)) <= formats.CELL_LETTERS


@pytest.mark.parametrize(
    ("value", "shown"),
    [(0.0, "0"), (0.25, "0.25"), (9_999.0, "9,999"), (12_500.0, "12.5k"), (2e6, "2M"), (3e9, "3G")],
)
def test_a_tick_has_few_letters(value, shown):
    assert formats.format_tick(value) == shown


@pytest.mark.parametrize(("digits", "shown"), [(3, "0.123"), (4, "0.1235")])
def test_a_figure_has_the_digits_that_were_asked_for(digits, shown):
    assert formats.format_figure(0.12345, digits) == shown
