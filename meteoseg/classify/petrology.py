"""Petrologic type and terrestrial weathering from what a section shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

from meteoseg.classify.groups import Group, rules
from meteoseg.classify.measurements import Measured, Measurements

UNKNOWN = "unknown"


def petrologic_type(candidates: Sequence[Group], measurements: Measurements) -> tuple[str, list[str]]:
    """Return the petrologic type and remarks for the groups that come into question.

    Types 3 to 6 are those that no evidence (see `type_evidence`) excludes, a range such as ``5-6`` where it does not
    part them; where it contradicts itself, the range over all that is claimed. Subtypes of type 3 are given for
    ordinary chondrites only, 3.0 to 3.2 only with Cr2O3 of ferroan olivine. Without any evidence the type is the one
    all groups in question share (named as such), or their range.

    Source: Van Schmus & Wood 1967; Sears et al. 1980; Jacquet et al. 2024; see ``rules/classification.toml``.
    """
    if not candidates:
        return UNKNOWN, []
    usual = {group.usual_type for group in candidates}
    names = "/".join(group.name for group in candidates)
    if usual != {"3-6"}:
        label = usual.pop() if len(usual) == 1 else UNKNOWN
        return label, [f"The type is the usual one of {names}, not observed here."] if label != UNKNOWN else []
    evidence = type_evidence(candidates, measurements)
    allowed, disagree = _combined(evidence)
    label = _range(allowed)
    if "iron" in {item.kind for item in evidence}:
        ordinary = "ordinary" in {group.class_name for group in candidates}
        label = _subtyped(allowed, measurements.values, ordinary=ordinary) or label
    return label, _remarks(candidates, evidence, allowed, disagree)


def _remarks(
    candidates: Sequence[Group], evidence: Sequence[TypeEvidence], allowed: set[int], disagree: bool
) -> list[str]:
    remarks = []
    if {group.class_name for group in candidates} & set(rules()["type"]["no_pmd_classes"]):
        remarks.append("Iron in olivine does not tell the type of enstatite chondrites.")
    elif "iron" not in {item.kind for item in evidence} and 3 in allowed:
        remarks.append("Type 3 or 4-6 is open: it needs the scatter of Fa in olivine (Fa_pmd).")
    if disagree:
        remarks.append("The evidence for the type disagrees (a breccia, shock, or a wrong map?): a range is given.")
    return remarks


@dataclass(frozen=True)
class TypeEvidence:
    """What one measurement says about types 3 to 6: which of them it leaves, and in words.

    `name` is that of the measurement, `kind` iron, feldspar or outlines.
    """

    name: str
    kind: str
    types: tuple[int, ...]
    text: str

    @property
    def excluded(self) -> tuple[int, ...]:
        """Types that it speaks against."""
        return tuple(number for number in _TYPES if number not in self.types)

    @property
    def words(self) -> str:
        """The measurement, and what it speaks for and against."""
        if not self.excluded:
            return f"{self.text}: leaves types 3 to 6 open"
        return f"{self.text}: for type {_listed(self.types)}, against {_listed(self.excluded)}"


def type_evidence(candidates: Sequence[Group], measurements: Measurements) -> tuple[TypeEvidence, ...]:
    """Return what each measurement says about types 3 to 6, for groups that go from 3 to 6.

    Iron: types 3 and 4-6 are parted by the percent mean deviation of Fa in olivine (``Fa_pmd``: 100 / n times the sum
    of abs(Fa_i - mean Fa) / mean Fa), or by the mean Fa of type I over that of type II olivine (``Fa_ratio``).
    Feldspar: 4, 5 and 6 are parted by the common size of the largest secondary grains, with its 95 % interval; a limit
    that it stays under excludes only. Outlines: chondrules that stand out sharply are not those of type 6.
    """
    if {group.usual_type for group in candidates} != {"3-6"}:
        return ()
    values = measurements.values
    found: list[TypeEvidence | None] = []
    if not {group.class_name for group in candidates} & set(rules()["type"]["no_pmd_classes"]):
        found += [_from_scatter(values), _from_fa_ratio(values)]
    found += [_from_feldspar(values), _from_feldspar_limit(values), _from_outlines(values)]
    return tuple(item for item in found if item is not None)


_TYPES = (3, 4, 5, 6)


def _combined(evidence: Sequence[TypeEvidence]) -> tuple[set[int], bool]:
    """Return the types that are left, and whether the evidence contradicts itself."""
    left = set(_TYPES)
    for item in evidence:
        left &= set(item.types)
    if left:
        return left, False
    claimed = [set(item.types) for item in evidence if item.excluded]
    every = set().union(*claimed)
    return set(range(min(every), max(every) + 1)), True


def _range(types: set[int]) -> str:
    return str(min(types)) if len(types) == 1 else f"{min(types)}-{max(types)}"


def _listed(types: Sequence[int]) -> str:
    return ", ".join(str(number) for number in types)


def _interval(measured: Measured) -> tuple[float, float]:
    return measured.value - 1.96 * measured.sd, measured.value + 1.96 * measured.sd


def _from_scatter(values: Mapping[str, Measured]) -> TypeEvidence | None:
    if "Fa_pmd" not in values:
        return None
    cut = float(rules()["type"]["equilibrated_pmd_pct"])
    low, high = _interval(values["Fa_pmd"])
    types = (3,) if low >= cut else (4, 5, 6) if high < cut else _TYPES
    return TypeEvidence("Fa_pmd", "iron", types, f"Fa of olivine scatters by {values['Fa_pmd'].value:.3g} %")


def _from_fa_ratio(values: Mapping[str, Measured]) -> TypeEvidence | None:
    if "Fa_ratio" not in values:
        return None
    ratio = values["Fa_ratio"].value
    types = (3,) if ratio < _EVEN_RATIO else _TYPES
    return TypeEvidence("Fa_ratio", "iron", types, f"Fa of type I is {ratio:.2g} of that of type II")


def _from_feldspar(values: Mapping[str, Measured]) -> TypeEvidence | None:
    if "feldspar_size" not in values:
        return None
    low, high = _interval(values["feldspar_size"])
    cuts = {int(name): float(least) for name, least in rules()["type"]["feldspar"]["cuts"]}
    upper = {number: cuts.get(number + 1, float("inf")) for number in cuts}
    types = tuple(sorted(number for number in cuts if high >= cuts[number] and low < upper[number]))
    text = f"secondary feldspar of {values['feldspar_size'].value:.3g} um ({max(low, 0):.3g} to {high:.3g})"
    return TypeEvidence("feldspar_size", "feldspar", types, text)


def _from_feldspar_limit(values: Mapping[str, Measured]) -> TypeEvidence | None:
    if "feldspar_size_limit" not in values:
        return None
    limit_um = values["feldspar_size_limit"].value
    cuts = {int(name): float(least) for name, least in rules()["type"]["feldspar"]["cuts"]}
    types = tuple(number for number in _TYPES if cuts.get(number, 0.0) < limit_um)
    return TypeEvidence("feldspar_size_limit", "feldspar", types, f"secondary feldspar under {limit_um:.3g} um")


def _from_outlines(values: Mapping[str, Measured]) -> TypeEvidence | None:
    if "chondrule_contrast" not in values:
        return None
    cut = float(rules()["type"]["delineation"]["cut"])
    # The other way round it does not hold: labels of networks blur the contrast of type 3 too.
    types = (3, 4, 5) if _interval(values["chondrule_contrast"])[0] > cut else _TYPES
    text = f"contrast of minerals across the outlines of chondrules {values['chondrule_contrast'].value:.2f}"
    return TypeEvidence("chondrule_contrast", "outlines", types, text)


#: Ratio of mean Fa from which on olivine of both types counts as equal.
_EVEN_RATIO = 0.95


def _subtyped(allowed: set[int], values: Mapping[str, Measured], *, ordinary: bool) -> str:
    """Return 3.9-4 where Fa is even, or the subtype of ordinary chondrites of type 3; empty where there is none."""
    is_even = "Fa_ratio" in values and values["Fa_ratio"].value >= _EVEN_RATIO
    if is_even and allowed == set(_TYPES):
        return "3.9-4"
    if allowed != {3} or not ordinary:
        return ""
    if "Fa_ratio" in values:
        subtype = _from_ratio(values["Fa_ratio"].value)
    else:
        subtype = _first_reached(rules()["type"]["subtypes"]["cuts"], values["Fa_pmd"].value)
    if subtype in _LOWEST and "Cr2O3_ferroan_olivine" in values:
        return _first_reached(rules()["type"]["chromium"]["cuts"], values["Cr2O3_ferroan_olivine"].value)
    return subtype


#: Answers of the scatter of Fa that Cr2O3 of ferroan olivine refines.
_LOWEST = ("3.0-3.2", "3.0-3.4")


def _from_ratio(ratio: float) -> str:
    """Return 3 + ratio, rounded to 0.1 (unified metamorphic scale); the lowest subtypes are one class."""
    if ratio < rules()["type"]["ratio"]["one_class_to"]:
        return "3.0-3.2"
    return f"{3 + min(ratio, 0.9):.1f}"


def _first_reached(cuts: Sequence[tuple[str, float]], value: float) -> str:
    return next(str(name) for name, least in cuts if value >= least)


def original_metal(measurements: Measurements) -> Measured:
    """Return the metal before weathering, vol%: metal + rust / e (e: volume expansion on oxidation)."""
    metal = measurements.values["metal"]
    rust = measurements.values.get("rust", Measured(0.0))
    least, most = _shrinkage()
    middle = (least + most) / 2
    sd = metal.sd + middle * rust.sd + (most - least) / 12**0.5 * rust.value
    return Measured(metal.value + middle * rust.value, sd)


def _shrinkage() -> tuple[float, float]:
    weathering = rules()["weathering"]
    return 1 / weathering["expansion_high"], 1 / weathering["expansion_low"]


def weathering_grade(measurements: Measurements) -> tuple[str, list[str]]:
    """Return the Wlotzka (1993) grade, or a range of two, from rust, metal and sulfide in vol%; with remarks.

    W1 and W2 go by the oxidised share of the metal, W4 by that of metal and sulfide. W5 and W6 (silicates)
    are not told from W4. Magnetite does not count: it is older than the fall. A meteorite seen to fall is W0.
    """
    if measurements.is_fall:
        return "W0", ["Seen to fall: W0 is taken, not observed."]
    values = measurements.values
    needed = {"rust", "metal", "sulfide"}
    if not needed & set(values):
        return UNKNOWN, []  # why none of them is used is in the notes of the measurements
    if not needed <= set(values):
        return UNKNOWN, ["The weathering grade needs rust (oxygen or calibrated maps), metal and sulfide."]
    rust, metal, sulfide = (values[name].value for name in ("rust", "metal", "sulfide"))
    least_pct = rules()["weathering"]["min_opaque_pct"]
    if rust + metal + sulfide < least_pct:
        return UNKNOWN, [f"Metal, sulfide and rust are under {least_pct:g} %: too little for a weathering grade."]
    grades = [_grade(rust * shrinkage, metal, sulfide) for shrinkage in _shrinkage()]
    return "-".join(dict.fromkeys(grades)), []


def _grade(oxidised: float, metal: float, sulfide: float) -> str:
    cuts = rules()["weathering"]
    of_metal = oxidised / (oxidised + metal) if oxidised > 0 else 0.0
    of_all = oxidised / (oxidised + metal + sulfide)
    if of_all > cuts["w3_max"]:
        return "W4"
    for grade in ("w0", "w1", "w2"):
        if of_metal <= cuts[f"{grade}_max"]:
            return grade.upper()
    return "W3"
