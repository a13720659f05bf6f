"""Rotations of R³, uniform on SO(3) (Haar measure): a normalised 4-vector of normals is a uniform unit quaternion.

The map from unit quaternions to rotations is two to one and carries the uniform measure of the sphere S³ to Haar's
(Shoemake 1992, "Uniform random rotations", Graphics Gems III). Chosen before QR of a Gaussian matrix: it has no sign to
fix, the determinant is 1 by construction, and a rotation costs four normals instead of nine.
"""

from __future__ import annotations

import numpy as np


def uniform_rotations(generator: np.random.Generator, *shape: int) -> np.ndarray:
    """Independent uniform rotation matrices [*shape, 3, 3], float64."""
    normals = generator.standard_normal((*shape, 4))
    return from_quaternions(normals / np.linalg.norm(normals, axis=-1, keepdims=True))


def from_quaternions(q: np.ndarray) -> np.ndarray:
    """Rotation matrices [..., 3, 3] of unit quaternions [..., 4], q = (w, x, y, z); q and −q are the same rotation.

    R = I + 2w[v]ₓ + 2[v]ₓ², v = (x, y, z), [v]ₓ the matrix of the cross product.
    """
    w, v = q[..., 0, None, None], q[..., 1:]
    cross = np.zeros((*q.shape[:-1], 3, 3))
    cross[..., 0, 1], cross[..., 0, 2], cross[..., 1, 2] = -v[..., 2], v[..., 1], -v[..., 0]
    cross -= cross.swapaxes(-1, -2).copy()
    return np.eye(3) + 2 * w * cross + 2 * cross @ cross


def rotate(rotations: np.ndarray, points: np.ndarray) -> np.ndarray:
    """R x for each pair of rotations [..., 3, 3] and points [..., 3], broadcast against each other: [..., 3]."""
    return (rotations @ points[..., None])[..., 0]
