"""Legend files: phases selected, dropped, merged and added."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from meteoseg.errors import InputError, UnknownNameError
from meteoseg.legend import default_legend
from meteoseg.legend.edit import NO_EDIT, OTHER, LegendEdit, NewPhase, presets

PHASES = default_legend("phases")
DJERFISHERITE = NewPhase("djerfisherite", "#aa8800", (("K6Fe24S26Cl",),), 3.7)


def read(tmp_path: Path, text: str) -> LegendEdit:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    return LegendEdit.read(path)


def test_an_edit_drops_and_merges(tmp_path: Path) -> None:
    edit = read(tmp_path, 'drop = ["hibonite"]\n[merge]\n"Fe-Ni metal" = ["kamacite", "taenite"]\n')
    legend, table = edit.apply(PHASES)
    assert table[PHASES["taenite"].id] == table[PHASES["kamacite"].id] == legend["Fe-Ni metal"].id
    assert table[PHASES["hibonite"].id] == PHASES["unclassified"].id
    assert {"hibonite", "kamacite", "taenite"}.isdisjoint(legend.names)
    assert {int(new) for new in table[list(PHASES.ids)]} <= set(legend.ids)


@pytest.mark.parametrize(
    "text",
    [
        'drop = "hibonite"',
        "drop = [3]",
        "merge = 4",
        '[merge]\nmetal = "kamacite"',
        "[merge]\nmetal = [1]",
        "select = 1",
        "phase = 3",
    ],
)
def test_edits_of_a_wrong_kind_are_refused(tmp_path: Path, text: str) -> None:
    with pytest.raises(InputError, match="is not understood"):
        read(tmp_path, text)


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
    with pytest.raises(InputError, match="Legend edit calls a phase 'olivine', the name of another phase"):
        LegendEdit(merge={"olivine": ("kamacite", "taenite")}).apply(PHASES)
    with pytest.raises(UnknownNameError, match=r"Unknown phase 'olivin'\. Did you mean 'olivine'"):
        LegendEdit(drop=("olivin",)).apply(PHASES)


def test_no_edit_changes_nothing() -> None:
    legend, table = NO_EDIT.apply(PHASES)
    assert legend == PHASES
    assert np.array_equal(table, np.arange(max(PHASES.ids) + 1))


def test_presets_hold_minerals_of_the_legend() -> None:
    assert {"opaques", "CAI", "silicates", "all"} == set(presets())
    for names in presets().values():
        assert set(names) <= set(PHASES.names)
        assert len(set(names)) == len(names)
    assert set(presets()["all"]) == set(PHASES.names) - {"outside", "hole", "unclassified"}


def test_a_preset_keeps_its_phases_and_joins_the_others(tmp_path: Path) -> None:
    legend, table = read(tmp_path, 'preset = "opaques"').apply(PHASES)
    other = legend[OTHER].id
    assert other == max(PHASES.ids) + 1
    assert table[PHASES["troilite"].id] == legend["troilite"].id == PHASES["troilite"].id
    assert table[PHASES["olivine"].id] == table[PHASES["silica"].id] == other
    for name in ("outside", "hole", "unclassified"):
        assert table[PHASES[name].id] == legend[name].id == PHASES[name].id
    assert "olivine" not in legend


def test_a_preset_is_also_given_by_its_name_alone() -> None:
    assert LegendEdit.read(Path("CAI")) == LegendEdit(preset="CAI")
    assert LegendEdit.read(Path("Opaques")) == LegendEdit(preset="opaques")
    assert LegendEdit.read(Path("cai")) == LegendEdit(preset="CAI")
    hint = r"opaque does not exist. Did you mean the preset 'opaques'\? Give a TOML file or a preset: opaques, CAI"
    with pytest.raises(InputError, match=hint):
        LegendEdit.read(Path("opaque"))
    with pytest.raises(InputError, match=r"mine.toml does not exist. Give a TOML file"):
        LegendEdit.read(Path("mine.toml"))


def test_presets_in_files_match_in_any_case(tmp_path: Path) -> None:
    assert read(tmp_path, 'preset = "cai"').preset == "CAI"


@pytest.mark.parametrize(
    "text",
    [
        '[merge]\n"other phases" = ["kamacite", "taenite"]',
        '[[phase]]\nname = "other phases"\ncolor = "#aa8800"\nseries = ["FeS"]',
    ],
)
def test_the_name_of_what_a_preset_leaves_out_is_taken(tmp_path: Path, text: str) -> None:
    message = r"mine.toml calls a phase 'other phases', the name of all that a preset or selection leaves out: give"
    with pytest.raises(InputError, match=message):
        read(tmp_path, 'preset = "opaques"\n' + text).apply(PHASES)
    assert OTHER in read(tmp_path, text).apply(PHASES)[0]


def test_selected_merged_and_new_phases_are_kept_beside_a_preset(tmp_path: Path) -> None:
    text = """
    preset = "CAI"
    select = ["silica"]
    drop = ["corundum"]
    [merge]
    metal = ["kamacite", "taenite"]
    [[phase]]
    name = "djerfisherite"
    color = "#aa8800"
    density_g_cm3 = 3.7
    series = ["K6Fe24S26Cl"]
    """
    edit = read(tmp_path, text)
    assert edit.new == (DJERFISHERITE,)
    legend, table = edit.apply(PHASES)
    assert {"melilite", "silica", "metal", "djerfisherite", OTHER} <= set(legend.names)
    new_id = edit.extended(PHASES)["djerfisherite"].id
    assert table[new_id] == new_id == legend["djerfisherite"].id == max(PHASES.ids) + 1
    assert legend[OTHER].id == new_id + 1
    assert legend["djerfisherite"].density_g_cm3 == 3.7
    assert table[PHASES["corundum"].id] == PHASES["unclassified"].id
    assert table[PHASES["troilite"].id] == legend[OTHER].id


def test_a_selection_alone_keeps_just_that(tmp_path: Path) -> None:
    legend, _ = read(tmp_path, 'select = ["olivine"]').apply(PHASES)
    assert set(legend.names) == {"outside", "hole", "unclassified", "olivine", OTHER}


PHASE = '[[phase]]\nname = "X"\ncolor = "#aa8800"\nseries = ["FeS"]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ('preset = "opaque"', "Unknown preset of phases 'opaque'. Did you mean 'opaques'"),
        ("presets = 3", "unknown key 'presets': use preset, select, drop, merge, phase"),
        ("[[phase]]\n", r"every \[\[phase\]\] needs a name"),
        (PHASE + "formula = 1", "phase 'X' has the unknown key 'formula'"),
        (PHASE.replace("#aa8800", "brown"), "phase 'X' needs a color like '#aa8800'"),
        (PHASE.replace('["FeS"]', '"FeS"'), "phase 'X' needs formulas"),
        (PHASE.replace('["FeS"]', '[["A", "B", "C"]]'), "phase 'X' needs formulas"),
        (PHASE + "divisions = 0", "phase 'X' has divisions = 0: give a whole number from 1 to 50"),
        (PHASE + "rel_sd = 0", "phase 'X' has rel_sd = 0: give a number from 0.001 to 1"),
        (PHASE + 'density_g_cm3 = "heavy"', "density_g_cm3 = 'heavy': give a number"),
        (PHASE + "minor = { Ni = 0.5 }", "write minor ="),
    ],
)
def test_bad_legend_files_are_refused(tmp_path: Path, text: str, message: str) -> None:
    with pytest.raises((InputError, UnknownNameError), match=message):
        read(tmp_path, text)


@pytest.mark.parametrize(
    ("parts", "density"),
    [(("kamacite", "taenite"), (7.88 + 8.15) / 2), (("troilite", "kamacite"), None), (("X", "kamacite"), None)],
)
def test_a_merged_phase_has_the_mean_density_of_parts_that_are_alike(
    parts: tuple[str, ...], density: float | None
) -> None:
    edit = LegendEdit(merge={"joined": parts}, new=(NewPhase("X", "#aa8800", (("FeS",),)),))
    assert edit.apply(PHASES)[0]["joined"].density_g_cm3 == pytest.approx(density)


def test_joined_phases_get_the_mean_density_by_area() -> None:
    edit = LegendEdit(
        preset="opaques",
        merge={"joined": ("troilite", "kamacite")},
        new=(NewPhase("X", "#aa8800", (("FeS",),)),),
        drop=("hibonite",),
    )
    area_px = np.zeros(max(edit.extended(PHASES).ids) + 1, np.int64)
    for name, n_px in {"troilite": 30, "kamacite": 10, "olivine": 50, "silica": 25, "hibonite": 9, "hole": 7}.items():
        area_px[PHASES[name].id] = n_px
    legend = edit.with_mean_densities(PHASES, area_px)
    assert legend["joined"].density_g_cm3 == pytest.approx((3 * 4.83 + 7.88) / 4, abs=1e-4)
    assert legend[OTHER].density_g_cm3 == pytest.approx((2 * 3.44 + 2.3) / 3, abs=1e-4)
    assert legend["hole"].density_g_cm3 is legend["unclassified"].density_g_cm3 is None
    assert legend["taenite"] == PHASES["taenite"]


@pytest.mark.parametrize(("n_px", "known"), [(2, True), (3, False)])
def test_a_joined_phase_has_no_density_where_much_of_it_has_none(n_px: int, known: bool) -> None:
    edit = LegendEdit(merge={"joined": ("troilite", "X")}, new=(NewPhase("X", "#aa8800", (("FeS",),)),))
    area_px = np.zeros(43, np.int64)
    area_px[[PHASES["troilite"].id, edit.extended(PHASES)["X"].id]] = 98, n_px
    density = edit.with_mean_densities(PHASES, area_px)["joined"].density_g_cm3
    assert density == (4.83 if known else None)


def test_phases_that_are_no_minerals_and_names_in_use_are_refused() -> None:
    for edit in (LegendEdit(drop=("hole",)), LegendEdit(select=("outside",)), LegendEdit(merge={"x": ("hole",)})):
        with pytest.raises(InputError, match="cannot be dropped, merged or selected: it is not a mineral"):
            edit.apply(PHASES)
    with pytest.raises(InputError, match="'olivine' is in the legend already"):
        LegendEdit(new=(NewPhase("olivine", "#aa8800", (("FeS",),)),)).apply(PHASES)
    with pytest.raises(InputError, match="'metal' lists no phases"):
        LegendEdit(merge={"metal": ()}).apply(PHASES)
