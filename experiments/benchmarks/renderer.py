"""Volume rendering beside the same maths in PyTorch, written EG3D's way.

On a CPU every row is measured in two environments, because XLA and PyTorch take scratch memory
from malloc at each call and so depend on its settings: `default` has none, `tuned` has those
that ./avatar sets. Both sides always run in the same process.
"""

import argparse
import dataclasses
import functools
import importlib.util
import os
from collections.abc import Iterator
from typing import Any, NamedTuple

import jax
import jax.numpy as jnp
import numpy as np

from experiments.benchmarks import measure
from invertavatar_jax.pure import pure
from invertavatar_jax.render import composite, rays, samples, triplane, volume
from invertavatar_jax.render.decoder import OSGDecoder
from invertavatar_jax.settings import Renderer
from invertavatar_jax.types import Camera

CHANNELS, PLANE_SIDE = 32, 256
AXES = {"released": triplane.PLANE_AXES, "three planes": triplane.PLANE_AXES_FIXED}
MODULE = "experiments.benchmarks.renderer"
Rows = list[dict[str, Any]]


class Scene(NamedTuple):
    """What both sides are given."""

    planes: jax.Array  # [1, 3, h, w, c]
    weights: Any
    cast: rays.Rays
    limits: tuple[jax.Array, jax.Array]
    draws: volume.Draws


def make_scene(settings: Renderer) -> Scene:
    """Planes of noise, four texels wide, and random weights; the camera is turned a little."""
    keys = jax.random.split(jax.random.key(0), 3)
    side = settings.neural_resolution
    noise = jax.random.normal(keys[0], (1, 3, PLANE_SIDE // 4, PLANE_SIDE // 4, CHANNELS))
    planes = jax.image.resize(noise, (1, 3, PLANE_SIDE, PLANE_SIDE, CHANNELS), "linear")
    angle = 0.2
    turn = np.array(
        [[np.cos(angle), 0, np.sin(angle)], [0, 1, 0], [-np.sin(angle), 0, np.cos(angle)]]
    )
    pose = np.eye(4)
    pose[:3, :3] = turn @ np.diag([1.0, -1.0, -1.0])
    pose[:3, 3] = turn @ [0, 0, 2.7]
    intrinsics = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])
    camera = Camera(jnp.float32(pose)[None], jnp.float32(intrinsics)[None])
    cast = rays.cast_rays(camera, side)
    limits = rays.ray_limits(camera, settings.near, settings.far)
    weights = pure(OSGDecoder(settings.decoder_hidden, CHANNELS)).init(
        keys[1], jnp.zeros((1, CHANNELS))
    )
    return Scene(planes, weights, cast, limits, volume.draw(keys[2], (1, side * side), settings))


def our_render(settings: Renderer, axes: triplane.Axes):
    """A function of a scene's arrays."""
    decoder = pure(OSGDecoder(settings.decoder_hidden, CHANNELS))

    def render(planes, weights, cast, limits, draws):
        decode = lambda sampled, points: decoder.apply(weights, sampled)
        field = volume.plane_field(decode, planes, settings.box_warp, axes)
        return volume.render_rays(field, cast, limits, settings, draws)

    return render


class Peer:
    """The PyTorch side of a scene.

    Raises:
        ImportError: there is no PyTorch.
    """

    def __init__(self, scene: Scene, settings: Renderer, device: str):
        import torch

        from experiments.benchmarks import renderer_twin

        torch.set_num_threads(len(os.sched_getaffinity(0)))
        self.torch, self.twin, self.box_warp = torch, renderer_twin, settings.box_warp
        self.device = "cuda" if device == "gpu" else "cpu"
        tensor = lambda x: torch.tensor(np.asarray(x), device=self.device)
        self.planes = tensor(jnp.moveaxis(scene.planes[0], -1, 1)).contiguous()
        first, second = (scene.weights["params"][name] for name in ("net_0", "net_2"))
        linear = lambda x: tensor(x["weight"].T / np.sqrt(x["weight"].shape[0])).contiguous()
        self.decoder = renderer_twin.Decoder(
            linear(first), tensor(first["bias"]), linear(second), tensor(second["bias"])
        )
        coarse = samples.stratified(*scene.limits, settings.coarse_samples, scene.draws.jitter)
        parts = (scene.cast.origins, scene.cast.directions, coarse, scene.draws.fine)
        self.rays = renderer_twin.Rays(*(tensor(x[0]) for x in parts))

    def call(self, function, *inputs):
        """A call that returns when its work is done."""

        def run():
            with self.torch.inference_mode():
                out = function(*inputs)
            if self.device == "cuda":
                self.torch.cuda.synchronize()
            return out

        return run

    def render(self, axes: triplane.Axes):
        """The whole rendering, as a call."""
        return self.call(
            self.twin.render, self.planes, self.decoder, self.rays, self.box_warp, axes
        )


def whole(name: str, settings: Renderer, axes: triplane.Axes, device: str, rounds: int) -> Rows:
    """A row of the whole rendering: memory, and the largest errors against the peer."""
    scene = make_scene(settings)
    compiled = jax.jit(our_render(settings, axes)).lower(*scene).compile()
    theirs = Peer(scene, settings, device).render(axes)
    error = {
        f"error_{output}": float(np.abs(np.asarray(mine[0]) - other.cpu().numpy()).max())
        for output, mine, other in zip(
            ("features", "depth", "opacity"), compiled(*scene), theirs(), strict=True
        )
    }
    return measure.row(
        name,
        lambda: compiled(*scene),
        {"torch": theirs},
        rounds=rounds,
        peak_mib=measure.temporary_mib(compiled),
        **error,
    )


def alone(name: str, settings: Renderer, rounds: int) -> Rows:
    """As whole, without a peer."""
    scene = make_scene(settings)
    compiled = jax.jit(our_render(settings, triplane.PLANE_AXES)).lower(*scene).compile()
    memory = measure.temporary_mib(compiled)
    return measure.row(name, lambda: compiled(*scene), {}, rounds=rounds, peak_mib=memory)


def pieces(settings: Renderer, device: str, rounds: int) -> Iterator[Rows]:
    """Sampling, decoding and marching of one pass, each alone and in one piece on both sides."""
    scene = make_scene(settings)
    peer = Peer(scene, settings, device)
    coarse = samples.stratified(*scene.limits, settings.coarse_samples, scene.draws.jitter)
    points = scene.cast.origins[:, :, None] + coarse[..., None] * scene.cast.directions[:, :, None]
    points = points.reshape(1, -1, 3)
    features = jax.random.normal(jax.random.key(1), (points.shape[1], CHANNELS))
    colour = jax.nn.sigmoid(features).reshape(1, *coarse.shape[1:], CHANNELS)
    density = features[:, 0].reshape(coarse.shape)
    decoder = pure(OSGDecoder(settings.decoder_hidden, CHANNELS))

    def march(colour, density, depth):
        weights = composite.interval_weights(density, depth)
        mean = composite.mean_depth(weights, depth, depth.max())
        summed = jnp.einsum("bns,bnsc->bnc", composite.sample_weights(weights), colour)
        return 2 * summed - 1, mean, weights

    tensor = lambda x: peer.torch.tensor(np.asarray(x), device=peer.device)
    torch_sample = lambda *inputs: (peer.twin.sample(*inputs),)
    parts = {
        "sampling": (
            lambda planes, points: triplane.sample_planes(planes, points, settings.box_warp),
            (scene.planes, points),
            peer.call(
                torch_sample, peer.planes, tensor(points[0]), settings.box_warp, triplane.PLANE_AXES
            ),
        ),
        "decoding": (
            decoder.apply,
            (scene.weights, features),
            peer.call(peer.twin.decode, peer.decoder, tensor(features)),
        ),
        "marching": (
            march,
            (colour, density, coarse),
            peer.call(
                peer.twin.march,
                *(tensor(x) for x in (colour[0], density[0, ..., None], coarse[0, ..., None])),
            ),
        ),
    }
    for name, (function, inputs, theirs) in parts.items():
        compiled = jax.jit(function).lower(*inputs).compile()
        ours = lambda compiled=compiled, inputs=inputs: compiled(*inputs)
        memory = measure.temporary_mib(compiled)
        yield measure.row(f"piece: {name}", ours, {"torch": theirs}, rounds=rounds, peak_mib=memory)


def sweep(settings: Renderer, *, smoke: bool) -> dict[str, Renderer]:
    """Settings for cost against rays and samples."""
    change = functools.partial(dataclasses.replace, settings)
    sides, counts = ((8, 16), (4, 8)) if smoke else ((64, 128, 256), (12, 24, 96))
    by_rays = {f"cost: {side}^2 rays": change(neural_resolution=side) for side in sides}
    by_samples = {
        f"cost: {count} + {count} samples": change(coarse_samples=count, fine_samples=count)
        for count in counts
    }
    return by_rays | by_samples


def measured(args: argparse.Namespace) -> Iterator[Rows]:
    """Rows of this process and its environment."""
    jax.config.update("jax_default_device", jax.devices(args.device)[0])
    # float32 on both sides: PyTorch's default, and not that of XLA on a GPU
    jax.config.update("jax_default_matmul_precision", "highest")
    settings = Renderer()
    if args.smoke:
        settings = dataclasses.replace(
            settings, neural_resolution=16, coarse_samples=6, fine_samples=6
        )
    size = f"{settings.neural_resolution}^2 x ({settings.coarse_samples} + {settings.fine_samples})"
    for axes in ("released", "three planes"):
        yield whole(f"render {size}, {axes}", settings, AXES[axes], args.device, args.rounds)
    few = min(args.rounds, 3)
    yield from pieces(settings, args.device, few)
    if args.environment != "default":
        for name, changed in sweep(settings, smoke=args.smoke).items():
            yield alone(name, changed, few)


def in_child(args: argparse.Namespace, environment: str) -> Rows:
    """The rows of a child process, whose allocator is set as its environment says."""
    option = f"--environment={environment}"
    result = measure.in_child(MODULE, args, option, environment=measure.allocator(environment))
    settings = result["environment"]["settings"]
    return [
        one | {"name": f"{environment}: {one['name']}", "settings": settings}
        for one in result["rows"]
    ]


def rows(args: argparse.Namespace) -> Iterator[Rows]:
    """All rows; one clear sentence where PyTorch is missing."""
    if importlib.util.find_spec("torch") is None:
        raise SystemExit("renderer: its peer is torch; run ./avatar setup requirements-bench.txt")
    if args.environment or args.device == "gpu":
        yield from measured(args)
        return
    for environment in measure.ENVIRONMENTS:
        yield in_child(args, environment)


def add_options(parser: argparse.ArgumentParser) -> None:
    """Options of this benchmark."""
    parser.add_argument("--device", choices=("cpu", "gpu"), default="cpu")
    parser.add_argument(
        "--environment",
        choices=measure.ENVIRONMENTS,
        help="only name the environment that this process was started with; left out, child "
        "processes measure both",
    )


if __name__ == "__main__":
    measure.main("Volume rendering", rows, add_options)
