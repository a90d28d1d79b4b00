"""The frontal raster of SPEC section 7 on the golden case's own mesh."""

import jax.numpy as jnp
import numpy as np

from invertavatar_jax.rasterize import api, views
from tests.parity.golden import Case


class GoldenHead:
    """The case's mesh in the shape of a head model."""

    def __init__(self, case: Case):
        attributes = case.input("attr")  # u and v in [-1, 1], mask
        self.triangles = case.input("tri")
        self.uv = (attributes[:, :2] + 1) / 2
        self.face_mask = self.head_mask = attributes[:, 2]


def test_the_whole_image_is_the_released_one():
    case = Case("uv_raster_own")
    head = GoldenHead(case)
    ortho = case.input("ortho_vertices")
    pixels = np.stack([(ortho[:, 0] + 1) * 256, (ortho[:, 1] + 1) * 256, -ortho[:, 2]], -1)
    raster = api.rasterize(pixels.astype(np.float32), head.triangles, 512, 512)
    attributes = jnp.concatenate(
        [2 * head.uv - 1, head.face_mask[:, None], jnp.ones((len(ortho), 1))], -1
    )
    image = np.asarray(api.interpolate(attributes, head.triangles, raster))
    image = (image * image[..., 2:3])[114:370, 128:384]  # times the mask, then cropped
    valid = case.arrays["out.valid"] == 1
    expected = case.arrays["out.uvcoords_image4"][0]
    assert valid.mean() > 0.7 and (expected[valid][:, 3] > 0).mean() > 0.3
    case.record("uvcoords_image4", np.abs(image - expected)[valid].max(), 2e-5)


def test_the_window_of_plane_0_is_the_released_crop():
    """The same picture straight from world units, binarised as the data loader does."""
    case = Case("uv_raster_own")
    head = GoldenHead(case)
    world = case.input("ortho_vertices") / 2  # box_warp 1: plane coordinate = 2 x world
    got = np.asarray(views.canonical_raster(head, world, released_edges=True, depth=True))
    expected = case.arrays["out.uvcoords_image4"][0]
    mask = (expected[..., 2] >= 0.5).astype(np.float32)
    valid = (case.arrays["out.valid"] == 1) & (np.abs(expected[..., 2] - 0.5) > 1e-3)
    np.testing.assert_array_equal(got[..., 2][valid], mask[valid])
    inside = valid & (mask == 1)
    assert inside.mean() > 0.2
    error = np.abs(got - expected)[inside][:, :2].max()
    case.record("uvcoords_image4", error, 2e-5, "max error in the window")
