"""What a section says about its group: abundances, sizes and compositions with their errors."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field

import pandas as pd

from meteoseg.classify.groups import COMPONENT_PROPERTIES, PropertyRule, known_property, properties, rules, supported
from meteoseg.errors import InputError
from meteoseg.objects import edge_weight_of
from meteoseg.stereology.planar import size_estimates

#: Measured quantities that no group row refers to, used for type and weathering: rust, the mean Fa of type I over that
#: of type II olivine, Cr2O3 of ferroan olivine, common size of the largest secondary feldspar, a size that it stays
#: under, contrast of minerals across the outlines of chondrules.
EXTRA_UNITS = {
    "rust": "vol%", "Fa_ratio": "ratio", "Cr2O3_ferroan_olivine": "wt%", "feldspar_size": "um",
    "feldspar_size_limit": "um", "chondrule_contrast": "ratio",
}  # fmt: skip
_NORMAL_95_WIDTH = 2 * 1.96
_NOT_AREA = ("outside", "hole")


@dataclass(frozen=True)
class Measured:
    """A value and its standard deviation, in the unit of its property."""

    value: float
    sd: float = 0.0


@dataclass(frozen=True)
class Measurements:
    """The evidence of one section.

    Parameters
    ----------
    values : by property name (see ``rules/properties.csv``; also those of `EXTRA_UNITS`). Absent means
        unknown, never zero.
    mapped_area_mm2 : mapped area without mount and holes, or None where not stated.
    n_chondrules : chondrules and fragments found, or None where not stated.
    notes : what was left out, and why.
    is_fall : whether the meteorite was seen to fall: it did not weather on the ground.

    Raises
    ------
    UnknownNameError : a property that is not in the list.
    InputError : a value or sd that is not a finite number of at least zero.

    Examples
    --------
    >>> Measurements({"metal": Measured(8.0, 0.5)}).values["metal"].value
    8.0
    """

    values: Mapping[str, Measured]
    mapped_area_mm2: float | None = None
    n_chondrules: int | None = None
    notes: tuple[str, ...] = field(default=())
    is_fall: bool = False

    def __post_init__(self) -> None:
        for name, measured in self.values.items():
            if name not in EXTRA_UNITS:
                known_property(name)
            if not (0 <= measured.value < math.inf and 0 <= measured.sd < math.inf):
                raise InputError(
                    f"{name} is {measured.value} with sd {measured.sd}: give finite numbers of at least 0."
                )

    @property
    def is_empty(self) -> bool:
        """Whether nothing speaks for or against any group."""
        return not set(self.values) & set(properties())


def unit_of(name: str) -> str:
    """Return the unit of a property."""
    return EXTRA_UNITS[name] if name in EXTRA_UNITS else known_property(name).unit


def measurements_from_tables(
    modes: pd.DataFrame,
    chondrules: pd.DataFrame | None,
    *,
    chemistry: Mapping[str, Measured] | None = None,
    pixel_size_error_pct: float | None = None,
    mapped_area_mm2: float | None = None,
    channels: Sequence[str] | None = None,
    calibrated: bool = False,
    is_fall: bool = False,
) -> Measurements:
    """Gather the evidence of a section from its tables, leaving out what its maps cannot show.

    Parameters
    ----------
    modes : table in the format of ``modes.csv`` (one section).
    chondrules : table in the format of ``chondrules.csv``, or None.
    chemistry : ``Fa_olivine``, ``Fs_lowCa_pyroxene`` (means, mol%), ``Fa_pmd`` (%), ``kamacite_Si`` ...
    pixel_size_error_pct : one standard deviation of the pixel size.
    mapped_area_mm2 : area without mount and holes; taken from `modes` where None.
    channels : names of the mapped channels; None where unknown: then only phases listed in `modes` count.
    calibrated : whether the maps are quantified, so that totals tell oxides from hydroxides.
    is_fall : whether the meteorite was seen to fall.

    Raises
    ------
    InputError : `modes` lacks the columns layer, name and area_pct.

    Examples
    --------
    >>> modes = pd.DataFrame({"layer": "phases", "name": ["kamacite", "olivine"], "area_pct": [8.0, 92.0]})
    >>> found = measurements_from_tables(modes, None, mapped_area_mm2=50.0, channels=["Fe", "S"])
    >>> found.values["metal"].value, found.values["sulfide"].value
    (8.0, 0.0)
    """
    table = _Modes.of(modes)
    area_mm2 = table.area_mm2() if mapped_area_mm2 is None else mapped_area_mm2
    n_chondrules = None if chondrules is None else len(chondrules)
    seen = None if channels is None else [*channels, *(["calibrated"] if calibrated else [])]
    notes: list[str] = []
    values: dict[str, Measured] = {}
    least_mm2 = rules()["decision"]["min_area_mm2"]
    if area_mm2 is not None and area_mm2 < least_mm2:
        notes.append(
            f"The mapped area is {area_mm2:.3g} mm2 without holes; below {least_mm2:g} mm2 a map is no sample of "
            "the rock, so abundances and sizes are not used."
        )
    else:
        values |= _modal_values(table, seen, notes)
        _drop_uncountable_components(values, n_chondrules, notes)
        values |= _size_value(chondrules, pixel_size_error_pct, notes)
    values |= dict(chemistry or {})
    return Measurements(values, area_mm2, n_chondrules, tuple(notes), is_fall)


@dataclass(frozen=True)
class _Modes:
    """Percentages and their standard deviations by (layer, name), without outside and hole."""

    percent: Mapping[tuple[str, str], Measured]
    area_um2: Mapping[str, float]

    @classmethod
    def of(cls, modes: pd.DataFrame) -> _Modes:
        missing = {"layer", "name", "area_pct"} - set(modes.columns)
        if missing:
            raise InputError(
                f"The modal table lacks the column '{sorted(missing)[0]}': give a table like modes.csv "
                "(layer,name,area_px,area_um2,area_pct,ci_low_pct,ci_high_pct,wt_pct)."
            )
        percent: dict[tuple[str, str], Measured] = {}
        area_um2: dict[str, float] = {}
        for row in modes.to_dict("records"):
            layer, name, value = str(row["layer"]), str(row["name"]), float(row["area_pct"])
            if name in _NOT_AREA or math.isnan(value):
                continue
            if (layer, name) in percent:
                raise InputError(f"The modal table has '{name}' of the {layer} twice: give one section at a time.")
            width = float(row.get("ci_high_pct", math.nan)) - float(row.get("ci_low_pct", math.nan))
            percent[layer, name] = Measured(value, 0.0 if math.isnan(width) else width / _NORMAL_95_WIDTH)
            area_um2[layer] = area_um2.get(layer, 0.0) + float(row.get("area_um2", math.nan))
        return cls(percent, area_um2)

    def has_layer(self, layer: str) -> bool:
        return any(key[0] == layer for key in self.percent)

    def area_mm2(self) -> float | None:
        areas = [area for area in self.area_um2.values() if not math.isnan(area)]
        return max(areas) / 1e6 if areas else None

    def total(self, layer: str, names: Sequence[str], *, of_pct: float = 100.0) -> Measured | None:
        """Sum the named classes; sds add up in full (an upper bound: minerals of one grain go together)."""
        found = [self.percent[layer, name] for name in names if (layer, name) in self.percent]
        if not found:
            return None
        factor = 100.0 / of_pct
        return Measured(factor * sum(m.value for m in found), factor * sum(m.sd for m in found))


def _modal_values(table: _Modes, seen: Sequence[str] | None, notes: list[str]) -> dict[str, Measured]:
    values: dict[str, Measured] = {}
    for rule in properties().values():
        if not rule.parts or not table.has_layer(rule.layer):
            continue
        if seen is not None and not supported(rule.needs, seen):
            notes.append(f"{rule.name} is not used: it needs {_spoken(rule.needs)}.")
            continue
        found = _modal_value(table, rule, listed_only=seen is None)
        if found is None:
            continue
        if _is_hidden(table, rule, found.value):
            notes.append(f"{rule.name} is not used: it can hide in the unresolved fine-grained matrix.")
            continue
        values[rule.name] = found
    return values | _rust_value(table, seen)


def _modal_value(table: _Modes, rule: PropertyRule, *, listed_only: bool) -> Measured | None:
    clasts = table.total("components", ["clast"]) if rule.layer == "components" else None
    of_pct = 100.0 - clasts.value if clasts else 100.0
    if of_pct <= 0:
        return None
    found = table.total(rule.layer, rule.parts, of_pct=of_pct)
    if found is None and not (listed_only and rule.needs):
        return Measured(0.0)
    return found


def _is_hidden(table: _Modes, rule: PropertyRule, value: float) -> bool:
    unresolved = table.total("phases", ["fine-grained matrix"])
    if rule.hidden_below_pct is None or unresolved is None:
        return False
    return unresolved.value > rules()["decision"]["unresolved_matrix_pct"] and value < rule.hidden_below_pct


def _rust_value(table: _Modes, seen: Sequence[str] | None) -> dict[str, Measured]:
    weathering = rules()["weathering"]
    if not table.has_layer("phases") or (seen is not None and not supported(weathering["needs"], seen)):
        return {}
    rust = table.total("phases", weathering["rust_phases"])
    return {"rust": rust} if rust else ({} if seen is None else {"rust": Measured(0.0)})


def _drop_uncountable_components(values: dict[str, Measured], n_chondrules: int | None, notes: list[str]) -> None:
    decision = rules()["decision"]
    if n_chondrules is None or n_chondrules >= decision["min_chondrules"] or "chondrules" not in values:
        return
    percent = values["chondrules"].value
    if percent < decision["scarce_chondrules_pct"]:
        notes.append(
            f"Only {n_chondrules} chondrules ({percent:.2g} %) were found: so it is in matrix-rich groups, "
            "and also in recrystallised sections or maps the network fails on. Look at the overlay."
        )
        return
    notes.append(
        f"Only {n_chondrules} chondrules were found; below {decision['min_chondrules']} the abundances of "
        "chondrules, matrix and inclusions are not used."
    )
    for name in COMPONENT_PROPERTIES:
        values.pop(name, None)


def _size_value(
    chondrules: pd.DataFrame | None, pixel_size_error_pct: float | None, notes: list[str]
) -> dict[str, Measured]:
    if chondrules is None or chondrules.empty:
        return {}
    decision = rules()["decision"]
    least_um = _cut_off_um(chondrules, decision["min_diameter_px"])
    diameters_um = chondrules["equivalent_diameter_um"].astype(float)
    intact = (chondrules["kind"] == "chondrule") & ~chondrules["touches_edge"].astype(bool)
    # The tolerance keeps an object of exactly the cut-off diameter.
    kept = chondrules[intact & (diameters_um >= least_um * (1 - 1e-9))]
    if len(kept) < decision["min_chondrules"]:
        notes.append(
            f"Only {len(kept)} intact, uncut chondrules of at least {least_um:.3g} um; below "
            f"{decision['min_chondrules']} their mean diameter is not used."
        )
        return {}
    mean = size_estimates(kept["equivalent_diameter_um"].to_numpy(float), edge_weight_of(kept))["mean_diameter"]
    mean_mm = mean.value / 1000
    relative = math.hypot(mean.standard_error / mean.value, (pixel_size_error_pct or 0) / 100)
    corrected = ", weighted for those of their size that the edges cut" if "edge_weight" in kept else ""
    notes.append(
        f"Mean chondrule diameter: {len(kept)} intact, uncut chondrules of at least {least_um:.3g} um{corrected}, "
        "in the plane of section."
    )
    return {"chondrule_mean_diameter": Measured(mean_mm, mean_mm * relative)}


def _cut_off_um(chondrules: pd.DataFrame, min_diameter_px: float) -> float:
    """Return the least diameter that all sections show: that of the coarsest pixels, where sections are joined."""
    pixel_area_um2 = chondrules["area_um2"].astype(float) / chondrules["area_px"].astype(float)
    return float(min_diameter_px * math.sqrt(float(pixel_area_um2.max())))


def _spoken(needs: str) -> str:
    options = [option.replace("+", " and ") for option in needs.split("|")]
    words = [f"{'calibrated maps' if option == 'calibrated' else option}" for option in options]
    return " or ".join(words)
