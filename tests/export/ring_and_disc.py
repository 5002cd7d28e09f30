"""Objects that a small result holds: a ring with a disc in it, and a fragment of two parts."""

from __future__ import annotations

import numpy as np
from skimage.draw import disk

SHAPE = (60, 90)
SIZE_UM = (2.0, 3.0)


def object_labels() -> np.ndarray:
    """A ring (7) with a small disc in its hole (12), a fragment of two parts that meet at a corner (300)."""
    labels = np.zeros(SHAPE, np.uint32)
    labels[disk((25, 30), 18)] = 7
    labels[disk((25, 30), 9)] = 0
    labels[disk((25, 30), 4)] = 12
    labels[40:50, 60:70] = 300
    labels[50:55, 70:80] = 300
    return labels
