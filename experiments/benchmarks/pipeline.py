"""How long it takes to make an avatar and to drive it, at the paper's size and the small one.

python -m experiments.benchmarks.pipeline --out R.json

The paper's size has random weights: the same ones on both sides. The peer is PyTorch, see
pipeline_twin.py. Every side is measured in a process of its own, and they take turns, in two
environments: `default` leaves malloc as it is, `tuned` is that of ./avatar.
"""

import argparse
import os
import pathlib
import tempfile
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import measure
from invertavatar_jax import avatar, film, frames, motion, networks, settings
from invertavatar_jax.fit import morphable
from invertavatar_jax.metrics.image import psnr
from invertavatar_jax.pure import Weights, part
from invertavatar_jax.rasterize import blend
from invertavatar_jax.render import rays, samples, volume
from invertavatar_jax.types import Camera, Frame

FRAMES = 4  # that are aggregated
FILM = 48  # frames of the film of the small model
SIDE = 512  # of the source pictures
MODULE = "experiments.benchmarks.pipeline"
SIDES = ("float32", "bfloat16", "torch")
Rows = list[dict[str, Any]]
Call = Callable[[], Any]


def camera(yaw_rad: float = 0.1) -> Camera:
    """Looks at the head from a usual distance."""
    front = np.diag([1.0, -1.0, -1.0, 1.0])
    front[2, 3] = 2.7
    intrinsics = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])
    turned = motion.orbit(Camera(front, intrinsics), [yaw_rad], [0.0])
    return Camera(*(np.asarray(x[0], np.float32) for x in turned))


def observations(count: int) -> list[avatar.Observation]:
    """Frames of noise with a face model that moves; what they show does not matter."""
    head, rng = morphable.load_head_model(), np.random.default_rng(0)
    return [
        avatar.Observation(
            rng.integers(0, 256, (SIDE, SIDE, 3), np.uint8),
            np.full((SIDE, SIDE), 255, np.uint8),
            np.zeros(len(head.identity), np.float32),
            rng.uniform(0, 0.3, len(head.expression_names)).astype(np.float32),
            np.zeros(4, np.float32),
            camera(0.1 * i),
        )
        for i in range(count)
    ]


def random_weights(sizes: settings.Model) -> Weights:
    """Weights of usual magnitudes, leaf by leaf, so that they exist once."""
    rng = np.random.default_rng(0)

    def draw(path, leaf):
        name = str(path[-1].key)
        if name in ("running_var", "running_mean", "noise_strength"):
            return np.full(leaf.shape, float(name == "running_var"), np.float32)
        values = rng.standard_normal(leaf.shape, np.float32)
        modulated = "synthesis" in str(path) or "superresolution" in str(path)
        if name == "bias" or len(leaf.shape) < 2:
            offset = 1.0 if "affine" in str(path) else 0.25 if leaf.ndim else 0.0
            return 0.05 * values + np.float32(offset)
        return values if modulated else values * np.float32(1 / np.sqrt(np.prod(leaf.shape[:-1])))

    place = lambda path, leaf: jax.device_put(draw(path, leaf))
    return jax.tree_util.tree_map_with_path(place, networks.shapes(sizes))


def make_twin(model: avatar.Model, weights: Weights):
    """The peer with the same weights."""
    import torch

    from experiments.benchmarks import pipeline_twin, renderer_twin, torch_twin

    torch_twin.use_threads(len(os.sched_getaffinity(0)))
    nets = torch_twin.build(model.sizes)
    generator, unets = part(weights, "generator"), part(weights, "unet_encoder")
    synthesis = lambda name: part(part(generator, name), "synthesis")
    torch_twin.load(nets.texture, synthesis("texture_backbone"))
    torch_twin.load(nets.static, synthesis("backbone"))
    torch_twin.load(nets.face, synthesis("face_backbone"))
    torch_twin.load(nets.superresolution, part(generator, "superresolution"))
    torch_twin.load(nets.latent, part(weights, "encoder"))
    torch_twin.load(nets.texture_unet, part(unets, "texture_unet"))
    torch_twin.load(nets.triplane_unet, part(unets, "triplane_unet"))
    decoder = part(generator, "decoder")["params"]
    linear = lambda name: torch.tensor(
        decoder[name]["weight"].T * np.float32(1 / np.sqrt(decoder[name]["weight"].shape[0]))
    )
    bias = lambda name: torch.tensor(np.asarray(decoder[name]["bias"]))
    marched = renderer_twin.Decoder(linear("net_0"), bias("net_0"), linear("net_2"), bias("net_2"))
    return pipeline_twin.Pipeline(model.sizes, nets, marched)


def twin_photo(sizes: settings.Model, frame: Frame):
    """A prepared frame as the peer takes it."""
    import torch

    from experiments.benchmarks import pipeline_twin, renderer_twin, torch_twin

    renderer, drive = sizes.renderer, frame.drive
    cast = rays.cast_rays(drive.camera, renderer.neural_resolution)
    limits = rays.ray_limits(drive.camera, renderer.near, renderer.far)
    draws = volume.even_draws(1, renderer.neural_resolution**2, renderer)
    coarse = samples.stratified(*limits, renderer.coarse_samples, draws.jitter)
    tensor = lambda x: torch.tensor(np.asarray(x))
    marched = renderer_twin.Rays(
        *(tensor(x[0]) for x in (cast.origins, cast.directions, coarse, draws.fine))
    )
    mouth = torch_twin.images(np.asarray(blend.fill_mouth(drive.raster[..., 2:])))
    scene = pipeline_twin.Scene(torch_twin.images(np.asarray(drive.raster)), mouth, [marched])
    images = (torch_twin.images(np.asarray(x)) for x in (frame.image, frame.uv_rgb))
    visible = torch_twin.images(np.asarray(frame.uv_visible))
    return pipeline_twin.Photo(*images, tensor(frame.uv_xy), visible, scene)


def our_calls(sizes: settings.Model, compute: str, out: pathlib.Path) -> dict[str, Call]:
    """What our side does when asked; see `against_torch`."""
    model = avatar.Model(sizes, random_weights(sizes), compute=compute)
    seen = prepare(model)
    made = model.reconstruct(seen)
    drive = lambda: model.draw(made, seen[0].frame.drive)
    calls = {"drive": drive, "image": lambda: np.save(out, np.asarray(drive())[0])}
    return calls | {f"aggregate {n}": lambda n=n: model.reconstruct(seen[:n]) for n in (1, FRAMES)}


def their_calls(sizes: settings.Model, out: pathlib.Path) -> dict[str, Call]:
    """The same with the same weights by PyTorch."""
    import torch

    weights = random_weights(sizes)
    model = avatar.Model(sizes, weights)
    twin = make_twin(model, weights)
    photos = [twin_photo(sizes, one.frame) for one in prepare(model)]
    average = torch.tensor(weights["buffers"]["generator"]["backbone"]["mapping"]["w_avg"])

    def call(function, *inputs):
        def run():
            with torch.inference_mode():
                return function(*inputs)

        return run

    made = call(twin.aggregate, photos, average)()
    drive = call(twin.drive, made, photos[0].scene)
    image = lambda: np.save(out, drive().clamp(-1, 1)[0].permute(1, 2, 0).numpy())
    return {"drive": drive, "image": image} | {
        f"aggregate {n}": call(twin.aggregate, photos[:n], average) for n in (1, FRAMES)
    }


def prepare(model: avatar.Model) -> list[frames.Prepared]:
    """The frames as networks read them."""
    geometry = frames.geometry(model.head, model.sizes)
    return [
        frames.Prepared(*frames.make_frame(geometry, one), one.identity)
        for one in observations(FRAMES)
    ]


def against_torch(args: argparse.Namespace, preset: str, allocator: str) -> Iterator[Rows]:
    """Driving and aggregating beside the peer, every side in a process of its own.

    Args:
        allocator: of measure.ENVIRONMENTS, for all sides.
    """
    environment = measure.allocator(allocator)
    with tempfile.TemporaryDirectory() as folder:
        paths = {side: pathlib.Path(folder) / f"{side}.npy" for side in SIDES}
        workers = {
            side: measure.Worker(
                MODULE,
                *("--serve", f"{side}:{preset}", "--image", str(path)),
                environment=environment,
            )
            for side, path in paths.items()
        }
        peak = {side: worker.ask("image")["rss_mib"] for side, worker in workers.items()}
        exact, narrow, theirs = (np.load(path) for path in paths.values())
        facts = {"largest_difference_from_torch": float(np.abs(exact - theirs).max())}
        everywhere = np.ones(exact.shape[:2], bool)
        facts["bfloat16_psnr_to_float32"] = psnr(narrow, exact, everywhere)
        for call in ("drive", "aggregate 1", f"aggregate {FRAMES}"):
            timings = measure.alternate(workers, call, args.rounds)
            for side in ("float32", "bfloat16"):
                pair = {"ours": timings[side], "torch float32": timings["torch"]}
                ending = "frames" if call.endswith(str(FRAMES)) else "frame"
                name = f"{preset}, {allocator}: {call} {ending}, {side}"
                yield measure.rows_of(name, pair, peak[side], preset=preset, **facts)
        for worker in workers.values():
            worker.close()


def small_film(args: argparse.Namespace) -> Rows:
    """Frames per second of a film of the bundled model, as `avatar animate` renders it."""
    model = avatar.load()
    made = model.finish(model.observe(None, observations(1)[0]))
    count = 4 if args.smoke else FILM
    moves = motion.around(len(model.head.expression_names), camera(), count)
    rows = []
    for name, shown in (("small: a film", model), ("small: a film, --fast", model.preview())):
        render = lambda shown=shown: list(film.film(shown, made, moves))
        one = measure.row(name, render, {}, rounds=args.rounds, frames=count)[0]
        one["frames_per_second"] = 1e3 * count / one["ours_ms"]
        one["at_once"] = film.frames_at_once(shown.sizes)
        rows.append(one)
    return rows


def at_once(args: argparse.Namespace) -> Rows:
    """Cost of one frame of the small model by how many one call draws."""
    model = avatar.load()
    made = model.finish(model.observe(None, observations(1)[0]))
    rows = []
    for count in (1, 2) if args.smoke else (1, 2, 4, 8):
        moves = motion.around(len(model.head.expression_names), camera(), count)
        drives = model.drives(made, moves.expression, moves.gaze_rad, moves.camera)
        draw = lambda drives=drives: model.draw(made, drives)
        name = f"small: {count} at once, per frame"
        one = measure.row(name, draw, {}, rounds=args.rounds, at_once=count)[0]
        rows.append({**one, "ours_ms": one["ours_ms"] / count})
    return rows


def devices(args: argparse.Namespace) -> Rows:
    """Eight frames of the small model spread over all devices of this process."""
    model = avatar.load()
    made = model.finish(model.observe(None, observations(1)[0]))
    moves = motion.around(len(model.head.expression_names), camera(), 8)
    drives = model.drives(made, moves.expression, moves.gaze_rad, moves.camera)
    mesh = jax.make_mesh((jax.device_count(),), ("data",), axis_types=(jax.sharding.AxisType.Auto,))
    # frames are independent, but the compiler, left alone, would exchange planes and rays
    draw = jax.jit(
        jax.shard_map(
            lambda weights, made, drives: avatar.make_steps(model.sizes).draw(
                weights, made, drives, None
            ),
            mesh=mesh,
            in_specs=(jax.P(), jax.P(), jax.P("data")),
            out_specs=jax.P("data"),
            check_vma=False,
        )
    )
    everywhere = jax.NamedSharding(mesh, jax.P())
    inputs = jax.device_put((model.weights, made), everywhere)
    drives = jax.device_put(drives, jax.NamedSharding(mesh, jax.P("data")))
    name = f"small: 8 frames on {jax.device_count()} devices"
    return measure.row(
        name,
        lambda: draw(*inputs, drives),
        {},
        rounds=args.rounds,
        devices=jax.device_count(),
    )


PARTS = {"film": small_film, "at_once": at_once, "devices": devices}


def in_child(args: argparse.Namespace, what: str, **environment: str) -> Rows:
    """Rows of one part, measured by a process of its own."""
    variables = {**os.environ, **environment}
    return measure.in_child(MODULE, args, f"--part={what}", environment=variables)["rows"]


def rows(args: argparse.Namespace) -> Iterator[Rows]:
    """All rows; with --part those of one part; with --serve none, but calls when asked."""
    if args.serve:
        side, _, preset = args.serve.partition(":")
        sizes = settings.preset("tiny_paper" if preset == "smoke" else preset)
        given = (sizes, args.image)
        calls = their_calls(*given) if side == "torch" else our_calls(sizes, side, args.image)
        measure.serve(calls)
        return
    if args.part:
        yield PARTS[args.part](args)
        return
    yield in_child(args, "film")
    yield in_child(args, "at_once")
    for count in (1, 2):
        flags = os.environ.get("XLA_FLAGS", "")
        flags += f" --xla_force_host_platform_device_count={count}"
        # two devices' programs wait for each other; on few cores they must not be queued
        one_by_one = {"JAX_CPU_ENABLE_ASYNC_DISPATCH": "false"}
        yield in_child(args, "devices", XLA_FLAGS=flags, **one_by_one)
    for allocator in measure.ENVIRONMENTS:
        yield from against_torch(args, "smoke" if args.smoke else "paper", allocator)


def add_options(parser: argparse.ArgumentParser) -> None:
    """What the processes that this one starts are told."""
    parser.add_argument("--part", help=argparse.SUPPRESS)
    parser.add_argument("--serve", help=argparse.SUPPRESS)
    parser.add_argument("--image", type=pathlib.Path, help=argparse.SUPPRESS)


if __name__ == "__main__":
    measure.main("Making and driving an avatar", rows, add_options)
