"""Small tables in the formats of the contract, shared by the tests of the report."""

from typing import Any

import numpy as np
import pandas as pd
import pytest

MODE_COLUMNS = ["layer", "name", "area_px", "area_um2", "area_pct", "ci_low_pct", "ci_high_pct", "wt_pct"]


@pytest.fixture
def modes() -> pd.DataFrame:
    nan = np.nan
    rows: list[list[Any]] = [
        ["phases", "olivine", 611, 611e3, 61.11, 57.31, 64.71, 58.21],
        ["phases", "kamacite", 39, 39e3, 3.92, nan, nan, 8.53],
        ["phases", "low-Ca pyroxene", 350, 350e3, 34.97, 31.13, 38.83, 33.26],
        ["phases", "hole", 20, 20e3, nan, nan, nan, nan],
        ["components", "outside", 500, 500e3, nan, nan, nan, nan],
        ["components", "matrix", 220, 220e3, 21.57, 18.43, 24.77, nan],
        ["components", "chondrule", 800, 800e3, 78.43, 75.23, 81.57, nan],
    ]
    return pd.DataFrame(rows, columns=MODE_COLUMNS)


@pytest.fixture
def objects() -> pd.DataFrame:
    """Four objects of 1 um pixels; the first two are intact chondrules clear of the edges."""
    diameters_um = [300.0, 500.0, 900.0, 200.0]
    return pd.DataFrame(
        {
            "id": [1, 2, 3, 4],
            "kind": ["chondrule", "chondrule", "chondrule", "fragment"],
            "touches_edge": [False, False, True, False],
            "row_um": [100.0, 1234.0, 300.0, 400.0],
            "col_um": [500.0, 5678.0, 700.0, 800.0],
            "area_px": [int(np.pi * d**2 / 4) for d in diameters_um],
            "area_um2": [np.pi * d**2 / 4 for d in diameters_um],
            "equivalent_diameter_um": diameters_um,
            "major_axis_um": [310.0, 520.0, 950.0, np.nan],
            "minor_axis_um": [290.0, 480.0, 850.0, np.nan],
            "aspect_ratio": [1.07, 1.08, 1.12, np.nan],
            "orientation_deg": [0.0, 10.0, 20.0, np.nan],
            "perimeter_um": [950.0, 1600.0, 2900.0, np.nan],
            "circularity": [0.987, 0.95, 0.93, np.nan],
            "solidity": [0.976, 0.97, 0.96, np.nan],
        }
    )


@pytest.fixture
def classification() -> dict[str, Any]:
    return {
        "class": "ordinary",
        "suggestion": "L/LL",
        "groups": [
            {"group": "L", "probability": 0.4, "evidence": {}},
            {"group": "LL", "probability": 0.55, "evidence": {"metal": 3.0, "matrix": -1.0, "chondrules": 0.1}},
            {"group": "H", "probability": 0.045, "evidence": {}},
            {"group": "CI", "probability": 0.005, "evidence": {}},
        ],
        "class_probabilities": {"ordinary": 0.995, "carbonaceous": 0.005},
        "type": "3 or 3-6 unknown",
        "weathering": "W1",
        "evidence": [
            _evidence("chondrules", 78.43, 3.2, "vol%", ["H", "L", "LL"]),
            _evidence("matrix", 21.6, 3.1, "vol%", ["R"]),
            _evidence("metal", 2.1, 0.5, "vol%", ["LL"]),
        ],
        "notes": ["Opaque phases come from all of the section."],
    }


def _evidence(name: str, value: float, sd: float, unit: str, groups: list[str]) -> dict[str, Any]:
    return {"property": name, "value": value, "sd": sd, "unit": unit, "best_groups": groups, "note": ""}
