"""Golden cases of whole pipelines: the generator, and few-shot and one-shot inversion."""

import dataclasses
import functools
from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import generator, inversion, networks, settings
from invertavatar_jax.convert.names import import_weights
from invertavatar_jax.pure import part
from invertavatar_jax.render import rays, volume
from invertavatar_jax.types import Camera, Drive, Frame
from tests.parity.golden import Case, nchw, nhwc

MODEL = settings.preset("paper")
ONE_SHOT = settings.preset("paper_oneshot")
# of gan_full; the case does not state it, but its w lies there between w_avg and mapping's w
TRUNCATION = 0.7


def _camera(numbers: np.ndarray) -> Camera:
    return Camera(numbers[:, :16].reshape(-1, 4, 4), numbers[:, 16:].reshape(-1, 3, 3))


def _limits(camera: Camera):
    return rays.ray_limits(camera, MODEL.renderer.near, MODEL.renderer.far)


def _on_device(tree: dict) -> dict:
    """Moves arrays leaf by leaf, so that only one is there twice."""
    for name, leaf in tree.items():
        tree[name] = _on_device(leaf) if isinstance(leaf, dict) else jnp.array(leaf)
    return tree


_shapes = functools.cache(networks.shapes)


def _weights(case: Case, model: settings.Model = MODEL, subtree: str = ""):
    """A model's weights, or those of one part, filled from the case."""
    template = part(_shapes(model), subtree) if subtree else _shapes(model)
    prefix = f"{subtree}." if subtree and case.name != "gan_full" else ""
    return _on_device(import_weights(template, case.named(prefix)))


def _drawing(nets: networks.Networks, model: settings.Model):
    """A compiled render. What it reads are arguments: then one program, kept, serves all cases."""

    def draw(weights, w_plus, maps, drive, limits):
        return generator.render(nets, weights, model, w_plus, maps, drive, limits=limits)

    return jax.jit(draw)


def _finishing(nets: networks.Networks, model: settings.Model):
    """Compiled, as `_drawing`; the paper's size takes three times as long op by op."""

    def finish(weights, memory):
        return inversion.finish(nets, weights, model, memory)

    return jax.jit(finish)


def test_generator_equals_the_released_one():
    case = Case("gan_full")
    nets, weights = networks.build(MODEL), _weights(case, subtree="generator")
    camera = _camera(case.input("cam"))
    z = case.input("z")
    mapping = part(part(weights, "backbone"), "mapping")
    w_plus = nets.mapping.apply(mapping, z, case.input("cam"), truncation=TRUNCATION)
    case.check("ws", w_plus[:, 0])
    maps = jax.jit(lambda weights, w: generator.features(nets, weights, w))(weights, w_plus)
    case.check("tex_img256", nchw(maps.textures[-1]))
    drive = Drive(camera, jnp.asarray(case.input("uvcoords_image")))
    out = _drawing(nets, MODEL)(weights, w_plus, maps, drive, _limits(camera))
    case.check("triplane", nchw(out.planes))
    case.check_image("image_raw", nchw(out.raw))
    case.check_image("feature_image", nchw(out.features))
    case.check_image("depth", nchw(out.depth))
    case.check_image("image", nchw(out.image))
    decode = lambda features, points: nets.decoder.apply(part(weights, "decoder"), features)
    field = volume.plane_field(decode, out.planes, MODEL.renderer.box_warp)
    colour, density = field(jnp.asarray(case.input("xyz")))
    case.check("rgb_sample_mixed", colour)
    case.check("sigma_sample_mixed", density)
    half = dataclasses.replace(
        MODEL, renderer=dataclasses.replace(MODEL.renderer, neural_resolution=64)
    )
    first = jax.tree.map(lambda x: x[:1], (w_plus, maps, drive))
    small = _drawing(nets, half)(weights, *first, _limits(first[2].camera))
    case.check_image("image_nr64", nchw(small.image))
    case.done()


def _frames(case: Case) -> Frame:
    """The case's frames with leading axes t, b = 1."""
    uv = nhwc(case.input("uv"))
    raster = case.input("uvcoords_image")
    image = nhwc(case.input("image"))
    frames = Frame(
        image=image,
        matte=np.ones((*image.shape[:-1], 1), np.float32),
        uv_rgb=uv[..., :3],
        uv_xy=uv[..., 3:5],
        uv_visible=uv[..., 5:],
        drive=Drive(_camera(case.input("cam")), raster),
    )
    return jax.tree.map(lambda x: jnp.asarray(x)[:, None], frames)


def test_few_shot_inversion_equals_the_released_one():
    """In both modes, one after the other: they have the same weights and the same render."""
    case, in_batches = Case("fs_inversion_eval"), Case("fs_inversion_evalseq")
    assert case.meta["params"] == in_batches.meta["params"]
    weights, draw = _weights(case), _drawing(networks.build(MODEL), MODEL)
    _check_few_shot(case, weights, draw, batch_statistics=False)
    _check_few_shot(in_batches, weights, draw, batch_statistics=True)


def _check_few_shot(case: Case, weights: dict, draw: Callable, *, batch_statistics: bool) -> None:
    nets, frames = networks.build(MODEL, batch_statistics=batch_statistics), _frames(case)
    limits = inversion.chunk_limits(MODEL, frames)
    first = jax.tree.map(lambda x: x[0], frames)
    memory = jax.jit(lambda w, f: inversion.start(nets, w, MODEL, f))(weights, first)
    case.check("ws", memory.w_plus)
    finish = _finishing(nets, MODEL)
    see = lambda maps, i: draw(
        part(weights, "generator"),
        memory.w_plus,
        maps,
        jax.tree.map(lambda x: x[i], frames.drive),
        limits,
    )
    each = [see(memory.coarse, i).image for i in range(4)]
    rendered = jnp.stack(each)
    case.check_image("e4e_image", nchw(rendered[:, 0]))
    uv = jax.vmap(functools.partial(inversion.texture_input, MODEL))(
        frames, rendered - frames.image
    )
    case.check_image("unet_uv_input", nchw(uv[:, 0]))
    if not batch_statistics:  # what the chunk's own residuals are, is drawn already
        add = jax.jit(
            lambda w, memory, frames, rendered: inversion.add_frames(
                memory, frames, inversion.refine(nets, w, MODEL, frames, rendered, memory)
            )
        )
        memory = add(weights, memory, frames, rendered)
    else:
        fold = jax.jit(
            lambda w, memory, frames: inversion.fold_chunk(
                nets, w, MODEL, memory, frames, limits=limits
            )
        )
        memory = fold(weights, memory, frames)
    maps = finish(weights, memory)
    _check_features(case, maps)
    for i in range(4):
        case.check_image(f"hidden_tex{i}", nchw(memory.refinement.texture_state[i]))
        case.check_image(f"hidden_tri{i}", nchw(memory.refinement.triplane_state[i]))
    driven = [see(maps, i).image for i in range(4)]
    case.check_image("image", nchw(jnp.concatenate(driven)))
    if not batch_statistics:
        backwards = jax.tree.map(lambda x: x[::-1], (frames, rendered))
        maps = finish(weights, add(weights, memory, *backwards))
        case.check_image("chunk2_tex_x64", nchw(maps.textures[2]))
        case.check_image("chunk2_static_img256", nchw(maps.static[-1]))
    case.done()


def _check_features(case: Case, maps: generator.Features) -> None:
    names = ("img32", "x32", "x64", "x128", "x256", "img256")
    for name, texture, static in zip(names, maps.textures, maps.static, strict=True):
        case.check_image(f"tex_{name}", nchw(texture))
        case.check_image(f"static_{name}", nchw(static))


def test_one_shot_inversion_equals_the_released_one():
    case = Case("os_inversion")
    nets, frames = networks.build(ONE_SHOT), _frames(case)
    first = jax.tree.map(lambda x: x[0], frames)
    generators = _weights(case, ONE_SHOT, "generator")
    join = lambda **parts: {
        collection: {name: tree[collection] for name, tree in parts.items()}
        for collection in generators
    }
    with_generator = functools.partial(join, generator=generators)
    start = jax.jit(lambda w, f: inversion.start(nets, w, ONE_SHOT, f))
    memory = start(with_generator(encoder=_weights(case, ONE_SHOT, "encoder")), first)
    fold = jax.jit(lambda w, m, f: inversion.fold_chunk(nets, w, ONE_SHOT, m, f))
    unets = _weights(case, ONE_SHOT, "unet_encoder")
    memory = fold(with_generator(unet_encoder=unets), memory, frames)
    draw = _drawing(nets, ONE_SHOT)
    # the released forward pass, as in training, takes every modulated feature
    every = dataclasses.replace(ONE_SHOT, one_shot=False)
    for output, model in (("forward_image", every), ("driven_image", ONE_SHOT)):
        maps = _finishing(nets, model)(with_generator(), memory)
        out = draw(generators, memory.w_plus, maps, first.drive, _limits(first.drive.camera))
        case.check_image(output, nchw(out.image))
    case.check_image("tex_x64", nchw(maps.textures[2]))
    case.check_image("static_img256", nchw(maps.static[-1]))
    case.done()


@pytest.mark.parametrize(
    ("model", "network", "count"),
    [
        (MODEL, "generator", 88_301_010),
        (MODEL, "total", 449_054_962),
        (ONE_SHOT, "total", 801_569_138),
    ],
)
def test_a_model_has_the_released_number_of_parameters(model, network, count):
    assert networks.parameter_counts(model)[network] == count
