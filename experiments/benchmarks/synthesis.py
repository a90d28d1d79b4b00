"""Synthesis networks, encoders and their convolutions, against the same maths in PyTorch.

    ./avatar python -m experiments.benchmarks.synthesis --out R.json [--smoke]

Ours is measured in float32 and in bfloat16, PyTorch in float32 in its own layout, both with
two threads; networks have the sizes of the preset `paper`.
"""

import argparse
import dataclasses
import functools
from collections.abc import Callable, Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import measure
from invertavatar_jax import networks, settings
from invertavatar_jax.ops.conv import conv2d
from invertavatar_jax.ops.modulated_conv import modulated_conv

THREADS = 2
EQUALISED = ("texture", "static", "face", "superresolution")  # scale weights of N(0, 1)


class Convolution(NamedTuple):
    """One row: sizes are of the input."""

    name: str
    channels: int
    features: int
    side: int
    up: int = 1
    batch: int = 1
    modulated: bool = True


CONVOLUTIONS = (
    Convolution("modulated 512 @ 32", 512, 512, 32),
    Convolution("modulated 512 @ 32, batch 4", 512, 512, 32, batch=4),
    Convolution("modulated 256 @ 128", 256, 256, 128),
    Convolution("modulated up 512 > 256, 64 > 128", 512, 256, 64, up=2),
    Convolution("modulated up 256 > 128, 128 > 256", 256, 128, 128, up=2),
    Convolution("plain 512 @ 64", 512, 512, 64, modulated=False),
    Convolution("plain 128 @ 256", 128, 128, 256, modulated=False),
)


def smoke_model() -> settings.Model:
    """The recurrent model in the smallest sizes."""
    tiny = settings.preset("tiny")
    renderer = dataclasses.replace(
        tiny.renderer, neural_resolution=16, image_resolution=64, superresolution_fold=0
    )
    return dataclasses.replace(tiny, renderer=renderer, departures=settings.Departures())


def _inputs(model: settings.Model, name: str) -> tuple[Any, ...]:
    """Random inputs of a network, as ours takes them."""
    random = np.random.default_rng(1)
    draw = lambda *shape: random.standard_normal(shape, np.float32)
    side, planes = model.backbone.resolution, model.plane_channels
    w_plus = draw(1, model.backbone.w_count, model.w_dim)
    if name in ("texture", "static"):
        return (w_plus,)
    if name == "face":
        sizes = [side // 8, side // 8, side // 4, side // 2]
        channels = [planes, *map(model.backbone.channels, sizes[1:])]
        pairs = zip(sizes, channels, strict=True)
        return w_plus, [draw(1, s, s, c + 1) for s, c in pairs]
    if name == "superresolution":
        n = model.renderer.neural_resolution
        return draw(1, n, n, 3), draw(1, n, n, planes), w_plus
    if name == "latent":
        image = model.latent_input
        return draw(1, image, image, 3), np.zeros(model.w_dim, np.float32)
    return (draw(1, 1, side, side, 7 if name == "texture_unet" else 6),)


def _weights(init: Callable, name: str, inputs: tuple[Any, ...]):
    """Weights of the shapes of init, none of them at a special value."""
    random = np.random.default_rng(2)

    def leaf(path, shape):
        noise = random.standard_normal(shape.shape, np.float32)
        key = path[-1].key
        if len(shape.shape) > 1 and (name in EQUALISED or "linear" in str(path)):
            return noise
        if len(shape.shape) > 1:
            return noise / np.float32(np.sqrt(np.prod(shape.shape[:-1])))
        centre = 0.0 if key in ("bias", "running_mean", "noise_strength") else 1.0
        return np.asarray(centre + 0.1 * noise, np.float32)

    shapes = jax.eval_shape(init, jax.random.key(0), *inputs)
    return jax.tree_util.tree_map_with_path(leaf, shapes)


def _error(ours, theirs) -> float:
    """The largest difference in the whole result, by its largest number."""
    differences = [
        np.abs(a - np.asarray(b, np.float32)).max() / np.abs(a).max()
        for a, b in zip(jax.tree.leaves(ours), jax.tree.leaves(theirs), strict=True)
    ]
    return float(max(differences))


def _psnr_db(exact, rough) -> float:
    """The least over all results, by each one's range."""
    values = []
    for a, b in zip(jax.tree.leaves(exact), jax.tree.leaves(rough), strict=True):
        error = np.mean((np.asarray(a, np.float32) - np.asarray(b, np.float32)) ** 2)
        values.append(10 * np.log10(np.ptp(np.asarray(a)) ** 2 / error))
    return float(min(values))


def _rows(name: str, by_type: dict[str, tuple], peer: Callable, theirs, rounds: int) -> list:
    """A row for each type we compute in.

    Args:
        by_type: function and arguments by the type's name, float32 first.
        theirs: what the peer computes, in our layout.
    """
    rows, exact = [], None
    for kind, (function, arguments) in by_type.items():
        compiled = jax.jit(function).lower(*arguments).compile()
        result = jax.block_until_ready(compiled(*arguments))
        if exact is None:
            exact, facts = result, {"error_of_peer": _error(theirs, result)}
        else:
            facts = {"psnr_to_float32_db": _psnr_db(exact, result)}
        call = functools.partial(compiled, *arguments)
        peak = measure.temporary_mib(compiled)
        rows += measure.row(
            f"{name}, {kind}", call, {"torch": peer}, rounds=rounds, peak_mib=peak, **facts
        )
    return rows


def _convolution(case: Convolution, rounds: int) -> list[dict]:
    import torch

    from experiments.benchmarks import torch_twin

    random = np.random.default_rng(0)
    draw = lambda *shape: random.standard_normal(shape, np.float32)
    x = draw(case.batch, case.side, case.side, case.channels)
    weight = draw(3, 3, case.channels, case.features) / np.float32(np.sqrt(9 * case.channels))
    style = 1 + 0.1 * draw(case.batch, case.channels)
    theirs = [torch_twin.images(x), torch.tensor(weight.transpose(3, 2, 0, 1).copy())]
    if case.modulated:
        ours = functools.partial(modulated_conv, up=case.up)
        arguments, peer = (
            (x, weight, style),
            functools.partial(torch_twin.modulated_conv, up=case.up),
        )
        theirs.append(torch.tensor(style))
    else:
        ours = lambda x, weight: conv2d(x, weight.astype(x.dtype), 1, 1)
        arguments, peer = (x, weight), functools.partial(torch.nn.functional.conv2d, padding=1)
    arguments = jax.tree.map(jnp.asarray, arguments)
    narrow = (arguments[0].astype(jnp.bfloat16), *arguments[1:])
    call = torch.inference_mode()(lambda: peer(*theirs))
    expected = call().numpy().transpose(0, 2, 3, 1)
    by_type = {"float32": (ours, arguments), "bfloat16": (ours, narrow)}
    return _rows(case.name, by_type, call, expected, rounds)


def _network(model: settings.Model, name: str, rounds: int) -> list[dict]:
    import torch

    from experiments.benchmarks import torch_twin

    inputs = _inputs(model, name)
    by_type = {
        kind: getattr(networks.build(model, compute=kind), name) for kind in networks.COMPUTE
    }
    weights = _weights(by_type["float32"].init, name, inputs)
    twin = torch_twin.make(model, name)
    torch_twin.load(twin, weights)
    is_image = lambda array: array.ndim > 3
    to_torch = lambda a: torch_twin.images(a) if is_image(a) else torch.tensor(a)
    theirs = jax.tree.map(to_torch, inputs)
    call = torch.inference_mode()(lambda: twin(*theirs))
    expected = call()
    if name == "triplane_unet":  # ours stacks scale and shift
        expected = ({side: torch.stack(pair) for side, pair in expected[0].items()}, expected[1])
    to_ours = lambda t: t.numpy() if t.ndim < 4 else t.movedim(-3, -1).numpy()
    expected = jax.tree.map(to_ours, expected)
    arguments = jax.tree.map(jnp.asarray, (weights, *inputs))
    del weights
    functions = {kind: (network.apply, arguments) for kind, network in by_type.items()}
    return _rows(name, functions, call, expected, rounds)


def run(arguments: argparse.Namespace) -> Iterator[list[dict]]:
    """Yields the rows of convolutions, then those of networks."""
    try:
        from experiments.benchmarks import torch_twin
    except ModuleNotFoundError as error:
        raise SystemExit(
            f"The peer {error.name} is not installed; run ./avatar setup requirements-bench.txt."
        ) from error
    torch_twin.use_threads(THREADS)
    for case in CONVOLUTIONS:
        if arguments.smoke:
            case = case._replace(channels=32, features=32, side=8)
        yield _convolution(case, arguments.rounds)
    model = smoke_model() if arguments.smoke else settings.preset("paper")
    for name in torch_twin.Twin._fields:
        yield _network(model, name, arguments.rounds)


if __name__ == "__main__":
    measure.main("Synthesis, super-resolution and encoders", run)
