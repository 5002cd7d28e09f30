"""Directions, rotations and two-body decays, for many particles at once. Energies and momenta in MeV."""

from __future__ import annotations

import numpy as np

FloatArray = np.ndarray


def isotropic(n: int, rng: np.random.Generator) -> FloatArray:
    """Draw unit vectors, shape (n, 3), uniformly over the sphere."""
    cosine, turn = rng.uniform(-1, 1, n), rng.uniform(0, 2 * np.pi, n)
    sine = np.sqrt(1 - cosine**2)
    return np.stack([sine * np.cos(turn), sine * np.sin(turn), cosine], axis=1)


def rotated(directions: FloatArray, cosine: FloatArray, turn: FloatArray) -> FloatArray:
    """Turn unit vectors by a polar angle (its cosine) at an azimuth.

    Examples
    --------
    >>> rotated(np.array([[0.0, 0.0, 1.0]]), np.array([0.0]), np.array([0.0])).round(6)
    array([[1., 0., 0.]])
    """
    sine = np.sqrt(np.clip(1 - cosine**2, 0, None))
    z = directions[:, 2]
    # A frame that is well defined for every direction (Duff et al. 2017).
    sign = np.where(z >= 0, 1.0, -1.0)
    a = -1 / (sign + z)
    b = directions[:, 0] * directions[:, 1] * a
    first = np.stack([1 + sign * directions[:, 0] ** 2 * a, sign * b, -sign * directions[:, 0]], axis=1)
    second = np.stack([b, sign + directions[:, 1] ** 2 * a, -directions[:, 1]], axis=1)
    side = sine[:, None] * (np.cos(turn)[:, None] * first + np.sin(turn)[:, None] * second)
    return unit(side + cosine[:, None] * directions)


def unit(vectors: FloatArray) -> FloatArray:
    """Scale vectors to length 1."""
    return vectors / np.linalg.norm(vectors, axis=1, keepdims=True)


def boosted(energy: FloatArray, vectors: FloatArray, beta: FloatArray) -> tuple[FloatArray, FloatArray]:
    """Four-momenta (energy, vectors) seen from a frame in which their old rest frame moves with `beta` (n, 3)."""
    beta2 = np.clip((beta**2).sum(axis=1), 0, 1 - 1e-12)
    gamma = 1 / np.sqrt(1 - beta2)
    along = (beta * vectors).sum(axis=1)
    factor = np.where(beta2 > 0, (gamma - 1) / np.where(beta2 > 0, beta2, 1), 0.0) * along + gamma * energy
    return gamma * (energy + along), vectors + factor[:, None] * beta


def two_body(
    total: FloatArray, vectors: FloatArray, masses: tuple[float, float], axis: FloatArray
) -> tuple[tuple[FloatArray, FloatArray], tuple[FloatArray, FloatArray]]:
    """Split four-momenta into two particles that part along `axis` in the rest frame.

    Parameters
    ----------
    total, vectors : energy (n,) and momentum (n, 3) of the whole
    masses : of the two products
    axis : (n, 3) unit vectors in the rest frame, of the first product

    Returns
    -------
    Energy and momentum of the first, and of the second product.
    """
    invariant = np.sqrt(np.clip(total**2 - (vectors**2).sum(axis=1), (sum(masses) + 1e-6) ** 2, None))
    first_energy = (invariant**2 + masses[0] ** 2 - masses[1] ** 2) / (2 * invariant)
    size = np.sqrt(np.clip(first_energy**2 - masses[0] ** 2, 0, None))
    beta = vectors / total[:, None]
    momentum = size[:, None] * axis
    return boosted(first_energy, momentum, beta), boosted(invariant - first_energy, -momentum, beta)


def along(directions: FloatArray, local: FloatArray) -> FloatArray:
    """Turn unit vectors given about the z axis so that z becomes `directions`."""
    return rotated(directions, np.clip(local[:, 2], -1, 1), np.arctan2(local[:, 1], local[:, 0]))
