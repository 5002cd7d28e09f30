"""Conditions on channels: what they mean, and what is said of those that mean nothing."""

from __future__ import annotations

import numpy as np
import pytest

from meteoseg.clusters.conditions import expressions_in, holds, parse_condition
from meteoseg.errors import ChannelError, InputError
from meteoseg.section import Section

FE = np.array([[0, 100, 300], [300, 100, 40]], float)
S = np.array([[0, 50, 10], [60, 0, 5]], float)
MG = np.array([[0, 30, 0], [0, 120, 20]], float)


def where(text: str) -> list[list[bool]]:
    section = Section.from_arrays("A", {"Fe": FE, "S": S, "Mg": MG})
    condition = parse_condition(text)
    stack = section.select(expressions_in(condition))
    return holds(condition, dict(zip(stack.names, stack.read(), strict=True))).tolist()


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("Fe > 200 and S < 20", (FE > 200) & (S < 20)),
        ("Fe>=300 or S>=50", (FE >= 300) | (S >= 50)),
        ("Fe > 200 or S > 20 and Mg > 0", (FE > 200) | ((S > 20) & (MG > 0))),
        ("(Fe > 200 or S > 20) and Mg > 0", ((FE > 200) | (S > 20)) & (MG > 0)),
        ("not Fe > 200", ~(FE > 200)),
        ("not (Fe > 200 and S < 20)", ~((FE > 200) & (S < 20))),
        ("40 < Fe <= 100", (FE > 40) & (FE <= 100)),
        ("(Fe + Mg) / 2 > 90", (FE + MG) / 2 > 90),
        ("Mg / Fe > 0.4", np.divide(MG, FE, out=np.zeros_like(FE), where=FE > 0) > 0.4),
        ("Fe - S > 2 * Mg", FE - S > 2 * MG),
        ("-2 < S", S > -2),
        ("((Fe > 200))", FE > 200),
        ("Fe > 1e2", FE > 100),
    ],
)
def test_conditions_hold_where_they_should(text, expected):
    assert where(text) == expected.tolist()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("Fe", "'Fe' is compared with nothing"),
        ("Fe > ", "it ends too early"),
        ("> 3", "something is missing before '>'"),
        ("Fe = 3", "'=' is no comparison of counts: use < <= > >="),
        ("Fe == 3", "'==' is no comparison"),
        ("(Fe > 3", "a bracket is not closed"),
        ("Fe > 3)", r"unexpected '\)'"),
        ("Fe > 3 and", "it ends too early"),
        ("3 > 2", "two numbers are compared"),
        ("not " * 40 + "Fe > 2", "more than 32 levels"),
        ("Fe > 3" + " " * 1000 + ")", "1007 characters is too long"),
    ],
)
def test_what_does_not_parse_is_said_on_one_line(text, message):
    with pytest.raises(InputError, match=message):
        parse_condition(text)


def test_an_unknown_channel_is_named_with_the_closest():
    with pytest.raises(ChannelError, match="unknown name 'Fee'"):
        parse_condition("Fee > 3")
    with pytest.raises(ChannelError, match="cannot read"):
        parse_condition("__import__('os') > 3")
