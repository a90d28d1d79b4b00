"""Sheets and side by side frames."""

import numpy as np
import pytest

from invertavatar_jax.export import picture


def plain(value, height=40, width=30):
    return np.full((height, width, 3), value, np.uint8)


def test_float_images_round_to_the_nearest_level():
    levels = np.arange(256)
    np.testing.assert_array_equal(picture.to_uint8(levels / 127.5 - 1), levels)
    np.testing.assert_array_equal(picture.to_uint8(np.array([-9.0, 9.0])), [0, 255])


def test_side_by_side_keeps_shapes_and_order():
    row = picture.side_by_side([plain(10), plain(200, 80, 60)])
    assert row.shape == (80, 120, 3)
    assert (row[:, :60] == 10).all() and (row[:, 60:] == 200).all()


def test_every_picture_is_on_the_sheet():
    values = np.array([[20, 60], [100, 140]])
    rows = [[plain(v, 64, 64) for v in row] for row in values]
    sheet = picture.contact_sheet(rows, ["one", "two"], ["a", "b"], tile=64)
    for value in values.ravel():
        assert (sheet == value).all(-1).sum() >= 64 * 64
    bare = picture.contact_sheet(rows, tile=64)
    assert bare.shape[0] < sheet.shape[0] and bare.shape[1] < sheet.shape[1]


def test_rows_may_differ_in_length():
    sheet = picture.contact_sheet([[plain(20)], [plain(60), plain(90)]], tile=40)
    assert {20, 60, 90} <= set(np.unique(sheet))


def test_an_empty_sheet_is_an_error():
    with pytest.raises(ValueError, match="at least one picture"):
        picture.contact_sheet([[], []])
