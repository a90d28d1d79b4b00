"""Next3D, the baseline prior, against the released code."""

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import next3d, prior, settings
from invertavatar_jax.convert.names import export_weights
from invertavatar_jax.fit.flame import Topology
from invertavatar_jax.generate.style_unet import EncoderLevel, StyleUNet
from invertavatar_jax.layers import Noise
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.upfirdn import downsample2d
from invertavatar_jax.pure import pure
from invertavatar_jax.rasterize import api, mouth, orthographic
from invertavatar_jax.render import rays, triplane, volume
from invertavatar_jax.render.decoder import OSGDecoder
from invertavatar_jax.settings import Backbone, UNetSizes
from invertavatar_jax.types import Camera
from tests.parity.golden import Case, nchw, nhwc


def test_an_encoder_level():
    case = Case("next3d_encoder_block")
    image, before = nhwc(case.input("x")), nhwc(case.input("skip"))
    smaller = downsample2d(jnp.asarray(image))
    network = pure(EncoderLevel(6, 8))
    weights = case.weights(network.init, smaller, before)
    case.check("x_down", nchw(smaller))
    case.check("features", nchw(network.apply(weights, smaller, before)))
    case.check("features_nodown_noskip", nchw(network.apply(weights, image, None)))
    case.done()


def test_a_small_style_unet_and_its_gradients():
    case = Case("next3d_styleunet_small")
    built = case.config["constructor"]
    backbone = Backbone(built["img_resolution"], built["channel_base"], built["channel_max"])
    network = pure(StyleUNet(backbone, UNetSizes(built["in_size"], built["final_size"]), 5))
    image, w_plus, mask = nhwc(case.input("x")), case.input("ws"), nhwc(case.input("r"))
    weights = case.weights(network.init, image, w_plus)
    silent = jax.jit(lambda weights, *inputs: network.apply(weights, *inputs, Noise("none")))
    case.check("img_nonoise", nchw(silent(weights, image, w_plus)))

    def loss_and_image(params, image, w_plus):
        weights_now = {"params": params, "buffers": weights["buffers"]}
        drawn = network.apply(weights_now, image, w_plus)
        return jnp.sum(drawn * mask), drawn

    gradient = jax.jit(jax.grad(loss_and_image, (0, 1, 2), has_aux=True))
    (by_params, by_image, by_w), drawn = gradient(weights["params"], image, w_plus)
    case.check("img", nchw(drawn))
    case.check("img_unfused", nchw(drawn))
    case.check("grad_x", nchw(by_image))
    case.check("grad_ws", by_w)
    for name in case.meta["outputs"]:
        if name.startswith("grad."):
            case.check_gradient(name, by_params, name.removeprefix("grad."))
    unread = export_weights({"params": by_params, "buffers": {}})
    for name in case.meta["no_gradient"]:
        assert not np.any(unread[name]), name
    case.done()


@pytest.mark.parametrize(
    ("name", "sizes"),
    [("next3d_mouth_backbone", UNetSizes(64, 4)), ("next3d_neural_blending", UNetSizes(256, 32))],
)
def test_a_style_unet_of_released_size(name, sizes):
    case = Case(name)
    image, w_plus = nhwc(case.input("x")), case.input("ws")
    network = pure(StyleUNet(Backbone(), sizes, 32))
    weights = case.weights(network.init, image, w_plus)

    @jax.jit
    def run(weights, image, w_plus):
        return network.apply(
            weights, image, w_plus, capture_intermediates=True, mutable=["intermediates"]
        )[1]["intermediates"]

    inside = run(weights, image, w_plus)
    for key in case.meta["outputs"]:
        kind, number = key.rstrip("0123456789"), key.lstrip("abcdefghijklmnopqrstuvwxyz")
        if kind in ("enc", "fuse"):
            part = {"enc": "encoder", "fuse": "fusion"}[kind] + f"_{number}"
            case.check(key, nchw(inside[part]["__call__"][0]))
        elif kind in ("x", "img"):
            case.check(key, nchw(inside[f"b{number}"]["__call__"][0]["x img".split().index(kind)]))
    case.check("img256_unfused", nchw(inside["__call__"][0]))
    silent = jax.jit(lambda weights, *inputs: network.apply(weights, *inputs, Noise("none")))
    case.check("img256_nonoise", nchw(silent(weights, image, w_plus)))
    first = case.config["ws_first_index_read"]
    unread = jnp.asarray(w_plus).at[:, :first].set(np.nan)
    assert np.isfinite(run(weights, image, unread)["__call__"][0]).all()
    case.done()


def _camera(numbers: np.ndarray) -> Camera:
    pose, intrinsics = numbers[:, :16].reshape(-1, 4, 4), numbers[:, 16:].reshape(-1, 3, 3)
    return Camera(jnp.asarray(pose), jnp.asarray(intrinsics))


def test_rays_and_planes():
    case = Case("next3d_planes_rays")
    model = settings.prior("next3d")
    axes = next3d.plane_axes(model)
    assert axes == triplane.PLANE_AXES_FIXED
    rows = np.eye(3)  # each plane's axes: columns, rows, and the axis across it
    across = [3 - sum(pair) for pair in axes]
    stored = [[rows[a], rows[b], rows[c]] for (a, b), c in zip(axes, across, strict=True)]
    case.check("plane_axes", np.array(stored))
    small, points = np.moveaxis(case.input("planes_small"), 2, -1), jnp.asarray(case.input("xyz"))
    case.check("proj", triplane.project(points, 1.0, axes))
    case.check("feat", triplane.sample_each_plane(jnp.asarray(small), points, 1.0, axes))
    cast = rays.cast_rays(_camera(case.input("cam")), 16, half_pixel=True)
    case.check("dirs", cast.directions)
    case.check("origins", cast.origins)
    decoder = pure(OSGDecoder(64, 32))
    weights = case.weights(decoder.init, jnp.zeros((1, 32)))
    planes = jnp.asarray(np.moveaxis(case.input("planes"), 2, -1))
    decode = lambda sampled, points: decoder.apply(weights, sampled)
    at_points = volume.plane_field(decode, planes, 1.0, axes)
    limits = jnp.float32(model.renderer.near), jnp.float32(model.renderer.far)
    out = volume.render_rays(at_points, cast, limits, model.renderer)
    case.check_image("features", out.features)
    case.check_image("depth", out.depth)
    case.check_image("weight_sum", out.weight_sum)
    case.done()


def _released_raster(case: Case):
    """Given (u, v) and where the mesh is seen: [b, 4, h, w, 2] and [b, 4, h, w]."""
    maps = np.moveaxis(np.asarray(case.input("raster"), np.float32), (1, 2), (0, -1))
    return jnp.asarray(maps[..., :2]), jnp.asarray(maps[..., 2] > 0.5)


def _mask(case: Case):
    return jnp.asarray(case.input("uv_face_mask")[0, 0, :, :, None])


def _topology(case: Case) -> Topology:
    names = ("faces", "raw_uvcoords", "uvfaces")
    return Topology(*(case.input(name) for name in names), np.asarray(_mask(case)))


def test_views_of_a_mesh():
    """Our own drawing of the mesh, where a pixel is well inside a triangle."""
    case = Case("next3d_rasterize")
    mesh, vertices = _topology(case), jnp.asarray(case.input("vertices"))
    seen = orthographic.project_views(vertices)
    for view in range(4):
        case.check(f"vertices_to_rasterizer_view{view}", seen[:, view])
    uv, visible = api.grow_capacity(lambda n: _draw_uv(mesh, vertices, n), 2**17)
    expected, expected_visible = _released_raster(case)
    valid = np.moveaxis(case.input("raster_valid"), 0, 1)
    assert np.array_equal(np.asarray(visible)[valid], np.asarray(expected_visible)[valid])
    error = np.abs(np.asarray(uv - expected)[valid]).max()
    case.record("uvcoords_front", error, 3e-4, "max error of our own drawing")
    whole = orthographic.view_raster(mesh, vertices, 256)
    agree = (np.asarray(whole)[..., 2] == 1) == (np.asarray(_alphas(case)) == 1)[..., 0]
    assert agree[valid].mean() > 0.999


def _draw_uv(mesh: Topology, vertices, capacity: int):
    draw = jax.jit(orthographic.draw_uv, static_argnames=("resolution", "capacity"))
    uv, visible, needed = draw(orthographic.surface(mesh), vertices, 256, capacity=capacity)
    return (uv, visible), needed


def _alphas(case: Case):
    return orthographic.add_alpha(*_released_raster(case), _mask(case))[..., 2:]


def test_drawn_textures_and_alphas():
    case = Case("next3d_rasterize")
    (uv, visible), mesh = _released_raster(case), _topology(case)
    values = np.concatenate([(2 * mesh.uv - 1) * [1, -1], np.ones((len(mesh.uv), 1))], -1)
    case.check("attributes_to_rasterizer", values[mesh.uv_triangles[:200]][:, [0, 2, 1]])
    faces = mesh.triangles[:200][:, [0, 2, 1]]
    case.record(
        "faces_to_rasterizer", np.abs(faces - case.arrays["out.faces_to_rasterizer"]).max(), 0
    )
    mask = jnp.broadcast_to(_mask(case)[None], (8, 256, 256, 1))
    on = grid_sample(mask, uv.reshape(8, 256, 256, 2)).reshape(2, 4, 256, 256, 1)
    before = jnp.where(visible[..., None], on, 0)
    case.check("uvcoords_front", nchw(jnp.concatenate([uv * before, before], -1)[:, 0]))
    case.check("alpha_front_before_fill", nchw(before[:, 0]))
    case.check("alpha_top_before_fill", nchw(before[:, 3]))
    drawn = grid_sample(jnp.asarray(nhwc(case.input("textures"))), uv)
    layers = orthographic.merge_views(drawn, _alphas(case), "released")
    for i, name in enumerate(("front", "side", "top")):
        case.check(f"rendering_{name}", nchw(layers.features[:, i]))
        case.check(f"alpha_{name}", nchw(layers.alpha[:, i]), tolerance=0)
    landmarks = jnp.asarray(case.input("lms"))
    seen = orthographic.project_views(landmarks)
    for view in range(4):
        case.check(f"lms_view{view}", seen[:, view, :, :2])
        case.check(f"vertices_to_rasterizer_view{view}", _seen(case, view))
    box = jax.jit(mouth.mouth_box, static_argnums=1)(landmarks, 256)
    case.record("mouth_box", np.abs(box - case.arrays["out.mouth_box"]).max(), 0)
    case.done()


def _seen(case: Case, view: int):
    return orthographic.project_views(jnp.asarray(case.input("vertices")))[:, view]


@pytest.fixture(scope="module")
def whole():
    """The case of the whole generator, with our weights and drive."""
    case = Case("next3d_full")
    model = settings.prior("next3d")
    template = next3d.shapes(model)
    weights = case.weights(lambda key: template)
    landmarks = jnp.asarray(case.input("lms"))
    raster = orthographic.add_alpha(*_released_raster(case), _mask(case))
    box = mouth.mouth_box(landmarks, 256)
    return case, model, weights, next3d.Drive(_camera(case.input("cam")), raster, box)


def test_the_whole_generator(whole):
    case, model, weights, drive = whole
    nets, w_plus = next3d.build(model), jnp.asarray(case.input("ws"))
    source = prior.build(model)
    mapped = source.map(weights, case.input("z"), case.input("cam"), truncation=0.7, cutoff=14)
    case.check("mapping_ws_psi0.7_cutoff14", mapped[:, jnp.array([0, 13, 14, 27])])
    maps = jax.jit(source.features)(weights, w_plus)
    case.check("textures", nchw(maps.texture))
    case.check("static_planes", nchw(maps.static))

    @jax.jit
    def run(weights, *given):
        composed = next3d.compose(nets, weights, model, *given)
        return composed, source.render(weights, *given)

    composed, out = run(weights, w_plus, maps, drive)
    case.check("mouth_in64", nchw(composed.mouth_input))
    case.check("mouth_out256", nchw(composed.mouth))
    case.check("stitch", nchw(composed.stitched))
    case.check("blend_out", nchw(composed.front), tolerance=3e-4)
    case.check("blended_planes", nchw(composed.planes), tolerance=3e-4)
    case.record("mouth_box", np.abs(drive.mouth_box - case.arrays["out.mouth_box"]).max(), 0)
    at_points = next3d.field(nets, weights, model, composed.planes)
    colour, density = at_points(jnp.asarray(case.input("xyz")))
    case.check("rgb_sample_mixed", colour)
    case.check("sigma_sample_mixed", density)
    case.check_image("feature_image", nchw(out.features))
    case.check_image("image_raw", nchw(out.raw))
    case.check_image("depth", nchw(out.depth))
    case.check_image("image", nchw(out.image))
    coarse = dataclasses.replace(model, neural_resolution=32)
    first = jax.tree.map(lambda x: x[:1], (w_plus, composed.planes, drive.camera))
    see = jax.jit(lambda weights, *given: next3d.render_planes(nets, weights, coarse, *given))
    case.check_image("image_nr32", nchw(see(weights, *first).image))
    case.done()


@pytest.mark.parametrize(("name", "count"), [("next3d", 172_815_807), ("paper", 88_301_010)])
def test_a_prior_of_released_size_has_the_released_number_of_parameters(name, count):
    source = prior.build(settings.prior(name))
    assert prior.parameter_counts(source)["generator"] == count
