from fractions import Fraction

import pytest
from hypothesis import given
from hypothesis import strategies as st

from creditdesk.credits.amounts import MICRO, Credits, format_credits, parse_credits
from creditdesk.credits.errors import ErrorCode, InvalidInputError

amounts = st.integers(min_value=-(10**40), max_value=10**40)


@given(amounts)
def test_an_amount_survives_being_shown_and_read_again(amount: int) -> None:
    assert parse_credits(format_credits(amount)) == amount


@given(amounts)
def test_an_amount_is_shown_as_the_shortest_decimal_that_names_it(amount: int) -> None:
    shown = format_credits(amount)
    assert Fraction(shown) * MICRO == amount
    assert "." not in shown or not shown.endswith(("0", "."))
    assert "e" not in shown.lower()


@pytest.mark.parametrize(
    ("text", "micro"),
    [
        ("0", 0),
        ("-0", 0),
        ("12.5", 12_500_000),
        ("0.000001", 1),
        ("-0.000001", -1),
        ("007.10", 7_100_000),
        ("9223372036854.775807", 2**63 - 1),
        ("9" * 40, (10**40 - 1) * MICRO),
    ],
)
def test_a_decimal_string_is_read_exactly(text: str, micro: int) -> None:
    assert parse_credits(text) == micro


@pytest.mark.parametrize(
    "text",
    ["", " ", "1 ", " 1", "1\n", "+1", "--1", "-", ".", ".5", "1.", "1.0000001", "1,5", "1e3", "0x10", "NaN",
     "Infinity", "1_000", "\u0663", "\uff11", "9" * 41, "1.2.3", "\u22121", "\u00bd"],
)  # fmt: skip
def test_any_other_text_is_refused(text: str) -> None:
    with pytest.raises(InvalidInputError) as refused:
        parse_credits(text)
    assert refused.value.code is ErrorCode.INVALID_INPUT


@given(st.text())
def test_text_is_read_as_what_it_says_or_refused(text: str) -> None:
    try:
        amount = parse_credits(text)
    except InvalidInputError:
        return
    assert Fraction(text) * MICRO == amount


@pytest.mark.parametrize(
    ("micro", "shown"),
    [(0, "0"), (1, "0.000001"), (-1, "-0.000001"), (12_500_000, "12.5"), (-1_000_000, "-1"), (10 * MICRO, "10")],
)
def test_amounts_are_shown_without_zeros_at_the_end(micro: int, shown: str) -> None:
    assert format_credits(Credits(micro)) == shown
