"""Next3D, the baseline prior, against the released code."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax.convert.names import path_of, to_ours
from invertavatar_jax.generate.style_unet import EncoderLevel, StyleUNet
from invertavatar_jax.layers import Noise
from invertavatar_jax.ops.upfirdn import downsample2d
from invertavatar_jax.pure import pure
from invertavatar_jax.settings import Backbone, UNetSizes
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
    case.check("img_nonoise", nchw(network.apply(weights, image, w_plus, Noise("none"))))

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
            _check_gradient(case, name, by_params)
    for name in case.meta["no_gradient"]:
        assert not np.any(_leaf(by_params, name)), name
    case.done()


def _leaf(tree, name: str):
    for key in path_of(name):
        tree = tree[key]
    return tree


def _check_gradient(case: Case, name: str, by_params) -> None:
    """A gradient is compared relative to its largest entry."""
    released = name.removeprefix("grad.")
    leaf = np.asarray(_leaf(by_params, released))
    expected = to_ours(case.arrays[f"out.{name}"], released.split(".")[-1]).reshape(leaf.shape)
    scale = np.abs(expected).max()
    case.record(name, np.abs(leaf - expected).max() / scale, 1e-4, "max error / max")


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
    assert np.isfinite(network.apply(weights, image, unread)).all()
    case.done()
