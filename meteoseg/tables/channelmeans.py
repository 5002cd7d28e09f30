"""Mean of every channel in each class of a label image."""

from __future__ import annotations

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from meteoseg.grid import row_bands
from meteoseg.legend import OUTSIDE, Legend
from meteoseg.section import Section

_BAND_PX = 1_000_000


def channel_means(section: Section, labels: NDArray[np.integer], legend: Legend) -> pd.DataFrame:
    """Return the mean of each channel in each class that has pixels, in the order of the legend.

    Parameters
    ----------
    labels : (H, W) ids of `legend`; what is ``outside`` does not count.

    Returns
    -------
    Columns `name`, `area_px` and the channels; NaN where no value of a class is finite.

    Examples
    --------
    >>> from meteoseg.legend import default_legend
    >>> section = Section.from_arrays("A", {"Fe": np.array([[1.0, 3.0, 50.0], [9.0, 9.0, np.nan]])})
    >>> labels = np.array([[1, 1, 6], [0, 0, 6]])
    >>> channel_means(section, labels, default_legend("phases")).values.tolist()
    [['olivine', 2, 2.0], ['kamacite', 2, 50.0]]
    """
    kinds = max(legend.ids) + 1
    pixels = np.zeros(kinds, np.int64)
    shape = (len(section.channel_names), kinds)
    sums, finite = np.zeros(shape), np.zeros(shape, np.int64)
    for window in row_bands(section.shape, _BAND_PX):
        band = np.asarray(labels[window.slices])
        pixels += np.bincount(band.ravel(), minlength=kinds)
        for channel, plane in enumerate(section.read(window=window)):
            known = (band != 0) & np.isfinite(plane)
            sums[channel] += np.bincount(band[known], weights=plane[known], minlength=kinds)
            finite[channel] += np.bincount(band[known], minlength=kinds)
    present = [label for label in legend.labels if label.name != OUTSIDE and pixels[label.id]]
    ids = [label.id for label in present]
    mean = np.divide(sums[:, ids], finite[:, ids], out=np.full((len(sums), len(ids)), np.nan), where=finite[:, ids] > 0)
    table = pd.DataFrame(mean.T, columns=list(section.channel_names))
    table.insert(0, "area_px", pixels[ids])
    table.insert(0, "name", [label.name for label in present])
    return table
