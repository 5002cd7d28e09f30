"""docs/tables.md lists exactly the columns that real outputs have."""

from __future__ import annotations

import re
import shutil
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from mineral_painting import CALIBRATION, one_chondrule_model, painted_counts

from meteoseg.batch import batch
from meteoseg.cli import main
from meteoseg.clustering import ClusterOptions, cluster
from meteoseg.io import open_section
from meteoseg.pipeline import segment

PAGE = Path(__file__).parent.parent / "docs" / "tables.md"
#: Columns after the documented ones that depend on the input.
FREE_END = ("channel_means.csv", "meteorites_classification.csv", "patches.csv")


def documented() -> dict[str, tuple[list[str], set[str]]]:
    """Columns and which of them are optional, by file."""
    found = {}
    for part in re.split(r"^## ", PAGE.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]:
        name = re.match(r"`(.+)`", part)
        if name:
            rows = re.findall(r"^\| `(\w+)` \|[^|]*\| (.*) \|$", part, flags=re.MULTILINE)
            found[name[1]] = ([column for column, _ in rows], {c for c, text in rows if text.startswith("optional")})
    return found


@pytest.fixture(scope="module")
def outputs(tmp_path_factory: pytest.TempPathFactory, tiny_model: Path) -> dict[str, list[Path]]:
    """Every CSV of a run with chemistry and labelled points, of clusters and of a batch, by file name."""
    folder = tmp_path_factory.mktemp("tables")
    counts, _ = painted_counts()
    (folder / "A").mkdir()
    for name, plane in counts.items():
        tifffile.imwrite(folder / "A" / f"A_{name}.tif", plane.astype(np.uint16))
    CALIBRATION.to_json(folder / "calibration.json")
    section = open_section(folder / "A", pixel_size_um=2.0)
    run = segment(section, one_chondrule_model(), standards=folder / "calibration.json", out=folder / "out").folder
    call("checkpoints", run, "-n", 200)
    points = pd.read_csv(run / "checkpoints_phases.csv")
    points["label"] = pd.read_csv(run / "checkpoints_phases_key.csv")["mapped"]
    points.to_csv(folder / "labelled.csv", index=False)
    call("checkpoints", run, "--read", folder / "labelled.csv")
    cluster(section, ClusterOptions(classes=3), out=folder / "clusters")
    shutil.copytree(folder / "A", folder / "B")
    (folder / "batch.csv").write_text("section,pixel_size_um,meteorite\nA,8,Rock\nB,8,Rock\n", encoding="utf-8")
    batch(folder / "batch.csv", folder / "campaign", model=str(tiny_model))
    found: dict[str, list[Path]] = {}
    for path in (*folder.glob("out/**/*.csv"), *folder.glob("clusters/**/*.csv"), *folder.glob("campaign/**/*.csv")):
        found.setdefault(path.name, []).append(path)
    return found


def call(*args: object) -> None:
    done = CliRunner().invoke(main, [str(arg) for arg in args])
    assert done.exit_code == 0, done.output


def test_every_table_that_is_written_is_documented(outputs):
    assert set(outputs) == set(documented())


@pytest.mark.parametrize("name", sorted(documented()))
def test_columns_are_those_of_the_page_in_their_order(outputs, name):
    columns, optional = documented()[name]
    for path in outputs[name]:
        found = list(pd.read_csv(path, nrows=0))
        if name == "modes.csv" and path.parent.name == "campaign":
            assert found.pop(0) == "section"
        if name in FREE_END:
            found = found[: len(columns)]
        assert found == [column for column in columns if column in found or column not in optional]
