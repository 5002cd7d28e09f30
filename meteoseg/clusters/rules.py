"""Classes by rules: an ordered list of names and conditions in a TOML file."""

from __future__ import annotations

import re
import tomllib
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from meteoseg.clusters.conditions import Condition, expressions_in, holds, parse_condition
from meteoseg.errors import ChannelError, InputError
from meteoseg.grid import Window
from meteoseg.section import Section, Stack

_COLOR = re.compile(r"#[0-9a-fA-F]{6}")


@dataclass(frozen=True)
class Rules:
    """Conditions bound to a section; the first that holds names the pixel."""

    conditions: Mapping[str, Condition]
    stack: Stack
    description: str
    colors: Mapping[str, str]
    notes: tuple[str, ...] = ()

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the classes, in the order of the rules."""
        return tuple(self.conditions)

    def draw(self, window: Window) -> NDArray[np.uint8]:
        """Return the class of each pixel (H, W) of a window: 1 + index of its name, 0 where no rule holds."""
        values = dict(zip(self.stack.names, self.stack.read(window), strict=True))
        found = np.zeros(window.shape, np.uint8)
        for number, condition in enumerate(self.conditions.values(), start=1):
            found[(found == 0) & holds(condition, values)] = number
        return found


def read_rules(path: Path, section: Section) -> Rules:
    """Read a file of rules and bind them to the channels of a section.

    The file lists names and conditions in order, and colours where wanted::

        [rules]
        kamacite = "Fe > 200 and S < 20 and Ni / Fe < 0.1"
        olivine = "Mg / Si > 1.2"

        [colors]
        kamacite = "#e8e8e8"

    Raises
    ------
    InputError : no such file, no TOML, unknown tables, or a condition that does not parse.
    ChannelError : a condition names a channel that the section lacks.
    """
    try:
        data = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise InputError(f"Rules {path} do not exist: name a TOML file with --rules.") from error
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise InputError(f"Rules {path} are not valid TOML: {error}. Mend that line.") from error
    rules, colors = data.get("rules"), data.get("colors", {})
    if set(data) - {"rules", "colors"} or not isinstance(rules, dict) or not rules:
        raise InputError(f'Rules {path} are not understood: under [rules] write NAME = "condition", one per line.')
    _check_colors(path, colors, rules)
    conditions = {name: _condition(path, name, text) for name, text in rules.items()}
    texts = dict.fromkeys(text for condition in conditions.values() for text in expressions_in(condition))
    try:
        stack = section.select(tuple(texts))
    except ChannelError as error:
        raise ChannelError(f"Rules {path}: {error}") from error
    return Rules(conditions, stack, f"rules ({path.name})", colors)


def _condition(path: Path, name: str, text: object) -> Condition:
    if not isinstance(text, str):
        raise InputError(f"Rules {path}: '{name}' is {text!r}, not a condition such as \"Fe > 200\".")
    try:
        return parse_condition(text)
    except (InputError, ChannelError) as error:
        raise type(error)(f"Rules {path}, {name}: {error}") from error


def _check_colors(path: Path, colors: object, rules: Mapping[str, object]) -> None:
    if not isinstance(colors, dict) or not all(isinstance(c, str) and _COLOR.fullmatch(c) for c in colors.values()):
        raise InputError(f'Rules {path}: under [colors] write NAME = "#rrggbb", one per line.')
    unknown = sorted(set(colors) - set(rules))
    if unknown:
        raise InputError(f"Rules {path}: [colors] names '{unknown[0]}', for which there is no rule.")
