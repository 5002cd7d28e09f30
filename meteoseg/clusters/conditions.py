"""Conditions on channels, such as ``Fe > 200 and S < 20`` or ``Mg / Si > 1.2``: parsed without `eval`."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import assert_never

import numpy as np
from numpy.typing import NDArray

from meteoseg.errors import ChannelError, InputError
from meteoseg.expressions import parse_expression

MAX_CHARACTERS = 1000
MAX_NESTING = 32
_TOKEN = re.compile(r"\s*(<=|>=|==|!=|<|>|\(|\)|\b(?:and|or|not)\b|[^\s<>=!()]+|[=!])")
_OPERATORS = ("<", "<=", ">", ">=")
_WORDS = ("and", "or", "not")


@dataclass(frozen=True)
class Compare:
    """``expression operator 0``; `expression` is the difference of the two sides."""

    expression: str
    operator: str


@dataclass(frozen=True)
class Every:
    """All parts hold."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Some:
    """At least one part holds."""

    parts: tuple[Condition, ...]


@dataclass(frozen=True)
class Never:
    """The part does not hold."""

    part: Condition


Condition = Compare | Every | Some | Never


def parse_condition(text: str) -> Condition:
    """Parse a condition: comparisons (< <= > >=, also chained) of channel expressions, and, or, not, brackets.

    Raises
    ------
    InputError : a syntax error in the condition.
    ChannelError : a syntax error in an expression of it, or a name that is no channel.

    Examples
    --------
    >>> parse_condition("20 < Fe <= 40")
    Every(parts=(Compare(expression='(20) - (Fe)', operator='<'), Compare(expression='(Fe) - (40)', operator='<=')))
    """
    if len(text) > MAX_CHARACTERS:
        raise InputError(f"Condition of {len(text)} characters is too long: at most {MAX_CHARACTERS}.")
    return _Reader(text).read()


def expressions_in(condition: Condition) -> list[str]:
    """List the expressions that a condition needs, without repeats."""
    match condition:
        case Compare():
            return [condition.expression]
        case Never():
            return expressions_in(condition.part)
        case Every() | Some():
            return list(dict.fromkeys(text for part in condition.parts for text in expressions_in(part)))
    assert_never(condition)


def holds(condition: Condition, values: Mapping[str, NDArray[np.float32]]) -> NDArray[np.bool_]:
    """Tell where a condition holds; `values` are its evaluated expressions (H, W)."""
    match condition:
        case Compare():
            plane = values[condition.expression]
            compare = {"<": np.less, "<=": np.less_equal, ">": np.greater, ">=": np.greater_equal}
            return np.asarray(compare[condition.operator](plane, 0), np.bool_)
        case Never():
            return ~holds(condition.part, values)
        case Every():
            return np.asarray(np.logical_and.reduce([holds(part, values) for part in condition.parts]))
        case Some():
            return np.asarray(np.logical_or.reduce([holds(part, values) for part in condition.parts]))
    assert_never(condition)


class _Reader:
    """Recursive descent over the words, brackets and operators of one condition."""

    def __init__(self, text: str) -> None:
        self.text = " ".join(text.split())
        self.tokens = _TOKEN.findall(self.text)
        self.next = 0
        self.nesting = 0

    def fail(self, problem: str) -> InputError:
        return InputError(
            f"Condition '{self.text}': {problem}. Write comparisons (< <= > >=) of channels or ratios, joined by and, "
            "or, not, such as Fe > 200 and S / Fe < 0.1."
        )

    @property
    def token(self) -> str:
        return self.tokens[self.next] if self.next < len(self.tokens) else ""

    def read(self) -> Condition:
        condition = self.alternatives()
        if self.token:
            raise self.fail(f"unexpected '{self.token}'")
        return condition

    def alternatives(self) -> Condition:
        parts = [self.conjunction()]
        while self.token == "or":
            self.next += 1
            parts.append(self.conjunction())
        return parts[0] if len(parts) == 1 else Some(tuple(parts))

    def conjunction(self) -> Condition:
        parts = [self.term()]
        while self.token == "and":
            self.next += 1
            parts.append(self.term())
        return parts[0] if len(parts) == 1 else Every(tuple(parts))

    def term(self) -> Condition:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            raise self.fail(f"more than {MAX_NESTING} levels of brackets")
        try:
            if self.token == "not":
                self.next += 1
                return Never(self.term())
            if self.token == "(" and self.opens_condition():
                self.next += 1
                inside = self.alternatives()
                self.next += 1  # its closing bracket, which `opens_condition` found
                return inside
            return self.comparison()
        finally:
            self.nesting -= 1

    def opens_condition(self) -> bool:
        """Whether the bracket here holds a condition (with a comparison in it) and not a part of an expression."""
        depth = 0
        for place in range(self.next, len(self.tokens)):
            depth += {"(": 1, ")": -1}.get(self.tokens[place], 0)
            if depth == 0:
                inside = self.tokens[self.next : place]
                return bool(set(inside) & {*_OPERATORS, *_WORDS, "==", "!=", "="})
        raise self.fail("a bracket is not closed")

    def comparison(self) -> Condition:
        sides, operators = [self.side()], []
        while self.token in _OPERATORS:
            operators.append(self.token)
            self.next += 1
            sides.append(self.side())
        if self.token in ("==", "!=", "=", "!"):
            raise self.fail(f"'{self.token}' is no comparison of counts: use < <= > >=")
        if not operators:
            raise self.fail(f"'{sides[0]}' is compared with nothing")
        pairs = zip(sides, operators, sides[1:], strict=False)
        compared = [Compare(self.checked(left, right), operator) for left, operator, right in pairs]
        return compared[0] if len(compared) == 1 else Every(tuple(compared))

    def side(self) -> str:
        """Take the text of an expression: up to a comparison, a word or the bracket that closes what is around."""
        depth, taken = 0, []
        while self.token and self.token not in _WORDS and not (depth == 0 and self.token == ")"):
            if depth == 0 and self.token in (*_OPERATORS, "==", "!=", "=", "!"):
                break
            depth += {"(": 1, ")": -1}.get(self.token, 0)
            taken.append(self.token)
            self.next += 1
        if not taken:
            raise self.fail(f"something is missing before '{self.token}'" if self.token else "it ends too early")
        return " ".join(taken)

    def checked(self, left: str, right: str) -> str:
        """Return the difference of two sides after checking each, so that a message shows what was written."""
        for side in (left, right):
            if not _is_number(side):
                parse_expression(side)
        if _is_number(left) and _is_number(right):
            raise self.fail("two numbers are compared")
        return f"({left}) - ({right})"


def _is_number(text: str) -> bool:
    try:
        parse_expression(f"BSE + ({text}) * 0")
        float(text.replace(" ", ""))
    except (ChannelError, ValueError):
        return False
    return True
