"""Mapping and synthesis networks against the released ones."""

import jax
import numpy as np
import pytest

from invertavatar_jax.generate.mapping import Mapping
from invertavatar_jax.generate.synthesis import Synthesis
from invertavatar_jax.layers import Noise, SynthesisBlock, SynthesisLayer, ToRGB
from invertavatar_jax.pure import pure
from invertavatar_jax.render.upsample import SuperResolution
from invertavatar_jax.settings import Backbone, Renderer
from tests.parity.golden import Case, nchw, nhwc

NAMES = ("img32", "x32", "x64", "x128", "x256", "img256")


def test_mapping():
    case = Case("mapping")
    z, camera = case.input("z"), case.input("cam")
    network = pure(Mapping(w_dim=512, w_count=14))
    weights = case.weights(network.init, z, camera)
    run = lambda *inputs, **options: np.asarray(network.apply(weights, *inputs, **options))
    case.check("w_psi1", run(z, camera)[:, 0])
    case.check("w_psi0.7", run(z, camera, truncation=0.7)[:, 0])
    cut = run(z, camera, truncation=0.5, cutoff=7)
    case.check("w_psi0.5_cutoff7", cut[:, [0, 6, 7, 13]])
    case.check("w_c0", run(z, np.zeros_like(camera))[:, 0])
    case.done()


def test_synthesis_layer():
    case = Case("synthesis_layer")
    inputs = nhwc(case.input("x")), case.input("w")
    network = pure(SynthesisLayer(features=6, resolution=8))
    weights = case.weights(network.init, *inputs)
    case.check("y", nchw(network.apply(weights, *inputs)))
    case.done()


def test_torgb():
    case = Case("torgb")
    inputs = nhwc(case.input("x")), case.input("w")
    network = pure(ToRGB(features=3))
    weights = case.weights(network.init, *inputs)
    case.check("y", nchw(network.apply(weights, *inputs)))
    case.done()


def test_synthesis_block():
    case = Case("synthesis_block")
    x, image, w = nhwc(case.input("x")), nhwc(case.input("img")), case.input("ws")
    modulation = nhwc(case.input("cond"))
    network = pure(SynthesisBlock(features=10, resolution=16, image_channels=4))
    weights = case.weights(network.init, x, image, w)
    runs = {
        "const": network.apply(weights, x, image, w),
        "none": network.apply(weights, x, image, w, None, Noise("none")),
        "sft": network.apply(weights, x, image, w, modulation),
        "unfused_noimg": network.apply(weights, x, None, w),
    }
    for name, got in runs.items():
        case.check(f"x_{name}", nchw(got.features))
        case.check(f"img_{name}", nchw(got.image))
    case.done()


def test_first_synthesis_block_with_clamp():
    case = Case("synthesis_block_first_clamp")
    w = case.input("ws")
    network = pure(SynthesisBlock(features=10, resolution=4, image_channels=4, clamp=1.0))
    weights = case.weights(network.init, None, None, w)
    got = network.apply(weights, None, None, w)
    case.check("x", nchw(got.features))
    case.check("img", nchw(got.image))
    case.done()


@pytest.mark.parametrize("name, channels", [("G_tex", 32), ("G_static", 96)])
def test_synthesis(name, channels):
    case = Case(name)
    w_plus = case.input("ws")
    network = pure(Synthesis(Backbone(), channels))
    weights = case.weights(network.init, w_plus)
    run = jax.jit(network.apply)
    for key, got in zip(NAMES, run(weights, w_plus), strict=True):
        case.check(key, nchw(got))
    silent = jax.jit(lambda weights, w: network.apply(weights, w, noise=Noise("none")))
    case.check("img256_nonoise", nchw(silent(weights, w_plus)[-1]))
    if name == "G_static":
        modulation = {size: _modulation(case, size) for size in (16, 32, 64, 128, 256)}
        for key, got in zip(NAMES, run(weights, w_plus, (), modulation), strict=True):
            case.check(f"sft_{key}", nchw(got))
    case.done()


def _modulation(case: Case, size: int) -> np.ndarray:
    drawn = case.input(f"sft{size}") + np.float32([1, 0]).reshape(2, 1, 1, 1, 1)
    return nhwc(drawn)


def _condition(case: Case, i: int) -> np.ndarray:
    return nhwc(np.concatenate([case.input(f"cond{i}"), case.input(f"alpha{i}")], 1))


def test_face_synthesis():
    case = Case("G_face")
    w_plus, conditions = case.input("ws"), [_condition(case, i) for i in range(6)]
    network = pure(Synthesis(Backbone(), 32))
    weights = case.weights(network.init, w_plus)
    case.check("img256", nchw(jax.jit(network.apply)(weights, w_plus, conditions)[-1]))
    case.done()


def test_superresolution():
    case = Case("superresolution")
    w_plus = case.input("ws")
    network = pure(SuperResolution(Renderer()))
    inputs = {"": nhwc(case.input("feature_image")), "64": nhwc(case.input("feature_image64"))}
    weights = case.weights(network.init, inputs[""][..., :3], inputs[""], w_plus)
    for suffix, features in inputs.items():
        got = jax.jit(network.apply)(weights, features[..., :3], features, w_plus)
        case.check("rgb512_from64" if suffix else "rgb512", nchw(got))
    case.done()
