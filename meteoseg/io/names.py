"""Recognise the channel, the pixel size and the role of a file from its name (or a page or header name)."""

from __future__ import annotations

import re
import unicodedata
from dataclasses import dataclass

from meteoseg.elements import (
    ALIASES,
    ATOMIC_NUMBER,
    ATOMIC_WEIGHT,
    BSE,
    CANONICAL_CHANNELS,
    is_channel_name,
    is_component,
)
from meteoseg.errors import UnknownNameError

#: Oxides met as file names of quantified maps: element, its atoms and the oxygens of the formula.
OXIDES: dict[str, tuple[str, int, int]] = {
    "SiO2": ("Si", 1, 2), "TiO2": ("Ti", 1, 2), "Al2O3": ("Al", 2, 3), "Cr2O3": ("Cr", 2, 3),
    "V2O3": ("V", 2, 3), "Fe2O3": ("Fe", 2, 3), "FeO": ("Fe", 1, 1), "MnO": ("Mn", 1, 1), "MgO": ("Mg", 1, 1),
    "CaO": ("Ca", 1, 1), "NiO": ("Ni", 1, 1), "CoO": ("Co", 1, 1), "ZnO": ("Zn", 1, 1), "BaO": ("Ba", 1, 1),
    "SrO": ("Sr", 1, 1), "Na2O": ("Na", 2, 1), "K2O": ("K", 2, 1), "P2O5": ("P", 2, 5), "SO3": ("S", 1, 3),
    "ZrO2": ("Zr", 1, 2),
}  # fmt: skip

_OXIDE_OF = {spelling: formula for formula in OXIDES for spelling in (formula, formula.upper())}
_OXIDE = re.compile(
    r"(?<![A-Za-z0-9])(" + "|".join(sorted(_OXIDE_OF, key=len, reverse=True)) + r")(?:[Tt]|[Tt]ot)?(?![A-Za-z0-9])"
)
_TOKEN = re.compile(r"[^\W\d_]+")
_XRAY_LINE = re.compile(r"([KLM])(?:[ab]|α|β|alpha|beta)?", re.IGNORECASE)
_WEIGHT_PERCENT = re.compile(r"wt\s*[_.-]?\s*(?:%|pct|perc|percent)|mass\s*%", re.IGNORECASE)
_PIXEL_SIZE = re.compile(r"(?<![A-Za-z0-9.])(\d+(?:[p.]\d+)?)\s*[uµμ]m[ _-]?(?:per|p)[ _-]?px(?![A-Za-z0-9])")
#: Words of a file name that say nothing about the channel and may follow its symbol.
_DECORATION = frozenset(
    {
        "masked",
        "map",
        "maps",
        "image",
        "img",
        "element",
        "elements",
        "mosaic",
        "series",
        "wt",
        "pct",
        "mass",
        "counts",
        "count",
        "cts",
        "cps",
        "net",
        "raw",
        "quant",
        "kev",
        "kv",
        "bt",
        "bit",
        "px",
        "um",
        "umppx",
        "crop",
        "cropped",
        "stitched",
        "montage",
        "copy",
        "site",
        "tif",
        "tiff",
        "eds",
        "wds",
    }
)
_NO_CHANNEL = frozenset(
    {
        "label",
        "labels",
        "truth",
        "object",
        "objects",
        "thumbnail",
        "thumb",
        "preview",
        "overlay",
        "overlays",
        "legend",
        "phases",
        "components",
        "chondrules",
        "checkerboard",
        "displacement",
    }
)


@dataclass(frozen=True)
class Recognition:
    """What a name says: the channel `name`, the `reason`, and what else was read from it.

    `unit` is ``wt%`` where the name says so, else None; `oxide` is the formula of an oxide map; `xray_line`
    is K, L or M where stated; `masked` marks a ``_masked`` variant of a map.
    """

    name: str
    reason: str
    unit: str | None = None
    oxide: str | None = None
    xray_line: str | None = None
    masked: bool = False


def recognise(text: str, *, where: str = "file name") -> Recognition | None:
    """Find the channel that a file, page or header name stands for, or None.

    An element must be a whole token (letters between non-letters). A symbol followed by an X-ray line
    (``Mg Kα1_2``, ``Fe-KA``, ``Al K series``) wins, then an oxide formula, then the last word of the name,
    then the last two-letter symbol of a commonly mapped element before it.

    Examples
    --------
    >>> recognise("obj1_32bt_Sul").name, recognise("Mg Kα1_2").name, recognise("K K series").name
    ('S', 'Mg', 'K')
    >>> recognise("PCA1").name
    'PCA1'
    >>> recognise("SiO2").oxide, recognise("Al Wt%").unit
    ('SiO2', 'wt%')
    >>> print(recognise("Semarkona thin section"))
    None
    """
    text = unicodedata.normalize("NFKC", text)
    if is_component(text):
        return Recognition(text, f"component image '{text}' in the {where}")
    matches = list(_TOKEN.finditer(text))
    found = _by_xray_line(text, matches, where) or _by_oxide(text, where) or _by_word(text, matches, where)
    if found is None:
        return None
    unit = "wt%" if found.oxide or _WEIGHT_PERCENT.search(text) else None
    masked = any(match.group().lower() == "masked" for match in matches)
    return Recognition(found.name, found.reason, unit, found.oxide, found.xray_line, masked)


def _by_xray_line(text: str, matches: list[re.Match[str]], where: str) -> Recognition | None:
    found = None
    previous: re.Match[str] | None = None
    for match in matches:
        line = _XRAY_LINE.fullmatch(match.group())
        name = _symbol(previous, text) if previous is not None and line else None
        if name and line:
            stated = text[previous.start() : match.end()] if previous else ""
            found = Recognition(
                name, f"'{stated}' (element and X-ray line) in the {where}", None, None, line[1].upper()
            )
            previous = None
        else:
            previous = match
    return found


def _by_oxide(text: str, where: str) -> Recognition | None:
    matches = _OXIDE.findall(text)
    if not matches:
        return None
    formula = _OXIDE_OF[matches[-1]]
    return Recognition(OXIDES[formula][0], f"oxide '{formula}' in the {where}", "wt%", formula)


def _by_word(text: str, matches: list[re.Match[str]], where: str) -> Recognition | None:
    words = [match for match in matches if match.group().lower() not in _DECORATION]
    if not words:
        return None
    last = words[-1].group()
    name = _symbol(words[-1], text)
    if name is None and len(words) == 1 and last.islower():
        name = last.capitalize() if last.capitalize() in ATOMIC_NUMBER else None
    if name:
        return Recognition(name, f"'{last}' is the last word of the {where}")
    for match in reversed(words[:-1]):
        word = match.group()
        if (len(word) == 2 and word in CANONICAL_CHANNELS) or word.lower() in ("bse", "bei", "compo"):
            return Recognition(ALIASES.get(word.lower(), word), f"'{word}' is a word of the {where}")
    return None


def _symbol(match: re.Match[str], text: str) -> str | None:
    """Channel of one token: an alias, an exact symbol, or a two-letter symbol in capitals (``FE``).

    Single letters and capitals beside a digit (``H5``, ``CO3``, ``P1``) name groups or samples, not elements.
    """
    word = match.group()
    if word.lower() in ALIASES:
        return ALIASES[word.lower()]
    before, after = text[: match.start()][-1:], text[match.end() :][:1]
    beside_digit = after.isdigit() or before.isdigit()
    if word in ATOMIC_NUMBER:
        return None if len(word) == 1 and beside_digit else word
    if len(word) == 2 and word.isupper() and word.capitalize() in ATOMIC_NUMBER:
        return None if beside_digit else word.capitalize()
    return None


def oxide_to_element_factor(formula: str) -> float:
    """Return the weight fraction of the cation in an oxide, from atomic weights (IUPAC 2021, abridged).

    Examples
    --------
    >>> round(oxide_to_element_factor("SiO2"), 4), round(oxide_to_element_factor("Al2O3"), 4)
    (0.4674, 0.5293)
    """
    if formula not in OXIDES:
        raise UnknownNameError.of("oxide", formula, OXIDES)
    element, atoms, oxygens = OXIDES[formula]
    cation = atoms * ATOMIC_WEIGHT[element]
    return cation / (cation + oxygens * ATOMIC_WEIGHT["O"])


def pixel_size_from_name(text: str) -> float | None:
    """Read a token such as ``1umppx``, ``0p5umppx`` or ``2.5umppx`` as micrometres per pixel.

    Examples
    --------
    >>> pixel_size_from_name("sem-chm8-20170814-1umppx-32bt_32bt_Al"), pixel_size_from_name("a_0p5umppx")
    (1.0, 0.5)
    """
    match = _PIXEL_SIZE.search(unicodedata.normalize("NFC", text))
    size = float(match.group(1).replace("p", ".")) if match else 0.0
    return size if 0 < size < 1000 else None


def is_mask_name(stem: str) -> bool:
    """Tell whether a file is a section mask (``*mask*``, but not the ``_masked`` variant of a map)."""
    return "mask" in stem.lower().replace("masked", "")


def is_label_name(stem: str) -> bool:
    """Tell whether a name is that of labels, truth or a picture for the eye rather than a map."""
    words = [match.group().lower() for match in _TOKEN.finditer(stem)]
    words = [word for word in words if word not in _DECORATION]
    if not words or _NO_CHANNEL.isdisjoint(words):
        return False
    return words[-1] in _NO_CHANNEL or recognise(stem) is None


def check_channel_name(name: str) -> str:
    """Return `name` if it is ``BSE``, an element symbol, or a component image such as ``PCA1``.

    Raises
    ------
    UnknownNameError : it is none of them; the message has the closest one.
    """
    if not is_channel_name(name):
        raise UnknownNameError.of("channel", name, [BSE, *ATOMIC_NUMBER])
    return name
