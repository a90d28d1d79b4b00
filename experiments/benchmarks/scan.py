"""Folding frames: time and memory as their number grows, for inference and for training.

Run: ./avatar python -m experiments.benchmarks.scan --out R.json [--rounds N] [--smoke]

The fold is a pyramid of three gated units (32 x 32 x 64, 64 x 64 x 32, 128 x 128 x 16), fed by
one convolution of the frame each. Times are per frame; the peer is the same recurrence in
PyTorch, one frame after the other. `decoders` rows fold frames with the package's own E_tex and
E_tri at `small` size.
"""

import argparse
import functools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import measure
from invertavatar_jax import networks, weights
from invertavatar_jax.aggregate import conv_gru
from invertavatar_jax.aggregate.fold import fold
from invertavatar_jax.ops.conv import conv2d
from invertavatar_jax.pure import part

PYRAMID = ((32, 64), (64, 32), (128, 16))  # side and channels of a level
SIDE = PYRAMID[-1][0]
CLIP = 8  # frames that differ; they are repeated, so that the input's size is constant too
COUNTS = (32, 64, 128, 256, 512, 1024)
TRAINED = (16, 64, 256)
TIMED = 64  # frames of a timed training step
KEPT = {"plain": {"remat": False}, "remat": {"segment": 10**6}, "segments": {}}
PEER = "torch"


def scene() -> dict[str, Any]:
    """Weights of the pyramid and of its input convolutions, and a clip."""
    rng = np.random.default_rng(0)
    draw = lambda scale, *shape: jnp.asarray(rng.normal(0, scale, shape), jnp.float32)
    gate = lambda c, features: {
        "weight": draw(0.03, 3, 3, 2 * c, features),
        "bias": draw(0, features),
    }
    return {
        "gates": [{"ih_0": gate(c, 2 * c), "hh_0": gate(c, c)} for _, c in PYRAMID],
        "inputs": [draw(0.2, 3, 3, 3, c) for _, c in PYRAMID],
        "clip": draw(1, CLIP, 1, SIDE, SIDE, 3),
    }


def start() -> list[jax.Array]:
    """Empty memories."""
    return [jnp.zeros((1, side, side, c)) for side, c in PYRAMID]


def step(params: dict[str, Any], memory: list[jax.Array], index: jax.Array) -> list[jax.Array]:
    """Folds frame number `index` in."""
    frame = jax.lax.dynamic_index_in_dim(params["clip"], index % CLIP, keepdims=False)
    made = []
    for gates, weight, state in zip(params["gates"], params["inputs"], memory, strict=True):
        side = state.shape[1]
        pooled = frame.reshape(1, side, SIDE // side, side, SIDE // side, 3).mean((2, 4))
        made.append(conv_gru.update(gates, state, conv2d(pooled, weight, 1, 1)))
    return made


def compile_fold(count: int, params: dict[str, Any]) -> tuple[Callable, float]:
    """The fold of `count` frames, and the seconds that compiling it takes."""
    run = jax.jit(lambda params, memory, frames: fold(step, params, memory, frames))
    return _compiled(run, params, start(), jnp.arange(count))


def compile_gradient(count: int, params: dict[str, Any], options: dict[str, Any]):
    """The gradient of the gates, and the seconds that compiling it takes."""

    def loss(gates, params, memory, frames):
        end = fold(step, {**params, "gates": gates}, memory, frames, **options)
        return sum((state**2).mean() for state in end)

    return _compiled(jax.jit(jax.grad(loss)), params["gates"], params, start(), jnp.arange(count))


def _compiled(run, *inputs) -> tuple[Callable, float]:
    begin = time.perf_counter()
    program = run.lower(*inputs).compile()
    return program, time.perf_counter() - begin


class Torch:
    """The same recurrence in PyTorch."""

    def __init__(self, params: dict[str, Any]):
        try:
            import torch
        except ImportError as error:
            raise SystemExit(
                "scan: the peer needs PyTorch; run `./avatar setup requirements-bench.txt`."
            ) from error
        self.torch = torch
        swap = lambda x, *axes: torch.from_numpy(np.array(x).transpose(*axes).copy())
        gate = lambda one: (
            swap(one["weight"], 3, 2, 0, 1),
            torch.from_numpy(np.array(one["bias"])),
        )
        self.gates = [(gate(one["ih_0"]), gate(one["hh_0"])) for one in params["gates"]]
        self.inputs = [swap(weight, 3, 2, 0, 1) for weight in params["inputs"]]
        self.clip = swap(params["clip"], 0, 1, 4, 2, 3)

    def fold(self, count: int) -> list:
        """The memories after `count` frames."""
        torch, F = self.torch, self.torch.nn.functional
        memory = [torch.zeros(1, c, side, side) for side, c in PYRAMID]
        for index in range(count):
            frame = self.clip[index % CLIP]
            for i, (ih, hh) in enumerate(self.gates):
                x = F.avg_pool2d(frame, SIDE // PYRAMID[i][0])
                x = F.conv2d(x, self.inputs[i], padding=1)
                both = torch.cat([x, memory[i]], 1)
                reset, renew = torch.sigmoid(F.conv2d(both, *ih, padding=1)).chunk(2, 1)
                seen = torch.cat([x, reset * memory[i]], 1)
                candidate = torch.tanh(F.conv2d(seen, *hh, padding=1))
                memory[i] = (1 - renew) * memory[i] + renew * candidate
        return memory

    def infer(self, count: int) -> list:
        """The fold without a gradient."""
        with self.torch.inference_mode():
            return self.fold(count)

    def train(self, count: int) -> list:
        """The gradient of the gates."""
        leaves = [
            leaf.requires_grad_(True) for unit in self.gates for gate in unit for leaf in gate
        ]
        loss = sum((state**2).mean() for state in self.fold(count))
        return self.torch.autograd.grad(loss, leaves)


def inference(args: argparse.Namespace, params: dict[str, Any]) -> list[dict]:
    """A row per number of frames, all of them measured in turns."""
    counts = COUNTS[:2] if args.smoke else COUNTS
    peer = Torch(params)
    programs = {count: compile_fold(count, params) for count in counts}
    call = lambda count: programs[count][0](params, start(), jnp.arange(count))
    ours = np.asarray(call(counts[0])[-1])
    theirs = peer.infer(counts[0])[-1].numpy().transpose(0, 2, 3, 1)
    sides = {str(count): functools.partial(call, count) for count in counts}
    timings = measure.interleave(
        {PEER: lambda: peer.infer(counts[0]), **sides}, min(args.rounds, 3)
    )
    each = lambda name, count: measure.Timing(*(ms / count for ms in timings[name]))
    torch_timing, first = each(PEER, counts[0]), each(str(counts[0]), counts[0])
    rows = []
    for count in counts:
        program, seconds = programs[count]
        mine = each(str(count), count)
        rows.append(
            {
                "name": f"fold {count} frames, per frame",
                "ours_ms": mine.median_ms,
                "peer": PEER,
                "peer_ms": torch_timing.median_ms,
                "ratio": mine.median_ms / torch_timing.median_ms,
                "peak_mib": measure.temporary_mib(program),
                "ours": mine._asdict(),
                "peer_timing": torch_timing._asdict(),
                "frames": count,
                "compile_s": seconds,
                "wall_to_first": mine.median_ms / first.median_ms,
                "cpu_to_first": mine.cpu_ms / first.cpu_ms,
                "max_error": float(np.abs(ours - theirs).max()),
            }
        )
    return rows


def training(args: argparse.Namespace, params: dict[str, Any]) -> Iterator[list[dict]]:
    """A row for each way to keep states: time per frame of a gradient, memory by frames."""
    timed = TRAINED[0] if args.smoke else TIMED
    counts = TRAINED[:1] if args.smoke else TRAINED
    peer = Torch(params)
    plain: dict[int, float] = {}
    for kind, options in KEPT.items():
        made = {count: compile_gradient(count, params, options) for count in counts}
        memory = {count: measure.temporary_mib(program) for count, (program, _) in made.items()}
        plain = plain or memory
        program = made[timed][0]
        inputs = (params["gates"], params, start(), jnp.arange(timed))
        yield measure.row(
            f"gradient of {timed} frames: {kind}",
            lambda program=program, inputs=inputs: program(*inputs),
            {PEER: lambda: peer.train(timed)} if kind == "plain" else {},
            rounds=min(args.rounds, 3),
            peak_mib=memory[timed],
            temporary_mib=memory,
            part_of_plain={count: memory[count] / plain[count] for count in counts},
            compile_s={count: seconds for count, (_, seconds) in made.items()},
        )


def decoders(args: argparse.Namespace) -> Iterator[list[dict]]:
    """E_tex and E_tri of the bundled weights, frame by frame inside one program."""
    loaded, model, _ = weights.load()
    nets = networks.build(model)
    unets = jax.device_put(part(loaded, "unet_encoder"))
    sides = {
        "E_tex": (nets.texture_unet, "texture_unet", model.texture_trunk.patch, 7),
        "E_tri": (nets.triplane_unet, "triplane_unet", model.triplane_trunk.patch, 8),
    }
    for name, (network, key, patch, channels) in sides.items():
        side = model.backbone.resolution * patch
        clip = jax.random.normal(jax.random.key(0), (CLIP, 1, 1, side, side, channels))
        own = {"weights": part(unets, key), "clip": clip}

        def one(own, memory, index, network=network):
            return network.apply(own["weights"], own["clip"][index % CLIP], memory)[1]

        empty = jax.eval_shape(network.apply, own["weights"], clip[0])[1]
        begun = jax.tree.map(lambda leaf: jnp.zeros(leaf.shape, leaf.dtype), empty)
        for count in (4,) if args.smoke else (32, 256):
            run = jax.jit(lambda own, memory, frames, one=one: fold(one, own, memory, frames))
            inputs = (own, begun, jnp.arange(count))
            program, seconds = _compiled(run, *inputs)
            yield [
                _per_frame(one, count)
                for one in measure.row(
                    f"decoders {name}, {count} frames, per frame",
                    lambda program=program, inputs=inputs: program(*inputs),
                    {},
                    rounds=min(args.rounds, 3),
                    peak_mib=measure.temporary_mib(program),
                    compile_s=seconds,
                )
            ]


def _per_frame(one: dict[str, Any], count: int) -> dict[str, Any]:
    timing = {name: ms / count for name, ms in one["ours"].items()}
    return {**one, "ours_ms": one["ours_ms"] / count, "ours": timing, "frames": count}


def rows(args: argparse.Namespace) -> Iterator[list[dict]]:
    """All of it."""
    jax.config.update("jax_enable_compilation_cache", False)  # compile times are measured
    params = scene()
    yield inference(args, params)
    yield from training(args, params)
    yield from decoders(args)


if __name__ == "__main__":
    measure.main("Folding frames", rows)
