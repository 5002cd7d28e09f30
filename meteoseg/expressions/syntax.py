"""Syntax of channel expressions: the nodes of a parsed expression, the parser, and the spelling of a node.

Grammar (whitespace is free)::

    sum     := product (("+" | "-") product)*
    product := signed (("*" | "/") signed)*
    signed  := "-" signed | number | channel | "(" sum ")" | call
    call    := "log1p" "(" sum ")" | "sqrt" "(" sum ")" | "gaussian" "(" sum "," sigma_px ")"
             | "gradient" "(" sum ["," sigma_px] ")" | "pc" "(" k "," sum ("," sum)+ ")"
"""

from __future__ import annotations

import math
import re
from dataclasses import dataclass
from difflib import get_close_matches
from typing import NoReturn, assert_never

from meteoseg.elements import ALIASES, ATOMIC_NUMBER, BSE, is_channel_name
from meteoseg.errors import ChannelError

MAX_CHARACTERS = 1000
MAX_TOKENS = 300
MAX_NESTING = 32
MAX_SIGMA_PX = 100.0
DEFAULT_GRADIENT_SIGMA_PX = 1.0
#: Gaussian kernels are cut at this many standard deviations.
TRUNCATE = 4.0

_LARGEST_FLOAT32 = (2 - 2**-23) * 2.0**127
_TOKEN = re.compile(r"\s*(?:(\d+\.?\d*(?:[eE][+-]?\d+)?|\.\d+(?:[eE][+-]?\d+)?)|([A-Za-z]\w*)|([-+*/(),]))", re.ASCII)
_KINDS = ("number", "name", "symbol")
_FUNCTIONS = ("log1p", "sqrt", "gaussian", "gradient", "pc")
_PRECEDENCE = {"+": 1, "-": 1, "*": 2, "/": 2}


@dataclass(frozen=True)
class Number:
    """A constant."""

    value: float


@dataclass(frozen=True)
class Name:
    """A channel."""

    channel: str


@dataclass(frozen=True)
class Negate:
    """Unary minus."""

    operand: Node


@dataclass(frozen=True)
class Binary:
    """``left op right`` with op one of + - * /."""

    op: str
    left: Node
    right: Node


@dataclass(frozen=True)
class Call:
    """A function of one map; `sigma_px` belongs to gaussian and gradient and is 0 otherwise."""

    function: str
    operand: Node
    sigma_px: float = 0.0


@dataclass(frozen=True)
class Component:
    """Principal component `index` (1-based) of pointwise operands, not yet fitted."""

    index: int
    operands: tuple[Node, ...]


Node = Number | Name | Negate | Binary | Call | Component


def canonical_channel(name: str) -> str | None:
    """Return the channel that `name` means (``BSE``, an element symbol or an alias of one, ``PCA1``), or None.

    Examples
    --------
    >>> canonical_channel("Fe"), canonical_channel("Pho"), canonical_channel("fe")
    ('Fe', 'P', None)
    """
    if is_channel_name(name):
        return name
    return ALIASES.get(name.lower())


def parse(text: str) -> Node:
    """Parse one line of text into nodes; nothing is executed.

    Raises
    ------
    ChannelError : a syntax error, an unknown channel or function, or an expression too large.
    """
    if len(text) > MAX_CHARACTERS:
        raise ChannelError(f"Channel expression has {len(text)} characters: at most {MAX_CHARACTERS}.")
    return _Parser(text).parse()


class _Parser:
    """Recursive descent over the tokens of one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.tokens: list[tuple[str, str, int]] = []
        self.next = 0
        self.nesting = 0
        position = 0
        while position < len(text):
            match = _TOKEN.match(text, position)
            if match is None:
                start = position + (text[position] == " ")
                self.fail(f"cannot read {text[start]!r}", start)
            group = match.lastindex or 1
            self.tokens.append((_KINDS[group - 1], match.group(group), match.start(group)))
            position = match.end()
        if len(self.tokens) > MAX_TOKENS:
            raise ChannelError(f"Channel expression of {len(self.tokens)} tokens is too long: at most {MAX_TOKENS}.")
        self.tokens.append(("end", "", len(text)))

    def fail(self, problem: str, position: int | None = None) -> NoReturn:
        where = self.tokens[self.next][2] if position is None else position
        raise ChannelError(
            f"Channel expression '{self.text}': {problem} at position {where + 1}. Allowed: channels (BSE, "
            f"element symbols), numbers, + - * / ( ), {', '.join(_FUNCTIONS)}."
        )

    def parse(self) -> Node:
        node = self.sum()
        if self.tokens[self.next][0] != "end":
            self.fail(f"unexpected {self.tokens[self.next][1]!r}")
        return node

    def take(self, *symbols: str) -> str | None:
        kind, value, _ = self.tokens[self.next]
        if kind == "symbol" and value in symbols:
            self.next += 1
            return value
        return None

    def expect(self, symbol: str) -> None:
        if self.take(symbol) is None:
            found = self.tokens[self.next][1]
            self.fail(f"expected '{symbol}' but " + (f"found {found!r}" if found else "the text ends"))

    def sum(self) -> Node:
        node = self.product()
        while op := self.take("+", "-"):
            node = Binary(op, node, self.product())
        return node

    def product(self) -> Node:
        node = self.signed()
        while op := self.take("*", "/"):
            node = Binary(op, node, self.signed())
        return node

    def signed(self) -> Node:
        self.nesting += 1
        if self.nesting > MAX_NESTING:
            self.fail(f"more than {MAX_NESTING} levels of brackets and signs")
        node = self.negated(self.signed()) if self.take("-") else self.primary()
        self.nesting -= 1
        return node

    def negated(self, node: Node) -> Node:
        return Number(-node.value) if isinstance(node, Number) else Negate(node)

    def primary(self) -> Node:
        if self.take("("):
            node = self.sum()
            self.expect(")")
            return node
        kind, value, _ = self.tokens[self.next]
        if kind == "number":
            return Number(self.number())
        if kind == "name":
            return self.named(value)
        found = f"found {value!r}" if value else "the text ends"
        self.fail(f"expected a channel, a number or '(' but {found}")

    def number(self) -> float:
        """Take a literal number (the part after a minus sign, if any)."""
        kind, value, _ = self.tokens[self.next]
        if kind != "number":
            self.fail("expected a number here" + (f", not {value!r}," if value else ""))
        if float(value) > _LARGEST_FLOAT32:
            self.fail(f"number {value} is beyond the float32 range")
        self.next += 1
        return float(value)

    def named(self, name: str) -> Node:
        if name in _FUNCTIONS:
            self.next += 1
            self.expect("(")
            node = self.component() if name == "pc" else self.call(name)
            self.expect(")")
            return node
        channel = canonical_channel(name)
        if channel is None:
            known = {key.lower(): key for key in (BSE, *ATOMIC_NUMBER, *_FUNCTIONS)}
            close = get_close_matches(name.lower(), known, n=1)
            self.fail(f"unknown name '{name}'" + (f" (did you mean '{known[close[0]]}'?)" if close else ""))
        self.next += 1
        return Name(channel)

    def call(self, function: str) -> Node:
        operand = self.sum()
        if function in ("log1p", "sqrt"):
            return Call(function, operand)
        if function == "gaussian":
            self.expect(",")
        elif not self.take(","):
            return Call(function, operand, DEFAULT_GRADIENT_SIGMA_PX)
        start = self.tokens[self.next][2]
        sigma_px = self.number()
        if not 0 < sigma_px <= MAX_SIGMA_PX:
            self.fail(f"sigma_px is {sigma_px:g}, allowed is more than 0 up to {MAX_SIGMA_PX:g},", start)
        return Call(function, operand, sigma_px)

    def component(self) -> Node:
        start = self.tokens[self.next][2]
        index = self.number()
        operands: list[Node] = []
        while self.take(","):
            operands.append(self.sum())
        if len(operands) < 2:
            self.fail("pc needs a number and at least two channels, such as pc(1, Fe, Mg),", start)
        if index not in range(1, len(operands) + 1):
            self.fail(f"pc number {index:g} of {len(operands)} channels, allowed is 1 to {len(operands)},", start)
        if any(halo_px(operand) or isinstance(n, Component) for operand in operands for n in walk(operand)):
            self.fail("pc takes channels and pointwise terms only (no gaussian, gradient or pc)", start)
        return Component(int(index), tuple(operands))


def children(node: Node) -> tuple[Node, ...]:
    """Return the direct parts of a node."""
    match node:
        case Number() | Name():
            return ()
        case Negate() | Call():
            return (node.operand,)
        case Binary():
            return (node.left, node.right)
        case Component():
            return node.operands
    assert_never(node)


def walk(root: Node) -> list[Node]:
    """List all nodes, left to right, without recursion."""
    found, pending = [], [root]
    while pending:
        node = pending.pop()
        found.append(node)
        pending.extend(reversed(children(node)))
    return found


def halo_px(node: Node) -> int:
    """Pixels around a window that the value of `node` depends on."""
    inner = max(map(halo_px, children(node)), default=0)
    if isinstance(node, Call) and node.sigma_px:
        return inner + math.ceil(TRUNCATE * node.sigma_px) + (node.function == "gradient")
    return inner


def written(node: Node, above: int = 0) -> str:
    """Spell `node`, in brackets where its precedence lies below `above`."""
    match node:
        case Number():
            return f"{node.value:.9g}"
        case Name():
            return node.channel
        case Negate():
            return "-" + written(node.operand, 3)
        case Binary():
            level = _PRECEDENCE[node.op]
            text = f"{written(node.left, level)} {node.op} {written(node.right, level + 1)}"
            return f"({text})" if level < above else text
        case Call():
            sigma = f", {node.sigma_px:.9g}" if node.sigma_px else ""
            return f"{node.function}({written(node.operand)}{sigma})"
        case Component():
            return f"pc({node.index}, {', '.join(written(operand) for operand in node.operands)})"
    assert_never(node)
