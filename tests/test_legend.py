from __future__ import annotations

from pathlib import Path

import pytest

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.legend import default_legend, read_legend_csv, write_legend_csv
from meteoseg.legendedit import LegendEdit

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


def test_an_edit_drops_and_merges(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('drop = ["hibonite"]\n[merge]\n"Fe-Ni metal" = ["kamacite", "taenite"]\n', encoding="utf-8")
    legend, table = LegendEdit.read(path).apply(PHASES)
    assert table[PHASES["taenite"].id] == table[PHASES["kamacite"].id] == legend["Fe-Ni metal"].id
    assert table[PHASES["hibonite"].id] == PHASES["unclassified"].id
    assert {"hibonite", "kamacite", "taenite"}.isdisjoint(legend.names)
    assert {int(new) for new in table[list(PHASES.ids)]} <= set(legend.ids)


@pytest.mark.parametrize(
    "text",
    ['drop = "hibonite"', "drop = [3]", "merge = 4", '[merge]\nmetal = "kamacite"', "[merge]\nmetal = [1]"],
)
def test_edits_of_a_wrong_kind_are_refused(tmp_path: Path, text: str) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match="is not understood"):
        LegendEdit.read(path)


@pytest.mark.parametrize(
    "edit",
    [
        LegendEdit(drop=("kamacite",), merge={"metal": ("kamacite", "taenite")}),
        LegendEdit(merge={"metal": ("kamacite", "taenite"), "opaque": ("taenite", "troilite")}),
        LegendEdit(drop=("kamacite", "kamacite")),
    ],
)
def test_a_phase_named_twice_is_refused(edit: LegendEdit) -> None:
    with pytest.raises(InputError, match=r"names '(kamacite|taenite)' twice"):
        edit.apply(PHASES)


def test_names_that_clash_or_are_unknown() -> None:
    with pytest.raises(InputError, match="an id or a name twice"):
        LegendEdit(merge={"olivine": ("kamacite", "taenite")}).apply(PHASES)
    with pytest.raises(UnknownNameError, match=r"Unknown phase 'olivin'\. Did you mean 'olivine'"):
        LegendEdit(drop=("olivin",)).apply(PHASES)
