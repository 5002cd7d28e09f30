"""`cluster` writes the label image and tables of a segmentation, on the command line and in Python."""

from __future__ import annotations

import html
import json
import re

import numpy as np
import pandas as pd
import pytest
from click.testing import CliRunner

import meteoseg as ms
from meteoseg.cli import main
from meteoseg.clustering import ClusterOptions
from meteoseg.errors import InputError, OutputExistsError, PixelSizeError, UnknownNameError
from meteoseg.io import open_labels, write_labels
from meteoseg.legend import read_legend_csv
from meteoseg.report.facts import significant
from meteoseg.section import Section

FILES = {"phases.ome.tif", "legend.csv", "modes.csv", "representativeness.csv", "channel_means.csv", "phases.png",
         "report.html", "run.json"}  # fmt: skip


def made() -> Section:
    row, col = np.mgrid[:70, :110]
    rng = np.random.default_rng(2)
    is_metal = np.hypot(row - 30, col - 40) < 20
    maps = {"Fe": np.where(is_metal, 250, 15), "Mg": np.where(is_metal, 3, 180), "Si": np.where(is_metal, 4, 150)}
    maps = {name: rng.poisson(mean).astype(np.uint16) for name, mean in maps.items()}
    mask = np.ones((70, 110), np.uint8)
    mask[:, 100:] = 0
    units = dict.fromkeys(maps, "counts")
    return Section.from_arrays("A", maps, pixel_size_um=(2.0, 3.0), units=units, mask=mask)


def test_results_are_those_of_a_segmentation(tmp_path):
    section = made()
    result = ms.cluster(section, ClusterOptions("kmeans", classes=2), out=tmp_path)
    assert {path.name for path in result.folder.iterdir()} == FILES
    labels = result.phases
    assert labels.shape == section.shape
    assert np.all(labels[:, 100:] == 0)
    assert np.mean((labels == 2) == (np.hypot(*np.mgrid[-30:40, -40:70]) < 20)) > 0.99
    assert open_labels(result.folder / "phases.ome.tif")[1] == pytest.approx((2.0, 3.0))
    modes = result.modes().set_index("name")
    assert modes.loc[["cluster 1", "cluster 2"], "area_pct"].sum() == pytest.approx(100)
    assert modes.loc["cluster 2", "area_um2"] == pytest.approx(6 * np.count_nonzero(labels == 2))
    means = result.channel_means().set_index("name")
    assert means.loc["cluster 2", "Fe"] == pytest.approx(section.read(["Fe"])[0][labels == 2].mean(), rel=1e-6)
    run = json.loads((result.folder / "run.json").read_text())
    assert run["complete"]
    assert run["phases_from"] == "k-means, 2 clusters"
    assert run["parameters"]["seed"] == 1
    assert read_legend_csv(result.folder / "legend.csv")["phases"].names[:3] == ("outside", "cluster 1", "cluster 2")


def test_means_are_those_of_the_values_that_are_there(tmp_path):
    iron = np.where(np.arange(40) < 20, 8.0, 2.0) * np.ones((30, 1))
    sulfur = np.full((30, 40), 5.0)
    iron[0, 0], iron[1, 0], iron[2, 0], iron[3, 0] = np.inf, -np.inf, np.nan, 108
    sulfur[:, 20:] = np.nan
    section = Section.from_arrays("A", {"Fe": iron, "S": sulfur}, pixel_size_um=1.0)
    (tmp_path / "rules.toml").write_text("[rules]\nmetal = 'Fe > 5'\nsilicate = 'Fe > 1'")
    result = ms.cluster(section, ClusterOptions("rules", rules=tmp_path / "rules.toml"), out=tmp_path)
    means = result.channel_means().set_index("name")
    assert means.loc["silicate", "Fe"] == 2
    assert np.isnan(means.loc["silicate", "S"])
    metal = np.isfinite(iron) & (iron > 5)
    assert means.loc["metal", "Fe"] == pytest.approx(iron[metal].mean())
    assert means.loc["metal", "S"] == 5


def test_the_report_shows_classes_means_and_how_they_were_made(tmp_path):
    section = made()
    result = ms.cluster(section, ClusterOptions("kmeans", classes=2), out=tmp_path)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert re.findall(r'alt="([^"]+)"', page) == ["Classes", "Modal abundances"]
    assert '<div class="answer long">k-means, 2 clusters</div>' in page
    assert "<strong>2</strong><span>classes of pixels" in page
    assert "<h3>classes</h3>" in page
    for word in ("wt %", "Suggested group", "<h2>Chondrules</h2>", "chondrules and fragments", "Weight percent"):
        assert word not in page
    assert '<th class="n">Fe (counts)</th>' in page
    means = result.channel_means().set_index("name")
    for name in ("cluster 1", "cluster 2"):
        assert f">{significant(means.loc[name, 'Fe'])}</td>" in page
        assert f"{result.modes().set_index('name').loc[name, 'area_pct']:.2f}" in page
    assert '<td class="key">parameters.method</td><td class="value">kmeans</td>' in page
    assert '<td class="key">versions.meteoseg</td>' in page
    assert str(result.folder / "report.html") in result.summary()


def test_the_report_repeats_the_notes_and_shows_composites(tmp_path):
    section = made()
    names = ("Fe", "Mg", "S", "Ca", "Al")
    maps = {name: section.read(["Fe"])[0] if name != "Al" else -section.read(["Fe"])[0] for name in names}
    full = Section.from_arrays("B", maps, pixel_size_um=2.0, units=dict.fromkeys(names, "counts"))
    result = ms.cluster(full, ClusterOptions("nmf", classes=2), out=tmp_path)
    page = (result.folder / "report.html").read_text(encoding="utf-8")
    assert "FeMgSCaAl" in re.findall(r'alt="([^"]+)"', page)
    assert result.run["notes"]
    shown = html.unescape(page)
    assert "negative" in " ".join(result.run["notes"])
    assert all(note.partition(": ")[2] in shown for note in result.run["notes"])


def test_clusters_are_numbered_by_their_area_and_without_gaps(tmp_path, monkeypatch):
    section = made()

    class Tool:
        names = tuple(f"cluster {number}" for number in range(1, 6))
        description, notes = "a tool", ()

        def draw(self, window):
            found = np.full(section.shape, 5, np.uint8)
            found[:, 60:] = 3
            found[:10] = 1
            return found[window.slices]

    monkeypatch.setattr("meteoseg.clustering.fit_clusters", lambda *_, **__: Tool())
    result = ms.cluster(section, ClusterOptions("gmm"), out=tmp_path)
    assert (result.phases[10:, :60] == 1).all()
    assert (result.phases[10:, 60:100] == 2).all()
    assert (result.phases[:10, :100] == 3).all()
    assert not result.phases[:, 100:].any()
    assert list(result.channel_means()["name"]) == ["cluster 1", "cluster 2", "cluster 3"]
    assert list(result.channel_means()["area_px"]) == [3600, 2400, 1000]
    legend = read_legend_csv(result.folder / "legend.csv")["phases"]
    assert legend.names == ("outside", "cluster 1", "cluster 2", "cluster 3", "unclassified")
    assert "2 of 5 clusters hold no pixel of the section and are left out." in result.run["notes"]


def test_a_result_is_kept_and_tables_can_be_made_again(tmp_path):
    result = ms.cluster(made(), ClusterOptions(classes=2), out=tmp_path)
    before = result.modes()
    done = CliRunner().invoke(main, ["modes", str(result.folder)])
    assert done.exit_code == 0, done.output
    pd.testing.assert_frame_equal(pd.read_csv(result.folder / "modes.csv"), before)
    with pytest.raises(OutputExistsError, match="use --overwrite"):
        ms.cluster(made(), out=tmp_path)


def test_without_a_folder_the_result_is_temporary():
    result = ms.cluster(made(), ClusterOptions(classes=2))
    assert result.folder.is_dir()
    folder = result.folder
    del result
    assert not folder.exists()


def test_nothing_is_left_behind_by_a_failure(tmp_path):
    with pytest.raises(PixelSizeError, match="--pixel-size"):
        ms.cluster(Section.from_arrays("A", {"Fe": np.ones((4, 5))}), out=tmp_path)
    empty = Section.from_arrays("E", {"Fe": np.zeros((40, 50)), "Mg": np.zeros((40, 50))}, pixel_size_um=1.0)
    (tmp_path / "rules.toml").write_text("[rules]\nmetal = 'Fe > 3'")
    with pytest.raises(InputError, match="All maps of 'E' are zero everywhere"):
        ms.cluster(empty, ClusterOptions("rules", rules=tmp_path / "rules.toml"), out=tmp_path)
    assert [path.name for path in tmp_path.iterdir()] == ["rules.toml"]


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"method": "rules"}, "needs a TOML file: add --rules"),
        ({"method": "forest"}, "add --scribbles TIF"),
        ({"rules": "rules.toml"}, "--rules goes with --method rules, not with kmeans"),
        ({"method": "rules", "classes": 3}, "--classes goes with --method kmeans or gmm or nmf, not with rules"),
        ({"names": {1: "a"}}, "--class goes with --method forest"),
    ],
)
def test_options_that_do_not_go_together_are_named(options, message):
    with pytest.raises(InputError, match=message):
        ClusterOptions(**options)


def test_an_unknown_method_is_named():
    with pytest.raises(UnknownNameError, match="Did you mean 'kmeans'"):
        ClusterOptions("k-means")


def test_command_sorts_by_rules_and_scribbles(maps, tmp_path):
    rules = tmp_path / "rules.toml"
    rules.write_text('[rules]\nolivine = "Mg / (Mg + Fe) > 0.55"\nmatrix = "Fe > 40"')
    shared = ["cluster", str(maps), "-o", str(tmp_path / "out"), "--pixel-size", "2"]
    done = CliRunner().invoke(main, [*shared, "--method", "rules", "--rules", str(rules), "--name", "by-rules"])
    assert done.exit_code == 0, done.output
    assert "olivine" in done.output
    drawn = np.zeros((48, 70), np.uint8)
    drawn[18:22, 26:34] = 1
    drawn[2:4, 2:60] = 2
    write_labels(tmp_path / "drawn.tif", drawn)
    done = CliRunner().invoke(
        main, [*shared, "--method", "forest", "--scribbles", str(tmp_path / "drawn.tif"), "--class", "1=olivine",
               "2=matrix", "--use", "Fe", "Mg / (Mg + Fe)"]
    )  # fmt: skip
    assert done.exit_code == 0, done.output
    by_rules, by_forest = (pd.read_csv(tmp_path / "out" / name / "modes.csv").set_index("name")["area_pct"]
                           for name in ("by-rules", "A12"))  # fmt: skip
    assert by_forest["olivine"] == pytest.approx(by_rules["olivine"], abs=3)


@pytest.mark.parametrize(
    ("extra", "message"),
    [
        (["--class", "1=a"], "--class goes with --method forest"),
        (["--method", "forest", "--class", "x=a"], "--class value 'x' is no whole number"),
        (["--use", "Zr"], "Channel 'Zr' is missing"),
        (["--method", "kmean"], "Invalid value for '--method'"),
    ],
)
def test_bad_commands_are_one_line_and_exit_2(maps, tmp_path, extra, message):
    done = CliRunner().invoke(main, ["cluster", str(maps), "-o", str(tmp_path / "out"), "--pixel-size", "2", *extra])
    assert done.exit_code == 2
    assert message in done.output
    assert not (tmp_path / "out").exists()
