"""The rotated digits: shapes, labels, and that the rotation is one."""

from __future__ import annotations

import numpy as np
import pytest

from heterad.data.digits import ANGLES, rotated_digits


def test_every_angle_holds_every_digit_in_the_same_order() -> None:
    x, digit, angle = rotated_digits()
    assert x.shape == (1797 * len(ANGLES), 64)
    assert x.dtype == np.float32
    assert x.min() >= 0
    assert x.max() <= 1
    for a in ANGLES:
        np.testing.assert_array_equal(digit[angle == a], digit[:1797])


def test_angle_zero_is_the_original_and_ninety_is_a_quarter_turn_counter_clockwise() -> None:
    x, _, angle = rotated_digits([0, 90])
    upright, turned = x[angle == 0].reshape(-1, 8, 8), x[angle == 90].reshape(-1, 8, 8)
    np.testing.assert_allclose(turned, np.rot90(upright, axes=(1, 2)), atol=1e-6)


@pytest.mark.parametrize("angles", [[], [15, 15]])
def test_bad_angles(angles: list[float]) -> None:
    with pytest.raises(ValueError, match="angles: expected at least one angle and none twice"):
        rotated_digits(angles)
