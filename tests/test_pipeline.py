from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import torch
from scipy import ndimage as ndi
from torch import Tensor, nn

from meteoseg.channels import ABSENT
from meteoseg.errors import ChannelError, InputError, OutputExistsError, PixelSizeError, UnknownNameError
from meteoseg.inference import choose_grid, describe_grid
from meteoseg.io import read_labels
from meteoseg.legend import default_legend, read_legend_csv
from meteoseg.legend.edit import LegendEdit, NewPhase
from meteoseg.minerals.formula import formula_wt_pct
from meteoseg.models import Model, ModelCard, NetworkCard
from meteoseg.pipeline import Result, segment
from meteoseg.results.remaking import modes_again
from meteoseg.section import Section

CONTRACT = {
    "phases.ome.tif", "components.ome.tif", "chondrules.ome.tif", "legend.csv", "modes.csv", "chondrules.csv",
    "classification.json", "report.html", "run.json", "phases_by_component.csv", "representativeness.csv",
    "phases_by_chondrule.csv", "chondrule_counts.csv", "sizes.csv", "size_distribution.csv", "textures.csv",
    "patches.csv", "feldspar.csv", "delineation.csv",
}  # fmt: skip
PHASES, COMPONENTS = default_legend("phases"), default_legend("components")


class Thresholds(nn.Module):
    """Stands for a network: class k where the first channel is nearest to `levels[k]`; distance = second channel."""

    multiple_px = 32

    def __init__(self, card: NetworkCard, levels: Sequence[float]) -> None:
        super().__init__()
        self.card = card
        self.levels = nn.Parameter(torch.tensor(levels).reshape(1, -1, 1, 1))

    def forward(self, image: Tensor) -> Tensor:
        logits = -100 * (image[:, :1] - self.levels) ** 2
        return torch.cat([logits, 10 * (image[:, 1:2] - 0.5)], dim=1) if "distance" in self.card.layers else logits

    def split(self, logits: Tensor) -> dict[str, Tensor]:
        widths = self.card.widths
        return dict(zip(widths, torch.split(logits, list(widths.values()), dim=1), strict=True))


def threshold_model(um_per_px: float | None = 4.0) -> Model:
    """Components and distance from the maps Fe and Mg at `um_per_px`, phases from the map Si at its own pixels."""
    components = NetworkCard(
        "coarse",
        ("components", "distance"),
        ("Fe", "Mg"),
        component_classes=("matrix", "chondrule"),
        um_per_px=um_per_px,
        um_per_px_range=None if um_per_px is None else (um_per_px, 2 * um_per_px),
        tile_px=64,
        margin_px=16,
    )
    phases = NetworkCard(
        "fine", ("phases",), ("Si",), phase_classes=("hole", "fine-grained matrix", "olivine"), tile_px=64, margin_px=16
    )
    networks = {"coarse": Thresholds(components, (0.0, 1.0)), "fine": Thresholds(phases, (0.0, 0.7, 1.0))}
    return Model(ModelCard("thresholds", (components, phases)), networks, Path("thresholds.safetensors"), "0" * 64)


def painted_section() -> tuple[Section, np.ndarray]:
    """Return a section of 160 x 240 px of 2 um with two touching discs and a pit, and the discs (H, W) bool."""
    row, col = np.mgrid[:160, :240]
    heights = [1 - np.hypot(row - 80, col - c) / 40 for c in (70, 148)]
    distance = np.clip(np.max(heights, axis=0), 0, 1)
    is_disc = distance > 0
    pit = np.hypot(row - 80, col - 70) < 6
    values = {"Fe": is_disc * 100.0, "Mg": distance * 100.0, "Si": np.where(pit, 0.0, np.where(is_disc, 100.0, 49.0))}
    # A strip of mount, and one of a field that was not mapped, so that all quantiles are those of the values above.
    mask = np.ones((160, 240), np.uint8)
    mask[:, :10] = 0
    for image in values.values():
        image[:, 230:] = 0
    units = dict.fromkeys(values, "counts")
    return Section.from_arrays("painted", values, pixel_size_um=2.0, mask=mask, units=units), is_disc


@pytest.fixture(scope="module")
def painted(tmp_path_factory: pytest.TempPathFactory) -> Result:
    return segment(painted_section()[0], threshold_model(), out=tmp_path_factory.mktemp("painted"))


def test_every_file_of_the_contract_is_written_and_nothing_else(painted: Result) -> None:
    assert {path.name for path in painted.folder.iterdir()} == CONTRACT
    assert [path.name for path in painted.folder.parent.iterdir()] == ["painted"]


def test_painted_discs_keep_their_areas_and_part(painted: Result) -> None:
    table = painted.chondrules()
    assert len(table) == 2
    pit_um2 = np.pi * (6 * 2) ** 2
    disc_um2 = np.pi * (40 * 2) ** 2
    assert table["area_um2"].sum() == pytest.approx(2 * disc_um2 - pit_um2, rel=0.03)
    assert abs(table["area_um2"].diff().iloc[1]) == pytest.approx(pit_um2, rel=0.5)
    assert not table["touches_edge"].any()


def test_layers_agree_with_each_other(painted: Result) -> None:
    phases, components, objects = painted.phases, painted.components, painted.chondrule_labels
    np.testing.assert_array_equal(objects > 0, components == COMPONENTS["chondrule"].id)
    np.testing.assert_array_equal(phases == 0, components == 0)
    assert np.all(components[:, :10] == 0)
    assert np.all(components[:, 230:] == 0)
    assert objects.dtype == np.uint32
    for label_id in (1, 2):
        assert ndi.label(objects == label_id, np.ones((3, 3)))[1] == 1
    assert components[80, 70] == COMPONENTS["hole"].id
    assert phases[80, 70] == PHASES["hole"].id


def test_modes_sum_to_100_without_outside_and_hole(painted: Result) -> None:
    modes = painted.modes()
    assert list(modes.columns[:2]) == ["layer", "name"]
    for layer in ("phases", "components"):
        rows = modes[modes["layer"] == layer].set_index("name")
        assert rows["area_pct"].sum() == pytest.approx(100)
        assert rows.loc[["outside", "hole"], "area_pct"].isna().all()
        assert rows["area_px"].sum() == 160 * 240
        assert rows.loc["outside", "area_px"] == 20 * 160
    assert modes["wt_pct"].sum() == pytest.approx(100)


def test_provenance_and_notes(painted: Result) -> None:
    run = painted.run
    assert run["complete"] is True
    assert run["model"] == {"name": "thresholds", "file": "thresholds.safetensors", "sha256": "0" * 64}
    assert {"mask", "phases", "components", "chondrules", "tables"} <= set(run["timings_s"])
    assert any("averaged from 2 to 4 um per pixel" in note for note in run["notes"])
    assert any("1600 pixels" in note and "unmapped" in note for note in run["notes"])
    assert "averaged from 2 to 4 um" in (painted.folder / "report.html").read_text(encoding="utf-8")


def test_classification_names_its_reason(painted: Result) -> None:
    answer = json.loads((painted.folder / "classification.json").read_text(encoding="utf-8"))
    assert answer["class"] == "none"
    assert any("mm2" in note for note in answer["notes"])
    assert painted.classify().class_ == "none"
    assert answer["suggestion"] == painted.classify().suggestion == "not enough evidence"
    assert {group["probability"] for group in answer["groups"]} == {None}


def test_results_can_be_kept_in_memory_and_saved_later(tmp_path: Path) -> None:
    result = segment(painted_section()[0], threshold_model())
    assert result.folder.is_dir()
    saved = result.save(tmp_path, name="B7")
    assert {path.name for path in saved.iterdir()} == CONTRACT
    with pytest.raises(OutputExistsError, match="--overwrite"):
        result.save(tmp_path, name="B7")


def test_doubling_the_pixel_size_quadruples_areas(painted: Result) -> None:
    section = painted_section()[0].with_pixel_size(4.0)
    table = segment(section, threshold_model(um_per_px=8.0)).chondrules()
    np.testing.assert_allclose(table["area_um2"], 4 * painted.chondrules()["area_um2"])


def test_a_coarser_section_keeps_its_pixels_and_areas() -> None:
    section, is_disc = painted_section()
    result = segment(section, threshold_model(um_per_px=1.0))
    assert any("own pixels of 2 um" in note for note in result.run["notes"])
    assert result.chondrules()["area_px"].sum() == pytest.approx(is_disc.sum(), rel=0.03)


def test_a_user_legend_merges_phases(tmp_path: Path) -> None:
    edit = LegendEdit(merge={"silicate": ("olivine", "low-Ca pyroxene")})
    result = segment(painted_section()[0], threshold_model(), out=tmp_path, legend=edit)
    assert "silicate" in set(result.modes()["name"])
    assert "olivine" not in read_legend_csv(result.folder / "legend.csv")["phases"].names
    with pytest.raises(InputError, match="cannot be dropped"):
        segment(painted_section()[0], threshold_model(), legend=LegendEdit(drop=("hole",)))


def test_a_preset_joins_what_it_leaves_out(tmp_path: Path) -> None:
    result = segment(painted_section()[0], threshold_model(), out=tmp_path, legend="opaques")
    names = set(result.modes().query("layer == 'phases' and area_px > 0")["name"])
    assert "other phases" in names
    assert not names & {"olivine", "low-Ca pyroxene"}
    written = read_legend_csv(result.folder / "legend.csv")["phases"]
    assert set(np.unique(result.phases).tolist()) <= set(written.ids)
    assert written["other phases"].id == max(default_legend("phases").ids) + 1


def striped_section(widths_px: dict[str, int], elements: Sequence[str]) -> Section:
    """Return wt% maps of 24 rows with a stripe of each formula."""
    stripes = [[formula_wt_pct(formula).get(name, 0.0) for name in elements] for formula in widths_px]
    rows = np.repeat(np.array(stripes, np.float32), list(widths_px.values()), axis=0)
    maps = {name: np.tile(rows[:, index], (24, 1)) for index, name in enumerate(elements)}
    return Section.from_arrays("A", maps, units=dict.fromkeys(maps, "wt%"), pixel_size_um=1.0)


def phases_only() -> Model:
    whole = threshold_model()
    return Model(ModelCard("phases", whole.card.networks[1:]), {"fine": whole.networks["fine"]}, Path("m"), "0")


@pytest.mark.parametrize(
    ("edit", "joined"),
    [
        (LegendEdit(preset="opaques"), "other phases"),
        (LegendEdit(merge={"a": ("spinel", "olivine", "troilite")}), "a"),
    ],
)
def test_joined_phases_weigh_what_their_parts_do(tmp_path: Path, edit: LegendEdit, joined: str) -> None:
    section = striped_section(
        {"Mg1.6Fe0.4SiO4": 20, "MgAl2O4": 13, "FeS": 9, "Fe0.95Ni0.05": 7}, ("Fe", "Mg", "Si", "S", "Al", "Ni", "O")
    )
    before, after = (
        result.modes().query("area_pct > 0").set_index("name")
        for result in (
            segment(section, phases_only(), out=tmp_path / "all"),
            segment(section, phases_only(), out=tmp_path / "edited", legend=edit),
        )
    )
    parts = before.index.difference(after.index)
    assert len(parts) >= 2
    assert after.loc[joined, "wt_pct"] == pytest.approx(before.loc[parts, "wt_pct"].sum(), abs=0.01)
    kept = before.index.intersection(after.index)
    np.testing.assert_allclose(after.loc[kept, "wt_pct"], before.loc[kept, "wt_pct"], atol=0.01)
    modes_again(tmp_path / "edited" / "A")
    again = pd.read_csv(tmp_path / "edited" / "A" / "modes.csv").query("area_pct > 0").set_index("name")
    np.testing.assert_allclose(again["wt_pct"], after["wt_pct"])


def test_a_network_cannot_find_a_new_phase() -> None:
    edit = LegendEdit(new=(NewPhase("djerfisherite", "#aa8800", (("K6Fe24S26Cl",),)),))
    with pytest.raises(InputError, match="no calibrated chemistry: give --standards or wt% maps"):
        segment(painted_section()[0], threshold_model(), legend=edit)


def test_a_new_phase_is_in_the_labels_and_the_legend(tmp_path: Path) -> None:
    section = striped_section({"Mg1.6Fe0.4SiO4": 15, "K6Fe24S26Cl": 18}, ("Fe", "Mg", "Si", "S", "K", "Cl"))
    edit = LegendEdit(new=(NewPhase("djerfisherite", "#aa8800", (("K6Fe24S26Cl",),), 3.7),))
    model = phases_only()
    result = segment(section, model, out=tmp_path, legend=edit)
    written = read_legend_csv(result.folder / "legend.csv")["phases"]
    assert np.all(result.phases[:, 16:] == written["djerfisherite"].id)
    assert np.all(result.phases[:, :14] == written["olivine"].id)
    light = segment(section, model, legend=LegendEdit(new=(replace(edit.new[0], density_g_cm3=None),)))
    assert light.modes()["wt_pct"].isna().all()
    assert any("Weight percent are left empty" in note for note in light.run["notes"])
    row = result.modes().query("layer == 'phases' and name == 'djerfisherite'").iloc[0]
    assert row["wt_pct"] == pytest.approx(100 * 18 * 3.7 / (18 * 3.7 + 15 * written["olivine"].density_g_cm3), abs=1)


def test_a_model_without_phases_leaves_that_layer_out() -> None:
    whole = threshold_model()
    card = ModelCard("components", whole.card.networks[:1])
    result = segment(painted_section()[0], Model(card, {"coarse": whole.networks["coarse"]}, Path("m"), "0"))
    assert set(result.modes()["layer"]) == {"components"}
    assert any("delivers no phases" in note for note in result.run["notes"])
    with pytest.raises(InputError, match="delivered no phases"):
        _ = result.phases


def test_a_model_without_components_leaves_those_layers_out() -> None:
    whole = threshold_model()
    card = ModelCard("phases", whole.card.networks[1:])
    result = segment(painted_section()[0], Model(card, {"fine": whole.networks["fine"]}, Path("m"), "0"))
    assert set(result.modes()["layer"]) == {"phases"}
    assert not (result.folder / "chondrules.csv").exists()
    with pytest.raises(InputError, match="no chondrules"):
        result.chondrules()


def test_a_stack_must_match_the_card() -> None:
    section = painted_section()[0]
    whole = threshold_model()
    model = Model(ModelCard("phases", whole.card.networks[1:]), {"fine": whole.networks["fine"]}, Path("m"), "0")
    result = segment(section.select(["Si"]), model)
    np.testing.assert_array_equal(result.phases, segment(section, model).phases)
    with pytest.raises(ChannelError, match="select those, in that order"):
        segment(section.select(["Fe"]), model)


def test_small_sections_run_on_finer_pixels() -> None:
    card = threshold_model(um_per_px=16.0).card.networks[0]
    section = Section.from_arrays("s", {"Fe": np.ones((512, 600)), "Mg": np.ones((512, 600))}, pixel_size_um=1.0)
    assert choose_grid(card, section).target == (32, 38)
    small = NetworkCard(**{**vars(card), "um_per_px_range": (0.2, 20.0)})
    assert choose_grid(small, section).target == (256, 300)
    assert choose_grid(small, section.with_pixel_size(0.1)).target == (256, 300)
    assert choose_grid(small, section.with_pixel_size(20.0)).target == (512, 600)


def test_chondrules_of_few_coarse_pixels_are_remarked_and_can_be_sought_on_finer_ones() -> None:
    section, is_disc = painted_section()
    model = threshold_model(um_per_px=20.0)
    coarse = segment(section, model)
    assert [note for note in coarse.run["notes"] if "--chondrule-pixel" in note]
    fine = segment(section, model, chondrule_pixel_um=4.0)
    assert not [note for note in fine.run["notes"] if "--chondrule-pixel" in note]
    assert fine.run["parameters"]["chondrule_pixel_um"] == 4.0
    wrong = [np.count_nonzero((found.chondrule_labels > 0) != is_disc) for found in (coarse, fine)]
    assert wrong[1] < 0.7 * wrong[0]
    assert not [note for note in fine.run["notes"] if "it was trained on" in note]
    with pytest.raises(PixelSizeError, match="positive size"):
        segment(section, model, chondrule_pixel_um=0.0)


def test_pixels_a_network_was_not_trained_for_are_remarked() -> None:
    section = Section.from_arrays("s", {"Fe": np.ones((40, 40)), "Mg": np.ones((40, 40))}, pixel_size_um=900.0)
    card = threshold_model().card.networks[0]
    note = describe_grid(card, section, choose_grid(card, section))
    assert "own pixels of 900 um (it was trained on" in note


def test_class_maps_beyond_memory_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("meteoseg.inference.MAX_COARSE_VALUES", 1000)
    section = painted_section()[0]
    with pytest.raises(PixelSizeError, match="check --pixel-size"):
        choose_grid(threshold_model().card.networks[0], section)


def test_bad_input_writes_nothing(tmp_path: Path) -> None:
    section = painted_section()[0]
    unknown = Section.from_arrays("A", {"Fe": np.ones((9, 12))})
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        segment(unknown, threshold_model(), out=tmp_path / "out")
    with pytest.raises(ChannelError, match="Channel 'Mg' is missing"):
        segment(unknown.with_pixel_size(1.0), threshold_model(), out=tmp_path / "out")
    with pytest.raises(UnknownNameError, match="Unknown model"):
        segment(section, "chondrit", out=tmp_path / "out")
    with pytest.raises(InputError, match="does not exist"):
        segment(section, threshold_model(), standards=tmp_path / "none", out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_a_failure_inside_leaves_nothing(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fail(*_: object, **__: object) -> None:
        raise KeyboardInterrupt

    monkeypatch.setattr("meteoseg.results.reporting.write_report", fail)
    with pytest.raises(KeyboardInterrupt):
        segment(painted_section()[0], threshold_model(), out=tmp_path / "out")
    assert list(tmp_path.iterdir()) == []


def test_any_subset_of_channels_is_taken(tiny_model: Path) -> None:
    rng = np.random.default_rng(1)
    for names in (["BSE"], ["Fe", "Mg", "Si"]):
        arrays = {name: rng.poisson(40, (50, 70)) for name in names}
        result = segment(Section.from_arrays("s", arrays, pixel_size_um=8.0), tiny_model)
        assert result.phases.shape == (50, 70)
        assert pd.isna(result.modes().set_index("name").loc["hole", "area_pct"]).all()
    assert ABSENT < 0


def test_the_whole_grid_is_labelled_whatever_its_shape(tiny_model: Path) -> None:
    rng = np.random.default_rng(2)
    for shape in ((17, 301), (129, 33)):
        section = Section.from_arrays("s", {"Fe": rng.poisson(40, shape)}, pixel_size_um=2.0)
        result = segment(section, tiny_model)
        labels = read_labels(result.folder / "components.ome.tif")
        assert labels.shape == shape
        assert set(np.unique(labels)) <= set(COMPONENTS.ids)
