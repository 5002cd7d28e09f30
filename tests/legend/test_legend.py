from __future__ import annotations

from pathlib import Path

import pytest

from meteoseg.errors import InputError
from meteoseg.legend import Label, default_legend, read_legend_csv, write_legend_csv

PHASES = default_legend("phases")


@pytest.mark.parametrize("layer", ["phases", "components"])
def test_label_0_is_outside(layer: str) -> None:
    assert default_legend(layer).name_of(0) == "outside"


def test_a_written_legend_reads_back(tmp_path: Path) -> None:
    components = default_legend("components")
    write_legend_csv(tmp_path / "legend.csv", PHASES, components)
    header = (tmp_path / "legend.csv").read_text(encoding="utf-8").splitlines()[0]
    assert header == "layer,id,name,color,density_g_cm3"
    read = read_legend_csv(tmp_path / "legend.csv")
    for legend in (PHASES, components):
        assert [(label.id, label.name, label.color, label.density_g_cm3) for label in read[legend.layer].labels] == [
            (label.id, label.name, label.color, label.density_g_cm3) for label in legend.labels
        ]


def test_labels_are_added_at_the_end_with_ids_of_their_own() -> None:
    grown = PHASES.with_labels([Label(0, "djerfisherite", "#aa8800"), Label(0, "perryite", "#112233", 7.0)])
    assert grown.labels[: len(PHASES.labels)] == PHASES.labels
    assert [grown["djerfisherite"].id, grown["perryite"].id] == [max(PHASES.ids) + 1, max(PHASES.ids) + 2]
    with pytest.raises(InputError, match="'olivine' is in the legend already"):
        PHASES.with_labels([Label(0, "olivine", "#aa8800")])
    with pytest.raises(InputError, match="at most 255 fit in a label image"):
        PHASES.with_labels([Label(0, f"phase {number}", "#aa8800") for number in range(250)])
