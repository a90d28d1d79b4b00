"""The array functions against the released ones."""

import numpy as np

from invertavatar_jax.ops import moments, resize, upfirdn
from invertavatar_jax.ops.bias_act import bias_act
from invertavatar_jax.ops.conv import conv2d
from invertavatar_jax.ops.grid_sample import grid_sample
from invertavatar_jax.ops.modulated_conv import channel_split_sft, modulated_conv
from invertavatar_jax.ops.resample import conv2d_down, conv2d_up
from tests.parity.golden import Case, nchw, nhwc


def hwio(weight: np.ndarray) -> np.ndarray:
    return weight.transpose(2, 3, 1, 0)


def test_bias_act():
    case = Case("bias_act")
    x, b = nhwc(case.input("x")), case.input("b")
    for name in case.config["defaults"]:
        case.check(name, nchw(bias_act(x, b, name)))
    case.check("lrelu_gain2_clamp1.5", nchw(bias_act(x, b, "lrelu", gain=2.0, clamp=1.5)))
    case.check("linear_alpha_none_clamp0.7", nchw(bias_act(x, b, "linear", clamp=0.7)))
    gain = float(np.sqrt(2) * np.sqrt(0.5))
    name = "lrelu_nobias_gain_sqrt2_times_sqrt.5"
    case.check(name, nchw(bias_act(x, None, "lrelu", gain=gain)))
    case.done()


def test_upfirdn2d():
    case = Case("upfirdn2d")
    x, asymmetric = nhwc(case.input("x")), case.input("f_asym")
    case.check("filter_1331", upfirdn.filter_1331())
    case.check("upsample2d_up2", nchw(upfirdn.upsample2d(x)))
    case.check("downsample2d_down2", nchw(upfirdn.downsample2d(x)))
    case.check("filter2d", nchw(upfirdn.filter2d(x)))
    for name, call in case.config["calls"].items():
        if call.pop("fn", "upfirdn2d") != "upfirdn2d":
            continue
        taps = asymmetric if call.pop("filt") == "f_asym" else upfirdn.filter_1331()
        call["padding"] = tuple(call["padding"])
        call["flip"] = call.pop("flip_filter", False)
        case.check(name, nchw(upfirdn.upfirdn2d(x, taps, **call)))
    blur = upfirdn.gaussian(3.0)
    case.check("blur_kernel_sigma3", blur)
    blurred = upfirdn.filter2d(nhwc(case.input("x_blur")), tuple(blur.tolist()))
    case.check("blur_sigma3", nchw(blurred))
    case.done()


def test_conv2d_resample():
    case = Case("conv2d_resample")
    x, w3, w1 = nhwc(case.input("x")), hwio(case.input("w3")), hwio(case.input("w1"))
    flipped = w3[::-1, ::-1]
    case.check("k3_plain", nchw(conv2d(x, w3, 1, 1)))
    case.check("k3_noflip", nchw(conv2d(x, flipped, 1, 1)))
    case.check("k3_up2", nchw(conv2d_up(x, w3)))
    case.check("k3_up2_flip", nchw(conv2d_up(x, flipped)))
    case.check("k3_down2", nchw(conv2d_down(x, w3)))
    case.check("k1_down2", nchw(conv2d_down(x, w1)))
    case.check("k1_up2", nchw(conv2d_up(x, w1)))
    case.check("k1_plain", nchw(conv2d(x, w1, 1, 0)))
    case.done()


def test_modulated_conv2d():
    case = Case("modulated_conv2d")
    x, styles = nhwc(case.input("x")), case.input("styles")
    weights = {3: hwio(case.input("w")), 1: hwio(case.input("w1"))}
    for name, call in case.config["calls"].items():
        weight = weights[1 if name.startswith("k1") else 3]
        demodulate = call.get("demodulate", True)
        y = modulated_conv(x, weight, styles, up=call.get("up", 1), demodulate=demodulate)
        if "noise" in call:
            noise = case.input(call["noise"])
            y = y + noise.reshape(-1, *noise.shape[-2:], 1)
        case.check(name, nchw(y))
    case.done()


def test_resize_misc():
    case = Case("resize_misc")
    x = nhwc(case.input("x"))
    for size in ((7, 9), (40, 48), (10, 12)):
        direction = "up" if size[0] > 20 else "down"
        name = f"interp_bilinear_aa_{direction}_{size[0]}x{size[1]}"
        case.check(name, nchw(resize.resize_antialias(x, size)))
    case.check("interp_bilinear_noaa_down_7x9", nchw(resize.resize_bilinear(x, (7, 9))))
    case.check("interp_bilinear_noaa_up_33x50", nchw(resize.resize_bilinear(x, (33, 50))))
    corners = resize.resize_align_corners(x, (40, 48))
    case.check("interp_bilinear_aligncorners_up_40x48", nchw(corners))
    case.check("adaptive_avg_pool_10x12", nchw(resize.average_pool(x, (10, 12))))
    case.check("adaptive_avg_pool_7x5", nchw(resize.average_pool(x, (7, 5))))
    case.check("pixel_shuffle_2", nchw(resize.pixel_shuffle(nhwc(case.input("ps")), 2)))
    case.check("grid_sample_bilinear_zeros", nchw(grid_sample(x, case.input("grid"))))
    case.check("maxpool_k1_s2", nchw(x[:, ::2, ::2]))  # what the IR-SE shortcuts do
    case.check("normalize_2nd_moment", moments.normalize_second_moment(case.input("z")))
    batch = nhwc(case.input("mb"))
    case.check("minibatch_std_g4_f1", nchw(moments.append_minibatch_std(batch)))
    case.check("minibatch_std_gNone_f2", nchw(moments.append_minibatch_std(batch, None, 2)))


def test_cs_sft():
    case = Case("cs_sft")
    y = channel_split_sft(nhwc(case.input("x")), nhwc(case.input("cond")))
    case.check("y", nchw(y))
    case.done()
