"""The handwritten digits that ship with scikit-learn, rotated: real data with domains, and nothing to download."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

ANGLES = (0, 15, 30, 45, 60, 75)


def rotated_digits(angles: Sequence[float] = ANGLES) -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Return scikit-learn's 1,797 handwritten digits once for each rotation angle.

    Every angle is a domain that holds the same digits, as in Mnist-r (Ghifary et al., 2015). Images are turned
    counter-clockwise about their centre with linear interpolation; what turns in from outside is blank.

    Args:
        angles: rotations in degrees, one domain each.

    Returns:
        ``(x, digit, angle)``: ``x`` float32 ``[1797 * len(angles), 64]``, ink in [0, 1]; ``digit`` int64 in 0..9;
        ``angle`` float64, the domain of each row.

    Raises:
        ValueError: ``angles`` is empty or holds an angle twice.

    Cost:
        About 0.1 s an angle; memory is the returned arrays.

    Source:
        Alpaydin and Kaynak (1998), UCI "Optical Recognition of Handwritten Digits", as packed by scikit-learn.

    Example:
        >>> x, digit, angle = rotated_digits([0, 15])
        >>> x.shape, sorted(set(angle.tolist()))
        ((3594, 64), [0.0, 15.0])
    """
    from scipy.ndimage import rotate
    from sklearn.datasets import load_digits

    domains = [float(angle) for angle in angles]
    if not domains or len(set(domains)) < len(domains):
        raise ValueError(f"angles: expected at least one angle and none twice, got {domains}")
    images, digit = load_digits(return_X_y=True)
    images = images.reshape(-1, 8, 8) / 16
    turned = [rotate(images, angle, axes=(1, 2), reshape=False, order=1) for angle in domains]
    x = np.concatenate(turned).reshape(-1, 64).astype(np.float32)
    return x, np.tile(digit.astype(np.int64), len(domains)), np.repeat(domains, len(digit))
