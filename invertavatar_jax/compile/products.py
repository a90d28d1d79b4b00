"""Floating point operations of matrix products and convolutions in a compiled program."""

import functools
import re

import numpy as np

from invertavatar_jax.compile.hlo import Computation, Instruction, Shape


def product_flops(computation: Computation, one: Instruction) -> float:
    """Twice the multiplications of an instruction; 0 if it is no product."""
    if one.opcode == "dot":
        return _dot(one, computation[one.operands[0]].shapes[0])
    if one.opcode not in ("convolution", "custom-call"):
        return 0.0
    target = re.search(r'custom_call_target="([^"]+)"', one.attributes)
    kind = target.group(1) if target else ""
    if "gemm" in kind or "matmul" in kind:
        return _dot(one, computation[one.operands[0]].shapes[0])
    if one.opcode == "custom-call" and "conv" not in kind:
        return 0.0
    shapes = [computation[name].shapes[0] for name in one.operands[:2]]
    # cuDNN's gradients keep the labels of the convolution that they are the gradient of
    if "BackwardInput" in kind:
        return _convolution(one, one.shapes[0], shapes[1], shapes[0])
    if "BackwardFilter" in kind:
        return _convolution(one, shapes[0], one.shapes[0], shapes[1])
    return _convolution(one, shapes[0], shapes[1], one.shapes[0])


def _dot(one: Instruction, left: Shape) -> float:
    # cuBLAS calls hold the same as JSON, with the numbers in quotes
    found = re.search(r'lhs_contracting_dim\w*"?[=:][\[{]([^\]}]*)[\]}]', one.attributes)
    axes = [int(n) for n in re.findall(r"\d+", found.group(1))] if found else []
    return 2.0 * one.shapes[0].elements * float(np.prod([left.dims[i] for i in axes]))


def _convolution(one: Instruction, image: Shape, kernel: Shape, result: Shape) -> float:
    """Products with padding, and with the holes of a dilated image, do not count."""
    found = re.search(r"dim_labels=([\w?]+)_([\w?]+)->([\w?]+)", one.attributes)
    if found is None:
        return 0.0
    size = lambda labels, letter, shape: shape.dims[labels.index(letter)]
    window = _window(one.attributes)
    total = 2.0 * size(found[2], "i", kernel) * size(found[2], "o", kernel)
    groups = re.search(r"batch_group_count=(\d+)", one.attributes)
    total *= size(found[1], "b", image) / (int(groups[1]) if groups else 1)
    for i in range(len(found[1]) - 2):
        total *= _valid(
            size(found[1], str(i), image),
            size(found[2], str(i), kernel),
            size(found[3], str(i), result),
            int(window.get("stride", {}).get(i, 1)),
            int(str(window.get("pad", {}).get(i, "0_0")).split("_")[0]),
            int(window.get("lhs_dilate", {}).get(i, 1)),
            int(window.get("rhs_dilate", {}).get(i, 1)),
        )
    return total


def _window(attributes: str) -> dict[str, dict[int, str]]:
    """{"size": {0: "3", 1: "3"}, "pad": {0: "1_1", ...}, ...}; axes are separated by x."""
    found = re.search(r"window=\{([^}]*)\}", attributes)
    fields = [] if found is None else [field.split("=") for field in found[1].split()]
    return {name: dict(enumerate(value.split("x"))) for name, value in fields}


@functools.cache
def _valid(
    image: int, kernel: int, result: int, stride: int, before: int, holes: int, spread: int
) -> int:
    """Pairs of a result's place and a tap, along one axis, that meet a pixel of the image.

    Args:
        before: zeros before the image.
        holes: distance of the image's pixels.
        spread: distance of the taps.
    """
    place = np.arange(result)[:, None] * stride + np.arange(kernel) * spread - before
    inside = (place >= 0) & (place < (image - 1) * holes + 1)
    return int((inside & (place % holes == 0)).sum())
