"""Other ways to register, on the same pairs and on chm1: phase correlation, mutual information (needs SimpleITK)."""

from __future__ import annotations

import csv
import sys
import time
from pathlib import Path

import numpy as np
import SimpleITK as sitk  # noqa: N813
from pairs import MAP_UM, draw_pair, error_px
from skimage.registration import phase_cross_correlation

from meteoseg.io import open_section
from meteoseg.io.formats import read_maps
from meteoseg.io.warped import Transform, WarpedPlane
from meteoseg.section import ArrayPlane

HERE = Path(__file__).parent


def phase_correlation(iron: np.ndarray, image: np.ndarray, nominal: Transform) -> Transform:
    """Shift of the Fe map by phase correlation with sub-pixel refinement (scikit-image)."""
    resampled = WarpedPlane(ArrayPlane(image), iron.shape, nominal)
    moved = np.nan_to_num(resampled.read(_whole(iron.shape)))
    shift = phase_cross_correlation(iron, moved, upsample_factor=50)[0]
    return nominal.after(Transform(np.eye(2), -np.asarray(shift, float)))


def mutual_information(iron: np.ndarray, image: np.ndarray, nominal: Transform) -> Transform:
    """Similarity of the Fe map by Mattes mutual information over four resolutions (SimpleITK)."""
    fixed, moving = (sitk.GetImageFromArray(values.astype(np.float32)) for values in (iron, image))
    step = float(nominal.matrix[0, 0])
    moving.SetSpacing((1 / step, 1 / step))
    moving.SetOrigin((0.5 / step - 0.5,) * 2)
    start = sitk.CenteredTransformInitializer(
        fixed, moving, sitk.Similarity2DTransform(), sitk.CenteredTransformInitializerFilter.GEOMETRY
    )
    method = sitk.ImageRegistrationMethod()
    method.SetMetricAsMattesMutualInformation(32)
    method.SetMetricSamplingStrategy(method.NONE)
    method.SetInterpolator(sitk.sitkLinear)
    method.SetOptimizerAsRegularStepGradientDescent(1.0, 1e-4, 300)
    method.SetOptimizerScalesFromPhysicalShift()
    method.SetShrinkFactorsPerLevel([8, 4, 2, 1])
    method.SetSmoothingSigmasPerLevel([4, 2, 1, 0])
    method.SetInitialTransform(start)
    found = method.Execute(fixed, moving)
    points = [np.array(found.TransformPoint(point)) for point in ((0.0, 0.0), (1.0, 0.0), (0.0, 1.0))]
    offset = points[0][::-1]  # SimpleITK counts (x, y)
    matrix = np.stack([points[2][::-1] - offset, points[1][::-1] - offset], axis=1)
    return nominal.after(Transform(matrix, offset))


def _whole(shape):
    from meteoseg.grid import Window

    return Window.whole(shape)


METHODS = {"phase correlation": phase_correlation, "mutual information": mutual_information}


def chm1(folder: Path) -> None:
    """Print where each method puts the BSE image of a folder of maps."""
    section = open_section(folder, use_mask=False, without=["BSE"])
    image = read_maps(next(folder.glob("*BSE*.tif")))[0].plane.read(section.window)
    iron = np.sqrt(section.read(["Fe"])[0])
    middle = (np.array(iron.shape, float)[None] - 1) / 2
    for name, method in METHODS.items():
        found = method(iron, image, Transform.scaling((1.0, 1.0)))
        print(name, (found.apply(middle) - middle).round(2).tolist(), found.matrix.round(4).tolist(), flush=True)


def main() -> None:
    for folder in sys.argv[2:]:
        chm1(Path(folder))
    with (HERE / "compare.csv").open("w", newline="") as handle:
        writer = csv.DictWriter(handle, ("method", "seed", "error_px", "seconds"))
        writer.writeheader()
        for seed in range(int(sys.argv[1])):
            pair = draw_pair(seed)
            iron = np.sqrt(pair.section.read(["Fe"])[0])
            for name, method in METHODS.items():
                start = time.process_time()
                found = method(iron, pair.image, Transform.scaling((MAP_UM / pair.image_um,) * 2))
                seconds = round(time.process_time() - start, 1)
                error = round(error_px(found, pair), 3)
                writer.writerow({"method": name, "seed": seed, "error_px": error, "seconds": seconds})
                handle.flush()


if __name__ == "__main__":
    main()
