import numpy as np
import pytest

from meteoseg.elements import CANONICAL_CHANNELS
from meteoseg.train.augment import augment, cut, drop_channels
from meteoseg.train.config import AugmentConfig

EVERY = np.ones(len(CANONICAL_CHANNELS), bool)
STILL = {"gain": 0.0, "gamma": 0.0, "noise": 0.0, "blur": 0.0}


def marked(shape, channels=5):
    """Image whose first channel repeats the target / 255."""
    targets = np.random.default_rng(1).integers(0, 8, (*shape, 2)).astype(np.uint8)
    image = np.repeat(targets[..., :1] / np.float32(8), channels, axis=2)
    return image, targets


def test_small_section_is_mirrored_and_its_margin_unknown():
    image, targets = marked((20, 50))
    patch, labels = cut(image.astype(np.float16), targets, np.random.default_rng(0), tile_px=32, zoom=1.0)
    assert patch.shape == (32, 32, 5)
    assert (labels[20:] == 255).all()
    assert (labels[:20] < 8).all()
    np.testing.assert_array_equal(patch[20:], patch[8:20][::-1])


@pytest.mark.parametrize("zoom", [0.5, 1.0, 2.0])
def test_zoom_keeps_size_and_registration(zoom):
    rows, cols = np.indices((128, 160))
    targets = ((rows // 16 + cols // 16) % 2).astype(np.uint8)[..., None]
    image = np.repeat(targets.astype(np.float16), 6, axis=2)
    patch, labels = cut(image, targets, np.random.default_rng(3), tile_px=64, zoom=zoom)
    assert patch.shape == (64, 64, 6)
    assert labels.shape == (64, 64, 1)
    assert ((patch[..., 5] > 0.5) == labels[..., 0]).mean() > 0.9
    changes = np.abs(np.diff(labels[5, :, 0].astype(int))).sum()
    assert abs(changes - 64 * zoom / 16) <= 1


def test_flips_move_image_and_targets_together():
    image, targets = marked((24, 24))
    seen = set()
    for seed in range(30):
        turned, labels = augment(image.copy(), targets, np.random.default_rng(seed), AugmentConfig(**STILL))
        np.testing.assert_allclose(turned[..., 0], labels[..., 0] / 8, atol=1e-6)
        seen.add(labels.tobytes())
    assert len(seen) == 8


def test_contrast_is_per_channel_and_values_stay_positive():
    image = np.full((16, 16, 4), 0.5, np.float32)
    settings = AugmentConfig(flips=False, gain=0.3, gamma=0.25, noise=0.0, blur=0.0)
    out, _ = augment(image, np.zeros((16, 16, 1), np.uint8), np.random.default_rng(2), settings)
    assert (np.ptp(out, axis=(0, 1)) < 1e-6).all()
    assert len(np.unique(out[0, 0].round(4))) == 4
    zeros, _ = augment(
        np.zeros((16, 16, 4), np.float32), np.zeros((16, 16, 1), np.uint8), np.random.default_rng(2), AugmentConfig()
    )
    assert zeros.min() >= 0


def test_noise_stays_below_its_largest_standard_deviation():
    image = np.full((64, 64, 16), 0.7, np.float32)
    settings = AugmentConfig(flips=False, gain=0, gamma=0, noise=0.1, blur=0)
    out, _ = augment(image, np.zeros((64, 64, 1), np.uint8), np.random.default_rng(8), settings)
    sd = out.std(axis=(0, 1))
    assert sd.max() < 0.11
    assert sd.min() > 0.002
    assert sd.max() > 3 * sd.min()


@pytest.mark.parametrize(
    ("policy", "kept"),
    [
        ("bse", {"BSE"}),
        ("no_bse", set(CANONICAL_CHANNELS) - {"BSE"}),
        ("museum", {"BSE", "Mg", "Ca", "Fe", "Al"}),
        ("fe_mg_si", {"Fe", "Mg", "Si"}),
        ("microprobe", {"Mg", "Al", "Si", "P", "S", "Ca", "Ti", "Cr", "Fe", "Ni"}),
        ("all", set(CANONICAL_CHANNELS)),
    ],
)
def test_policies_keep_their_channels(policy, kept):
    keep = drop_channels(EVERY, np.random.default_rng(0), {policy: 1.0})
    assert {name for name, there in zip(CANONICAL_CHANNELS, keep, strict=True) if there} == kept


def test_policy_that_leaves_nothing_keeps_what_there_is():
    present = np.array([name in ("Mg", "Fe") for name in CANONICAL_CHANNELS])
    np.testing.assert_array_equal(drop_channels(present, np.random.default_rng(0), {"bse": 1.0}), present)


def test_random_subsets_differ_and_never_add_channels():
    present = np.array([name != "O" for name in CANONICAL_CHANNELS])
    rng = np.random.default_rng(0)
    subsets = [drop_channels(present, rng, {"random": 1.0}) for _ in range(40)]
    assert all(keep.any() and not (keep & ~present).any() for keep in subsets)
    assert len({keep.tobytes() for keep in subsets}) > 20
