"""Which triangle each pixel sees: ours beside DEODR, OpenGL (llvmpipe) and a compiled loop.

./avatar setup requirements-bench.txt
./avatar python -m experiments.benchmarks.rasterizer --out results/rasterizer.json
"""

import argparse
import functools
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import measure, raster_meshes, raster_peers
from invertavatar_jax.rasterize import api

SIZE, VIEWS = 256, 3
TRIANGLES = (10_000, 18_000, 52_000)
SHAPES = ("height", "width", "capacity", "cull", "keys", "backend")
find_jit = jax.jit(api.find_triangles, static_argnames=SHAPES)


def ours(views: np.ndarray, faces: np.ndarray, size: int) -> tuple[Callable[[], np.ndarray], dict]:
    """Draws front triangles with a list as long as they need, and facts about that."""
    options: dict[str, Any] = {"height": size, "width": size, "cull": "clockwise"}
    needed = entries(views, faces, options)
    options["capacity"] = api.fit_capacity(needed)
    compiled = find_jit.lower(views, faces, **options).compile()
    facts = {"triangles": len(faces), "size": size, "views": len(views), "entries": needed}
    peak = {"peak_mib": measure.temporary_mib(compiled)}
    return lambda: np.asarray(find_jit(views, faces, **options)[0]), facts | peak


def entries(views: np.ndarray, faces: np.ndarray, options: dict[str, Any]) -> int:
    """The list length that is needed; XLA leaves out the drawing."""
    count = lambda *arrays: api.find_triangles(*arrays, capacity=1, **options)[1]
    return int(jax.jit(count)(views, faces))


def agreement(ids: np.ndarray, true: np.ndarray, close: np.ndarray) -> dict[str, float]:
    """Shares of pixels: same triangle where that is no tie, and covered where that is right."""
    return {
        "same_triangle": float((ids == true)[~close].mean()),
        "same_coverage": float(((ids >= 0) == (true >= 0)).mean()),
    }


def beside_peers(triangles: int, rounds: int) -> list[dict]:
    """Three views of the head: one row for each peer."""
    vertices, faces = raster_meshes.head(triangles)
    views = raster_meshes.views(vertices, VIEWS, SIZE)
    mine, facts = ours(views, faces, SIZE)
    opengl, driver = raster_peers.opengl(views, faces, SIZE)
    deodr = functools.partial(raster_peers.deodr, views, faces, SIZE)
    peers = {
        "DEODR": deodr(),
        "DEODR (no ids)": deodr(ids=False),
        f"OpenGL, {driver.split(' (')[0]}": opengl,
        "numba": raster_peers.compiled_loop(views, faces, SIZE),
    }
    true = raster_meshes.truth(views, faces, SIZE)
    name = f"{VIEWS} views {SIZE}, {len(faces)} triangles"
    rows = measure.row(name, mine, peers, rounds=rounds, **facts, **agreement(mine(), *true))
    for row, peer in zip(rows, peers, strict=True):
        if peer != "DEODR (no ids)":
            row["peer_agreement"] = agreement(peers[peer](), *true)
    return rows


def alone(triangles: int, size: int, number: int, rounds: int) -> list[dict]:
    """One row of ours."""
    vertices, faces = raster_meshes.head(triangles)
    views = raster_meshes.views(vertices, number, size)
    mine, facts = ours(views, faces, size)
    close = agreement(mine(), *raster_meshes.truth(views, faces, size))
    name = f"{number} views {size}, {len(faces)} triangles, alone"
    return measure.row(name, mine, {}, rounds=rounds, **facts, **close)


def holes(size: int, rounds: int) -> list[dict]:
    """Pixels that closed grids over the whole image leave open, in four kinds of grid."""
    grids = [raster_meshes.screen(size, count, count) for count in (5, 17, 60, 130)]
    draw = lambda grid: api.rasterize(*grid, size, size).triangle
    missed = sum(int((draw(grid) < 0).sum()) for grid in grids)
    mine = functools.partial(draw, grids[-1])
    facts = {"holes": missed, "pixels": 4 * size * size}
    return measure.row(f"closed grids {size}: {missed} holes", mine, {}, rounds=rounds, **facts)


def run(args: argparse.Namespace) -> Iterator[list[dict]]:
    """All rows."""
    for triangles in TRIANGLES[:1] if args.smoke else TRIANGLES:
        yield beside_peers(triangles, args.rounds)
    for triangles in () if args.smoke else (10_000, 26_000, 52_000, 104_000):
        yield alone(triangles, SIZE, 1, args.rounds)
    for size in (64,) if args.smoke else (128, 512, 1024):
        yield alone(18_000, size, 1, args.rounds)
    for number in () if args.smoke else (3, 8):
        yield alone(18_000, SIZE, number, args.rounds)
    yield holes(64 if args.smoke else 512, args.rounds)


if __name__ == "__main__":
    measure.main("Rasterizer: triangle numbers of several views", run)
