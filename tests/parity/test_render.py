"""Rendering against golden cases."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpy.lib.stride_tricks import sliding_window_view

from invertavatar_jax.pure import pure
from invertavatar_jax.rasterize import blend
from invertavatar_jax.render import composite, rays, samples, triplane, volume
from invertavatar_jax.render.decoder import OSGDecoder
from invertavatar_jax.settings import Renderer
from invertavatar_jax.types import Camera
from tests.parity.golden import Case, nchw, nhwc


def camera_of(numbers, intrinsics=None) -> Camera:
    pose = numbers[:, :16].reshape(-1, 4, 4)
    k = numbers[:, 16:25].reshape(-1, 3, 3) if intrinsics is None else intrinsics
    return Camera(jnp.asarray(pose), jnp.asarray(k))


def planes_of(array):
    return jnp.asarray(np.moveaxis(array, 2, -1))


def test_rays_equal_the_released_ones():
    case = Case("ray_sampler")
    camera = camera_of(case.input("cam"), case.input("K"))
    resolution = case.config["resolution"]
    cast = rays.cast_rays(camera, resolution)
    case.check("origins", cast.origins)
    case.check("dirs", cast.directions)
    centred = rays.cast_rays(camera, resolution, half_pixel=True)
    case.check("dirs_eg3d_RaySampler", centred.directions)
    case.done()


def test_plane_samples_equal_the_released_ones():
    case = Case("sample_planes")
    planes, points = planes_of(case.input("planes")), jnp.asarray(case.input("xyz"))
    box = case.config["box_warp"]
    case.check("proj", triplane.project(points, box))
    case.check("feat", triplane.sample_each_plane(planes, points, box))
    # the released matrices map (x, y, z) to (column, row, distance from the plane)
    unit = jnp.eye(3)[None] * box / 2
    columns_rows = np.asarray(triplane.project(unit, box))[0]  # plane, axis, (column, row)
    distance = 1.0 - columns_rows.sum(-1, keepdims=True)
    case.check("inv_planes", np.concatenate([columns_rows, distance], -1))
    case.done()
    mean = case.arrays["out.feat"].mean(1)
    np.testing.assert_allclose(triplane.sample_planes(planes, points, box), mean, atol=1e-5)


def test_decoded_points_equal_the_released_ones():
    case = Case("osg_decoder")
    decoder = pure(OSGDecoder(case.config["hidden"], 32))
    features = jnp.asarray(case.input("features")).mean(1)
    colour, density = decoder.apply(case.weights(decoder.init, features), features)
    case.check("rgb", colour)
    case.check("sigma", density)
    case.done()


def test_marched_rays_equal_the_released_ones():
    case = Case("ray_marcher")
    depth, density = case.input("depths")[..., 0], case.input("densities")[..., 0]
    weights = composite.interval_weights(density, depth)
    per_sample = composite.sample_weights(weights)
    case.check("rgb", 2 * jnp.einsum("brs,brsc->brc", per_sample, case.input("colors")) - 1)
    case.check("depth", composite.mean_depth(weights, depth, depth.max())[..., None])
    case.check("weights", weights[..., None])
    case.done()


def test_importance_samples_equal_the_released_ones():
    case = Case("importance_sampling")
    depth, weights = case.input("z_vals")[..., 0], case.input("weights")[..., 0]
    u = jnp.linspace(0.0, 1.0, case.config["N"])
    case.check("fine_det", samples.importance(depth, weights, u)[..., None])
    count = case.meta["outputs"]["sample_pdf_det"]["shape"][-1]
    u = jnp.linspace(0.0, 1.0, count)
    case.check("sample_pdf_det", samples.invert_cdf(case.input("bins"), case.input("pdf_w"), u))
    even = samples.stratified(jnp.float32(2.25), jnp.float32(3.3), 48)
    case.check("stratified_nojitter", even[None, None, :, None])
    case.done()


def test_points_of_the_volume_equal_the_released_ones():
    case = Case("run_model")
    decoder = pure(OSGDecoder(64, 32))
    planes, points = planes_of(case.input("planes")), jnp.asarray(case.input("xyz"))
    sampled = triplane.sample_planes(planes, points, 1.0)
    colour, density = decoder.apply(case.weights(decoder.init, sampled), sampled)
    case.check("rgb", colour)
    case.check("sigma", density)
    case.done()


@pytest.mark.parametrize("jittered", [False, True])
def test_rendered_features_equal_the_released_ones(jittered):
    case = Case("renderer_full")
    settings = Renderer(neural_resolution=case.config["neural_res"])
    planes, camera = planes_of(case.input("planes")), camera_of(case.input("cam"))
    decoder = pure(OSGDecoder(settings.decoder_hidden, 32))
    weights = case.weights(decoder.init, jnp.zeros((1, 32)))
    field = volume.plane_field(
        lambda sampled, points: decoder.apply(weights, sampled), planes, settings.box_warp
    )
    cast = rays.cast_rays(camera, settings.neural_resolution)
    limits = rays.ray_limits(camera, settings.near, settings.far)
    jitter = jnp.asarray(case.input("jitter")[..., 0]) if jittered else None
    draws = volume.even_draws(*cast.origins.shape[:2], settings, jitter)
    out = volume.render_rays(field, cast, limits, settings, draws)
    suffix = "_jitter" if jittered else ""
    case.check_image("features" + suffix, out.features)
    case.check_image("depth" + suffix, out.depth)
    case.check_image("weight_sum" + suffix, out.weight_sum)
    if not jittered:
        image = volume.render(
            lambda sampled, points: decoder.apply(weights, sampled), planes, camera, settings
        )
        case.check_image("features", image.features.reshape(2, 256, 32))


def test_textures_are_composed_as_released():
    case = Case("rasterize_compose")
    textures = [jnp.asarray(nhwc(case.input(f"tex{i}"))) for i in range(6)]
    static = [jnp.asarray(nhwc(case.input(f"static{i}"))) for i in range(6)]
    raster = jnp.asarray(case.input("uvcoords_image"))
    composed = jax.jit(blend.compose, static_argnums=(3, 4))(
        textures, static, raster, tuple(case.config["bbox_256"]), 87
    )
    for i, condition in enumerate(composed.conditions):
        case.check(f"rendering{i}", nchw(condition))
    case.check("full_alpha", nchw(composed.full_alpha))
    case.check("mouth_mask", nchw(composed.mouth_mask))
    case.done()


def test_holes_connect_through_edges_only():
    case = Case("fill_mouth_connectivity")
    alpha = jnp.asarray(nhwc(case.input("alpha")))
    mask = blend.fill_mouth(alpha)
    case.check("mask", nchw(mask))
    case.check("full", nchw(jnp.clip(alpha + mask, 0, 1)))
    case.done()


def test_holes_are_filled_as_released():
    case = Case("resize_misc")  # its other outputs belong to tests of ops
    alpha = jnp.asarray(nhwc(case.input("alpha")))
    mask = blend.fill_mouth(alpha)
    case.check("fill_mouth_mask", nchw(mask))
    case.check("fill_mouth_full", nchw(jnp.clip(alpha + mask, 0, 1)))
    # released beside them: the mask grown by three pixels, then a mean over 5 x 5
    window = lambda x, size, reduce: reduce(
        sliding_window_view(np.pad(x, size // 2), (size, size)), axis=(-2, -1)
    )
    blurred = [window(window(m, 7, np.max), 5, np.mean) for m in np.asarray(mask)[..., 0]]
    case.check("fill_mouth_blur_mask", np.stack(blurred)[:, None])
