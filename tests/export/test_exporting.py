"""Exports keep ids, areas, names, colours and pixel size; checked with readers that are not ours."""

import json

import numpy as np
import pandas as pd
import pytest
import tifffile
from click.testing import CliRunner
from ring_and_disc import SHAPE, SIZE_UM, object_labels

from meteoseg.cli import main
from meteoseg.errors import InputError, OutputExistsError
from meteoseg.export.exporting import export_results
from meteoseg.export.outlines import area
from meteoseg.io import write_labels
from meteoseg.legend import default_legend


def table_of(result):
    return pd.read_csv(result / "chondrules.csv").set_index("id")


def features(result, folder=None):
    path = (folder or result / "export") / "chondrules.geojson"
    return json.loads(path.read_text(encoding="utf-8"))["features"]


def test_geojson_keeps_ids_areas_and_measurements(result):
    shapely = pytest.importorskip("shapely.geometry")
    assert export_results(result, to=["qupath"]) == [result / "export" / "chondrules.geojson"]
    table = table_of(result)
    found = features(result)
    assert [item["properties"]["measurements"]["id"] for item in found] == [7, 12, 300]
    for item in found:
        shape, measured = shapely.shape(item["geometry"]), item["properties"]["measurements"]
        row = table.loc[measured["id"]]
        assert shape.is_valid
        assert shape.area == row["area_px"] == measured["area_px"]
        assert measured["area_um2"] == row["area_um2"]
        assert measured["touches_edge"] == 0
        assert shape.centroid.y * SIZE_UM[0] == pytest.approx(row["row_um"])
        assert shape.centroid.x * SIZE_UM[1] == pytest.approx(row["col_um"])
    assert [item["geometry"]["type"] for item in found] == ["Polygon", "Polygon", "MultiPolygon"]
    assert len(found[0]["geometry"]["coordinates"]) == 2, "the ring has a hole"


def test_geojson_names_kind_texture_and_colour(result):
    export_results(result, to=["qupath"])
    properties = [item["properties"] for item in features(result)]
    assert [item["objectType"] for item in properties] == ["annotation"] * 3
    assert [item["name"] for item in properties] == ["chondrule 7", "chondrule 12", "fragment 300"]
    classes = [item["classification"] for item in properties]
    assert [item["name"] for item in classes] == ["porphyritic olivine", "chondrule", "fragment"]
    assert classes[1]["color"] == [0x4C, 0x9B, 0xE8]
    assert len({tuple(item["color"]) for item in classes}) == 3


def test_measurements_that_are_missing_are_left_out(result):
    export_results(result, to=["qupath"])
    table = table_of(result)
    assert np.isnan(table.loc[12, "perimeter_um"]), "the disc is too small for shape statistics"
    assert "perimeter_um" not in features(result)[1]["properties"]["measurements"]
    assert "perimeter_um" in features(result)[0]["properties"]["measurements"]


def test_uuids_stay_the_same_and_differ_between_objects(result, tmp_path):
    export_results(result, to=["qupath"])
    export_results(result, to=["qupath"], out=tmp_path / "again")
    first, second = ([item["id"] for item in features(result, folder)] for folder in (None, tmp_path / "again"))
    assert first == second
    assert len(set(first)) == 3


def test_rois_keep_ids_kinds_areas_and_places(result):
    roifile = pytest.importorskip("roifile")
    export_results(result, to=["imagej"])
    rois = roifile.roiread(result / "export" / "chondrules.zip")
    assert [roi.name for roi in rois] == ["00007 chondrule", "00012 chondrule", "00300 fragment"]
    assert [roi.composite for roi in rois] == [True, False, True]
    labels = object_labels()
    for roi in rois:
        rows, cols = np.nonzero(labels == int(roi.name.split()[0]))
        rings = roi.coordinates(multi=True)
        total = sum(area([(int(row), int(col)) for col, row in ring]) for ring in rings)
        assert total == rows.size
        assert (roi.top, roi.left, roi.bottom, roi.right) == (rows.min(), cols.min(), rows.max() + 1, cols.max() + 1)
        assert roi.position == 0, "on all channels"
    assert rois[1].hexcolor(rois[1].stroke_color) == "#4c9be8"


def test_rois_far_to_the_right_keep_their_place():
    roifile = pytest.importorskip("roifile")
    from meteoseg.export.imagej import roi
    from meteoseg.export.outlines import outlines
    from meteoseg.export.result import ExportedObject

    parts = outlines(np.ones((3, 5), bool), corner_px=(39_000, 38_000))
    made = roi(ExportedObject(5, "", "Al-rich/odd", "Al-rich", "#010203", {}, parts))
    read = roifile.ImagejRoi.frombytes(made.tobytes())
    assert read.coordinates().tolist() == [[38000, 39000], [38005, 39000], [38005, 39003], [38000, 39003]]
    assert read.name == "00005 Al-rich-odd"


def test_pictures_show_the_colours_of_the_legend(result):
    export_results(result, to=["ome-tiff"])
    for layer in ("phases", "components"):
        rgb = tifffile.imread(result / "export" / f"{layer}-colours.ome.tif")
        labels = tifffile.imread(result / f"{layer}.ome.tif")
        np.testing.assert_array_equal(rgb, default_legend(layer).colors()[labels])


def test_maps_are_channels_with_names_and_pixel_size(result, maps_folder):
    ome_types = pytest.importorskip("ome_types")
    export_results(result, to=["ome-tiff"])
    path = result / "export" / "maps.ome.tif"
    image = ome_types.from_tiff(path).images[0]
    names = [channel.name for channel in image.pixels.channels]
    assert sorted(names) == ["BSE", "Fe", "Mg"]
    assert (image.name, image.pixels.physical_size_y, image.pixels.physical_size_x) == ("A12", *SIZE_UM)
    values = tifffile.imread(path)
    assert values.dtype == np.uint16
    for name, plane in zip(names, values, strict=True):
        np.testing.assert_array_equal(plane, tifffile.imread(maps_folder / f"A12_{name}.tif"))


def test_ome_zarr_is_valid_and_keeps_values_scale_and_names(result):
    zarr = pytest.importorskip("zarr")
    export_results(result, to=["ome-zarr"])
    root = zarr.open_group(result / "export" / "section.ome.zarr", mode="r")
    assert root["0"].shape == (3, *SHAPE)
    multiscale = root.attrs["multiscales"][0]
    assert multiscale["version"] == "0.4"
    assert [axis.get("unit") for axis in multiscale["axes"]] == [None, "micrometer", "micrometer"]
    assert multiscale["datasets"][0]["coordinateTransformations"] == [{"type": "scale", "scale": [1.0, 2.0, 3.0]}]
    assert sorted(channel["label"] for channel in root.attrs["omero"]["channels"]) == ["BSE", "Fe", "Mg"]
    assert root["labels"].attrs["labels"] == ["phases", "components", "chondrules"]
    np.testing.assert_array_equal(root["labels/chondrules/0"][:], object_labels())
    properties = root["labels/chondrules"].attrs["image-label"]["properties"]
    assert [(item["label-value"], item["name"]) for item in properties] == [
        (7, "porphyritic olivine 7"), (12, "chondrule 12"), (300, "fragment 300"),
    ]  # fmt: skip
    phases = {item["label-value"]: item["name"] for item in root["labels/phases"].attrs["image-label"]["properties"]}
    assert phases[1] == "olivine"


def test_ome_zarr_passes_the_checks_of_its_data_model(result):
    zarr, models = pytest.importorskip("zarr"), pytest.importorskip("ome_zarr_models.v04")
    export_results(result, to=["ome-zarr"])
    root = zarr.open_group(result / "export" / "section.ome.zarr", mode="r")
    assert models.Image.from_zarr(root).attributes.multiscales[0].name == "A12"
    for name in ("phases", "components", "chondrules"):
        label = models.ImageLabel.from_zarr(root["labels"][name])
        assert label.attributes.image_label.source.image == "../../"


def test_levels_of_ome_zarr_are_samples_of_labels_and_means_of_maps(result, monkeypatch):
    zarr = pytest.importorskip("zarr")
    monkeypatch.setattr("meteoseg.io.pyramid.LARGEST_TOP_PX", 30)
    monkeypatch.setattr("meteoseg.export.omezarr.CHUNK_PX", 16)
    export_results(result, to=["ome-zarr"])
    root = zarr.open_group(result / "export" / "section.ome.zarr", mode="r")
    assert [root[name].shape for name in ("0", "1", "2")] == [(3, 60, 90), (3, 30, 45), (3, 15, 23)]
    for number in (1, 2):
        sampled = object_labels()[:: 2**number, :: 2**number]
        np.testing.assert_array_equal(root[f"labels/chondrules/{number}"][:], sampled)
    means = root["0"][:].reshape(3, 30, 2, 45, 2).mean(axis=(2, 4))
    np.testing.assert_allclose(root["1"][:], means, atol=0.5)
    steps = root.attrs["multiscales"][0]["datasets"][2]["coordinateTransformations"]
    assert steps[0]["scale"] == [1.0, 8.0, 12.0]
    assert steps[1]["translation"] == [0.0, 3.0, 4.5]


def test_all_tells_what_is_left_out(result, maps_folder):
    pytest.importorskip("roifile")
    maps_folder.rename(maps_folder.with_name("moved"))
    told = []
    written = export_results(result, tell=told.append)
    assert [path.name for path in written] == [
        "chondrules.geojson", "chondrules.zip", "phases-colours.ome.tif", "components-colours.ome.tif",
    ]  # fmt: skip
    assert "say with --maps DIR where they lie" in " ".join(told)


def test_moved_maps_are_found_with_the_option(result, maps_folder):
    moved = maps_folder.rename(maps_folder.with_name("moved"))
    export_results(result, to=["ome-tiff"], maps=moved)
    assert (result / "export" / "maps.ome.tif").is_file()


def test_moved_maps_stop_a_format_that_needs_them(result, maps_folder):
    pytest.importorskip("zarr")
    maps_folder.rename(maps_folder.with_name("moved"))
    with pytest.raises(InputError, match=r"cannot be opened .* say with --maps DIR"):
        export_results(result, to=["ome-zarr"])


def test_edited_objects_without_a_new_table_are_refused(result):
    labels = object_labels()
    labels[0, 0] = 8
    write_labels(result / "chondrules.ome.tif", labels, pixel_size_um=SIZE_UM)
    with pytest.raises(InputError, match=r"object 8 is only in the image\): make the tables again with meteoseg modes"):
        export_results(result, to=["qupath"])
    labels[0, 0] = 7
    write_labels(result / "chondrules.ome.tif", labels, pixel_size_um=SIZE_UM)
    with pytest.raises(InputError, match=r"object 7 has \d+ px in the image, \d+ in the table"):
        export_results(result, to=["qupath"])
    assert not (result / "export").exists()


def test_labels_that_the_legend_lacks_are_refused(result):
    phases = np.full(SHAPE, 251, np.uint8)
    write_labels(result / "phases.ome.tif", phases, pixel_size_um=SIZE_UM)
    with pytest.raises(InputError, match=r"phases\.ome\.tif has the label 251, which legend\.csv does not list"):
        export_results(result, to=["ome-tiff"])


def test_results_without_objects(result):
    write_labels(result / "chondrules.ome.tif", np.zeros(SHAPE, np.uint32), pixel_size_um=SIZE_UM)
    table = pd.read_csv(result / "chondrules.csv")
    table.iloc[:0].to_csv(result / "chondrules.csv", index=False)
    with pytest.raises(InputError, match="has no objects in its chondrules"):
        export_results(result, to=["qupath"])
    (result / "chondrules.ome.tif").unlink()
    with pytest.raises(InputError, match=r"has no chondrules\.ome\.tif"):
        export_results(result, to=["qupath"])


def test_missing_packages_are_named(result, monkeypatch):
    monkeypatch.setitem(__import__("sys").modules, "roifile", None)
    with pytest.raises(InputError, match="need the package roifile: pip install roifile"):
        export_results(result, to=["imagej"])


def test_existing_exports_are_kept_unless_told(result):
    export_results(result, to=["qupath"])
    with pytest.raises(OutputExistsError, match="use --overwrite"):
        export_results(result, to=["qupath"])
    export_results(result, to=["qupath"], overwrite=True)


def test_several_results_go_to_folders_of_their_own(result, tmp_path):
    (tmp_path / "results" / "B7").mkdir()
    for path in result.iterdir():
        (tmp_path / "results" / "B7" / path.name).write_bytes(path.read_bytes())
    written = export_results(tmp_path / "results", to=["qupath"], out=tmp_path / "out")
    assert [path.parent.name for path in written] == ["A12", "B7"]


def test_command_line(result, tmp_path):
    done = CliRunner().invoke(main, ["export", str(result), "--to", "qupath", "ome-tiff", "-o", str(tmp_path / "out")])
    assert done.exit_code == 0, done.output
    assert (tmp_path / "out" / "maps.ome.tif").is_file()
    done = CliRunner().invoke(main, ["export", str(tmp_path / "gone")])
    assert (done.exit_code, done.output.count("\n")) == (2, 1)
    assert "does not exist" in done.output
