"""Compositions of the olivine and pyroxene of each chondrule, and its type I or II."""

from __future__ import annotations

import tomllib
from collections.abc import Mapping
from functools import cache
from importlib import resources
from typing import Any

import numpy as np
import pandas as pd

from meteoseg.classify.groups import rules

#: Columns of ``chondrules.csv`` that `composition_columns` gives.
COMPOSITION_COLUMNS = (
    "mean_Fa_mol_pct", "mean_Fa_se_mol_pct", "n_Fa_grains", "mean_Fs_mol_pct", "mean_Fs_se_mol_pct", "n_Fs_grains",
    "type",
)  # fmt: skip
_OF_PHASE = {"Fa": "olivine", "Fs": "low-Ca pyroxene"}


@cache
def texture_rules() -> Mapping[str, Any]:
    """Load rules/textures.toml."""
    return tomllib.loads(resources.files("meteoseg").joinpath("rules/textures.toml").read_text(encoding="utf-8"))


def composition_columns(
    ids: pd.Series[int], grains: pd.DataFrame | None, chemistry: pd.DataFrame | None
) -> pd.DataFrame:
    """Return the columns `COMPOSITION_COLUMNS` of objects, a row per id.

    Parameters
    ----------
    grains, chemistry : as grains.csv and chemistry.csv; None where nothing was measured: all empty then.
    """
    table = pd.DataFrame(index=ids.index)
    for quantity in _OF_PHASE:
        found = mean_compositions(grains, quantity).reindex(ids.to_numpy())
        table[f"mean_{quantity}_mol_pct"] = found["mean"].to_numpy(float)
        table[f"mean_{quantity}_se_mol_pct"] = found["standard_error"].to_numpy(float)
        count = found["n_grains"].to_numpy(float)
        table[f"n_{quantity}_grains"] = pd.array(count if grains is None else np.nan_to_num(count), dtype="Int64")
    types = chondrule_types(grains, chemistry) or {}
    table["type"] = [types.get(int(number), "") for number in ids]
    return table[list(COMPOSITION_COLUMNS)]


def mean_compositions(grains: pd.DataFrame | None, quantity: str) -> pd.DataFrame:
    """Return the mean of a quantity over the grains of each object, a grain counting by its pixels.

    The standard error is the larger of that of the scatter between grains and that of the counts; the calibration
    error, common to all grains, is not in it.

    Parameters
    ----------
    grains : as grains.csv, or None. quantity : ``Fa`` (of olivine) or ``Fs`` (of low-Ca pyroxene).

    Returns
    -------
    Columns mean, standard_error, n_grains, by object id.

    Examples
    --------
    >>> grains = pd.DataFrame({"phase": "olivine", "quantity": "Fa", "chondrule": [4, 4, 0], "n_px": [30, 10, 9],
    ...                        "value": [2.0, 6.0, 50.0], "sd_counting": [0.1, 0.1, 0.1]})
    >>> mean_compositions(grains, "Fa")["mean"].to_dict()
    {4: 3.0}
    """
    columns = ["mean", "standard_error", "n_grains"]
    if grains is None or grains.empty:
        return pd.DataFrame(columns=columns, dtype=float)
    is_own = (grains["phase"] == _OF_PHASE[quantity]) & (grains["quantity"] == quantity) & (grains["chondrule"] > 0)
    rows = {int(str(number)): _mean(group) for number, group in grains[is_own].groupby("chondrule")}
    return pd.DataFrame.from_dict(rows, orient="index", columns=columns, dtype=float)


def _mean(group: pd.DataFrame) -> tuple[float, float, float]:
    value, n = group["value"].to_numpy(float), len(group)
    weight = group["n_px"].to_numpy(float) / float(group["n_px"].sum())
    mean = float(weight @ value)
    counting = float(np.sqrt(np.sum((weight * group["sd_counting"].to_numpy(float)) ** 2)))
    scatter = float(np.sqrt(np.sum((weight * (value - mean)) ** 2) * n / (n - 1))) if n > 1 else 0.0
    return mean, max(counting, scatter), float(n)


def fa_scatter(chemistry: pd.DataFrame | None) -> float | None:
    """Return the percent mean deviation of Fa, of chondrules where known, else of all grains; None where not made.

    Grains of under five chondrules (``rules/classification.toml``) say nothing of a section: one chondrule is even.
    """
    if chemistry is None or chemistry.empty:
        return None
    least = int(rules()["chemistry"]["min_chondrules"])
    own = chemistry[(chemistry["quantity"] == "Fa_pmd") & (chemistry["n_chondrules"] >= least)]
    for where in ("chondrules", "all"):
        found = own.loc[own["where"] == where, "mean"]
        if len(found):
            return float(found.iloc[0])
    return None


def chondrule_types(grains: pd.DataFrame | None, chemistry: pd.DataFrame | None) -> dict[int, str] | None:
    """Return type I or II of the chondrules whose grains were measured; None where none are told.

    The mean Fa of olivine decides, over the pixels of all its grains; without olivine the mean Fs of low-Ca pyroxene.
    Where Fa scatters by under 20 % the section is equilibrated and the types of its chondrules are lost: none is told.
    """
    rule = texture_rules()["type"]
    scatter = fa_scatter(chemistry)
    if grains is None or (scatter is not None and scatter < float(rule["least_pmd_pct"])):
        return None
    types: dict[int, str] = {}
    for quantity in ("Fs", "Fa"):
        means = mean_compositions(grains, quantity)["mean"]
        types |= {int(str(n)): "I" if mean < float(rule["boundary_mol_pct"]) else "II" for n, mean in means.items()}
    return types


def type_remark(chemistry: pd.DataFrame | None) -> str:
    """Say on what the types of chondrules rest, or why there are none."""
    if chemistry is None or chemistry.empty:
        return "Types I and II are not told: they need the composition of olivine."
    scatter, least = fa_scatter(chemistry), float(texture_rules()["type"]["least_pmd_pct"])
    if scatter is None:
        return (
            "Types I and II go by Fa of olivine. Whether the section is equilibrated, so that they mean nothing, is "
            "not known: too few grains or chondrules for the scatter of Fa."
        )
    if scatter < least:
        return (
            f"Types I and II are left blank: Fa scatters by {scatter:.1f} % only (under {least:g} %), the section is "
            "equilibrated."
        )
    return f"Types I and II go by Fa of olivine, which scatters by {scatter:.0f} %."
