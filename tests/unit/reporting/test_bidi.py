"""Letters that run from right to left, join, or need another font."""

import unicodedata

import pytest
from hypothesis import given
from hypothesis import strategies as st

from risk.reporting import bidi

LATIN = st.text(st.characters(codec="latin-1"))


def has_latin(sign):
    return sign.isascii()


@given(LATIN)
def test_a_text_without_such_letters_stays_as_it_is(text):
    assert bidi.to_visual(text) == text


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("שלום", "םולש"),
        ("Acme שלום Ltd", "Acme םולש Ltd"),
        ("שלום 12", "12 םולש"),
        ("שלום Acme Ltd", "Acme Ltd םולש"),
        ("שלום (חדש)", "(שדח) םולש"),
        ("city: תל אביב rather", "city: ביבא לת rather"),
        ("Acme 12 שלום 34", "Acme 12 34 םולש"),
        ("שלום!", "!םולש"),
    ],
    ids=["word", "inside Latin", "number", "Latin inside", "brackets", "two words", "numbers", "last sign"],
)
def test_words_stand_in_the_order_in_which_they_are_read(logical, visual):
    assert bidi.to_visual(logical) == visual


@pytest.mark.parametrize(
    ("logical", "visual"),
    [
        ("פעילות 6, usually 150", "6 תוליעפ, usually 150"),
        ("פעילות: גבוה rather than נמוך", "הובג :תוליעפ rather than ךומנ"),
        ("שלום (חדש)", "(שדח) םולש"),
        ("no name", "no name"),
    ],
    ids=["begins with a name", "and ends with one", "a name alone", "Latin"],
)
def test_a_sentence_is_read_from_left_to_right_whatever_name_it_begins_with(logical, visual):
    assert bidi.to_visual(logical, bidi.find_direction(logical, sentence=True)) == visual


def test_a_line_keeps_the_direction_of_its_text():
    assert bidi.to_visual("Acme Ltd.", 1) == ".Acme Ltd"
    assert bidi.to_visual("Acme Ltd.", 0) == "Acme Ltd."


@pytest.mark.parametrize(
    ("word", "places"),
    [
        ("بيت", ["INITIAL FORM", "MEDIAL FORM", "FINAL FORM"]),
        ("دار", ["ISOLATED FORM", "ISOLATED FORM", "ISOLATED FORM"]),
        ("باب", ["INITIAL FORM", "FINAL FORM", "ISOLATED FORM"]),
    ],
    ids=["all joined", "none joins onward", "alef parts"],
)
def test_arabic_letters_have_the_form_of_their_place(word, places):
    visual = bidi.to_visual(word)
    assert [unicodedata.name(sign).rsplit(" ", 2)[-2:] for sign in reversed(visual)] == [
        place.split() for place in places
    ]


def test_lam_and_alef_are_one_sign():
    assert len(bidi.to_visual("سلام")) == 3


@given(st.text(st.sampled_from("ابتثلمنورد")))
def test_joined_letters_are_the_same_letters(word):
    joined = unicodedata.normalize("NFKC", "".join(reversed(bidi.to_visual(word))))
    assert joined == word


@given(st.text(st.sampled_from("אבגדהו abc 12 (),.-")))
def test_no_sign_is_lost_or_made(text):
    mirrored = str.maketrans("()", "((")
    assert sorted(bidi.to_visual(text).translate(mirrored)) == sorted(text.translate(mirrored))


def test_lines_are_broken_before_they_are_turned():
    assert bidi.break_lines("aa bb cc dd", lambda line: len(line) <= 5) == ["aa bb", "cc dd"]
    assert bidi.break_lines("aaaaaaaa b", lambda line: len(line) <= 5) == ["aaaaaaaa", "b"]


def test_signs_of_east_asia_have_fonts_of_their_own_and_unknown_ones_a_code():
    found = list(bidi.split_by_font("a客户b삼성ไ", has_latin))
    assert found == [
        (None, "a"),
        ("STSong-Light", "客户"),
        (None, "b"),
        ("HYSMyeongJo-Medium", "삼성"),
        (None, "\\u0e44"),
    ]
