"""Encoders and recurrent decoders against the golden cases."""

import jax
import numpy as np
import pytest

from invertavatar_jax import settings
from invertavatar_jax.aggregate import conv_gru
from invertavatar_jax.encode import backbone, decoder, latent, transformer, unet
from invertavatar_jax.pure import pure
from tests.parity.golden import Case, nchw, nhwc

PAPER = settings.preset("paper")
ONE_SHOT = settings.preset("paper_oneshot")


def frames_of(array: np.ndarray) -> np.ndarray:
    """(b, t, c, h, w) -> (t, b, h, w, c)."""
    return nhwc(array).swapaxes(0, 1)


@pytest.mark.parametrize("sizes", ["16_16_s2", "8_16_s2", "32_32_s1"])
def test_bottleneck(sizes):
    case = Case(f"bottleneck_ir_se_{sizes}")
    x = nhwc(case.input("x"))
    for output, batch_statistics in (("y_eval", False), ("y_train_bn", True)):
        unit = pure(
            backbone.BottleneckIRSE(case.config["depth"], case.config["stride"], batch_statistics)
        )
        case.check(output, nchw(unit.apply(case.weights(unit.init, x), x)))
    case.done()


def test_double_conv():
    case = Case("double_conv")
    x = nhwc(case.input("x"))
    for output, batch_statistics in (("y_eval", False), ("y_train_bn", True)):
        block = pure(decoder.DoubleConv(10, batch_statistics))
        case.check(output, nchw(block.apply(case.weights(block.init, x), x)))
    case.done()


def test_up_without_aggregation():
    case = Case("up")
    deep, skip = nhwc(case.input("x1"))[None], nhwc(case.input("x2"))[None]
    up = pure(decoder.Up(10))
    case.check("y", nchw(up.apply(case.weights(up.init, skip, deep), skip, deep)))
    case.done()


def test_conv_gru():
    case = Case("conv_gru")
    x, h0 = frames_of(case.input("x")), nhwc(case.input("h0"))
    gru = pure(conv_gru.ConvGRU())
    weights = case.weights(gru.init, x, h0)
    fold = lambda count, memory: nchw(gru.apply(weights, x[:count], memory))
    case.check("h_zero_init_last", fold(3, None))
    case.check("h_from_h0_last", fold(3, h0))
    case.check("h_zero_init_seq", np.stack([fold(count, None) for count in (1, 2, 3)], axis=1))
    case.check("single_frame", fold(1, h0))
    case.done()


def test_recurrent_up():
    case = Case("recurrent_up")
    in_time = lambda x: frames_of(x.reshape(2, 3, *x.shape[1:]))
    deep, skip = in_time(case.input("x1")), in_time(case.input("x2"))
    up = pure(decoder.Up(10, conv_gru.ConvGRU))
    weights = case.weights(up.init, skip, deep)
    case.check("y", nchw(up.apply(weights, skip, deep)))
    case.check("y_h0", nchw(up.apply(weights, skip, deep, nhwc(case.input("h0")))))
    up = pure(decoder.Up(10, conv_gru.ConvGRU, batch_statistics=True))
    case.check("y_train_bn", nchw(up.apply(weights, skip, deep)))
    case.done()


def test_latent_encoder():
    case = Case("e4e_encoder")
    image = nhwc(case.input("image"))
    no_average = np.zeros(PAPER.w_dim, np.float32)
    init = pure(latent.latent_encoder(PAPER)).init
    weights = case.weights(init, image, no_average)
    for output, batch_statistics, count in (
        ("w_eval", False, 2),
        ("w_train_bn_batch1", True, 1),
    ):
        encoder = pure(latent.latent_encoder(PAPER, batch_statistics=batch_statistics))
        case.check(output, jax.jit(encoder.apply)(weights, image[:count], no_average))
    case.done()


def texture_outputs(prefix, offsets, states=()):
    names = ("img32", "x32", "x64", "x128")
    named = {f"{prefix}_off_{name}": y for name, y in zip(names, offsets, strict=True)}
    return named | {f"{prefix}_hidden{i}": y for i, y in enumerate(states)}


def triplane_outputs(prefix, modulation, states=()):
    named = {f"{prefix}_{resolution}": y for resolution, y in modulation.items()}
    return named | {f"{prefix}_hidden{i}": y for i, y in enumerate(states)}


@pytest.mark.parametrize(
    ("name", "encoder", "outputs"),
    [
        ("E_tex_gru", unet.texture_encoder, texture_outputs),
        ("E_tri_gru", unet.triplane_encoder, triplane_outputs),
    ],
)
def test_recurrent_unet(name, encoder, outputs):
    case = Case(name)
    first, second = frames_of(case.input("x")), frames_of(case.input("x2"))
    network = pure(encoder(PAPER, conv_gru.ConvGRU))
    weights = case.weights(network.init, first)
    once, memory = jax.jit(network.apply)(weights, first)
    again, _ = jax.jit(network.apply)(weights, second, memory)
    network = pure(encoder(PAPER, conv_gru.ConvGRU, batch_statistics=True))
    noisy, _ = jax.jit(network.apply)(weights, first)
    got = outputs("T3", once, memory) | outputs("T3_then_T2", again)
    for key, value in (got | outputs("T3_decoderBNtrain", noisy)).items():
        case.check(key, nchw(value))
    case.done()


@pytest.mark.parametrize(
    ("name", "encoder", "outputs"),
    [
        ("E_tex_oneshot_unet", unet.texture_encoder, texture_outputs),
        ("E_tri_oneshot_unet", unet.triplane_encoder, triplane_outputs),
    ],
)
def test_oneshot_unet(name, encoder, outputs):
    case = Case(name)
    frame = nhwc(case.input("x"))[None]
    network = pure(encoder(PAPER))
    result, memory = jax.jit(network.apply)(case.weights(network.init, frame), frame)
    assert memory == ()
    for key, value in outputs("y", result).items():
        case.check(key, nchw(value))
    case.done()


def map_of(tokens: np.ndarray) -> np.ndarray:
    """(b, n, c) -> (b, side, side, c)."""
    side = round(tokens.shape[1] ** 0.5)
    return tokens.reshape(tokens.shape[0], side, side, -1)


def test_mix_block():
    case = Case("mit_block")
    x = map_of(case.input("x"))
    block = pure(transformer.MixBlock(case.config["num_heads"]))
    y = block.apply(case.weights(block.init, x), x)
    case.check("y", y.reshape(case.input("x").shape))
    case.done()


def test_overlapping_patches():
    case = Case("overlap_patch_embed")
    x = nhwc(case.input("x"))
    embed = pure(transformer.PatchEmbed(24))
    y = embed.apply(case.weights(embed.init, x), x)
    case.check("y", y.reshape(2, -1, 24))
    case.done()


def test_transformer():
    case = Case("transformer_block")
    x = nhwc(case.input("x"))
    config = case.config
    block = pure(transformer.Transformer(config["num_vit"], config["embed_dim"], config["heads"]))
    case.check("y", nchw(block.apply(case.weights(block.init, x), x)))
    case.done()


@pytest.mark.parametrize(
    ("name", "encoder", "outputs"),
    [
        ("E_tex_os", unet.texture_encoder, texture_outputs),
        ("E_tri_os", unet.triplane_encoder, triplane_outputs),
    ],
)
def test_released_oneshot(name, encoder, outputs):
    case = Case(name)
    frame = nhwc(case.input("x"))[None]
    network = pure(encoder(ONE_SHOT))
    result, memory = jax.jit(network.apply)(case.weights(network.init, frame), frame)
    assert memory == ()
    for key, value in outputs("y", result).items():
        case.check(key, nchw(value))
    case.done()


@pytest.mark.parametrize(
    ("network", "inputs", "count"),
    [
        (latent.latent_encoder(PAPER), ((1, 512, 512, 3), (512,)), 209_450_688),
        (unet.texture_encoder(PAPER, conv_gru.ConvGRU), ((2, 1, 256, 256, 7),), 68_518_304),
        (unet.triplane_encoder(PAPER, conv_gru.ConvGRU), ((2, 1, 512, 512, 6),), 82_784_960),
        (unet.texture_encoder(ONE_SHOT), ((1, 1, 256, 256, 7),), 248_984_032),
        (unet.triplane_encoder(ONE_SHOT), ((1, 1, 512, 512, 6),), 254_833_408),
    ],
)
def test_the_paper_sizes_have_the_released_number_of_parameters(network, inputs, count):
    arrays = [jax.ShapeDtypeStruct(shape, np.float32) for shape in inputs]
    weights = jax.eval_shape(pure(network).init, jax.random.key(0), *arrays)
    leaves = jax.tree.leaves(weights["params"])
    assert sum(int(np.prod(leaf.shape)) for leaf in leaves) == count
