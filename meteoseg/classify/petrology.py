"""Petrologic type and terrestrial weathering from what a section shows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from meteoseg.classify.groups import Group, rules
from meteoseg.classify.measurements import Measured, Measurements

UNKNOWN = "unknown"


def petrologic_type(candidates: Sequence[Group], measurements: Measurements) -> tuple[str, list[str]]:
    """Return the petrologic type and remarks for the groups that come into question.

    Types 3 and 4-6 are parted by the percent mean deviation of Fa in olivine (``Fa_pmd``: 100 / n times the
    sum of abs(Fa_i - mean Fa) / mean Fa), or by the mean Fa of type I over that of type II olivine (``Fa_ratio``);
    subtypes of type 3 are given for ordinary chondrites only, 3.0 to 3.2 only with Cr2O3 of ferroan olivine. Types 4,
    5 and 6 are parted by the size of feldspar. Without any of them the type is the one all groups in question share
    (named as such), or their range.

    Source: Van Schmus & Wood 1967; Sears et al. 1980; Jacquet et al. 2024; see ``rules/classification.toml``.
    """
    if not candidates:
        return UNKNOWN, []
    usual = {group.usual_type for group in candidates}
    classes = {group.class_name for group in candidates}
    names = "/".join(group.name for group in candidates)
    if usual != {"3-6"}:
        label = usual.pop() if len(usual) == 1 else UNKNOWN
        return label, [f"The type is the usual one of {names}, not observed here."] if label != UNKNOWN else []
    values = measurements.values
    if classes & set(rules()["type"]["no_pmd_classes"]):
        found = _from_feldspar(values) or "3-6"
        return found, ["Iron in olivine does not tell the type of enstatite chondrites."]
    if "Fa_pmd" not in values and "Fa_ratio" not in values:
        found = _from_feldspar(values)
        if found:
            return found, []
        return "3-6", ["Type 3 or 4-6 is open: it needs the scatter of Fa in olivine (Fa_pmd)."]
    return _type_from_iron(values, ordinary="ordinary" in classes), []


def _type_from_iron(values: Mapping[str, Measured], *, ordinary: bool) -> str:
    equilibrated = rules()["type"]["equilibrated_pmd_pct"]
    if "Fa_pmd" in values and values["Fa_pmd"].value < equilibrated:
        return _from_feldspar(values) or "4-6"
    if not ordinary:
        is_even = "Fa_pmd" not in values and _from_ratio(values["Fa_ratio"].value) == "3.9-4"
        return "3.9-4" if is_even else "3"
    subtype = _from_ratio(values["Fa_ratio"].value) if "Fa_ratio" in values else _subtype(values["Fa_pmd"].value)
    if subtype in _LOWEST and "Cr2O3_ferroan_olivine" in values:
        return _first_reached(rules()["type"]["chromium"]["cuts"], values["Cr2O3_ferroan_olivine"].value)
    return subtype


#: Answers of the scatter of Fa that Cr2O3 of ferroan olivine refines.
_LOWEST = ("3.0-3.2", "3.0-3.4")


def _subtype(pmd_pct: float) -> str:
    return _first_reached(rules()["type"]["subtypes"]["cuts"], pmd_pct)


def _from_ratio(ratio: float) -> str:
    """Return 3 + ratio, rounded to 0.1 (unified metamorphic scale); the lowest subtypes are one class."""
    if ratio < rules()["type"]["ratio"]["one_class_to"]:
        return "3.0-3.2"
    return f"{3 + min(ratio, 0.9):.1f}" if ratio < 0.95 else "3.9-4"


def _from_feldspar(values: Mapping[str, Measured]) -> str:
    if "feldspar_size" not in values:
        return ""
    return _first_reached(rules()["type"]["feldspar"]["cuts"], values["feldspar_size"].value)


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
