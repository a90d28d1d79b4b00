"""The rasterizer on an accelerator: the Pallas kernel beside the XLA list, and what both draw.

    python -m experiments.benchmarks.rasterizer_gpu --out results/rasterizer_gpu.json

Times are of calls that follow each other without waiting, so they hold no way to the device
and back. On a CPU the kernel runs interpreted, which says nothing about its speed.
"""

import argparse
import functools
import itertools
import time
from collections.abc import Callable, Iterator
from typing import Any

import jax
import numpy as np

from experiments.benchmarks import measure, raster_meshes
from experiments.benchmarks.rasterizer import agreement, entries
from invertavatar_jax.rasterize import api, pallas

CALLS = 30  # between two looks at the clock
KERNELS = ((16, 4), (32, 4), (32, 8), (64, 4), (64, 8))  # triangles at once, warps
LISTS = {"XLA list, u64": {"keys": "u64"}, "XLA list, 2xu32": {"keys": "2xu32"}}


class Side:
    """One way to draw some views: compiled, with inputs on the device."""

    def __init__(self, views: np.ndarray, faces: np.ndarray, size: int, **options: Any):
        options |= {"height": size, "width": size, "cull": "clockwise"}
        self.entries = entries(views, faces, options)
        options["capacity"] = api.fit_capacity(self.entries)
        # a function of its own, because a kernel's constants are no part of the cache's key
        find = lambda *arrays: api.find_triangles(*arrays, **options)
        self.inputs = jax.device_put((views, faces))
        begin = time.perf_counter()
        self.compiled = jax.jit(find).lower(*self.inputs).compile()
        self.compile_s = time.perf_counter() - begin

    def draw(self) -> jax.Array:
        """Triangle numbers, on the device."""
        return self.compiled(*self.inputs)[0]

    def facts(self, true: np.ndarray, close: np.ndarray) -> dict[str, Any]:
        """What it draws, and what it costs besides time."""
        return {
            **agreement(np.asarray(self.draw()), true, close),
            "entries": self.entries,
            "compile_s": self.compile_s,
            "peak_mib": measure.temporary_mib(self.compiled),
        }


def kernel_backend() -> str:
    """The kernel, in the form that the device runs."""
    return "pallas" if jax.default_backend() == "gpu" else "pallas_interpret"


def compare(triangles: int, size: int, number: int, rounds: int) -> list[dict]:
    """The kernel beside the list with either kind of keys."""
    vertices, faces = raster_meshes.head(triangles)
    views = raster_meshes.views(vertices, number, size)
    true = raster_meshes.truth(views, faces, size)
    side = functools.partial(Side, views, faces, size)
    kernel = side(backend=kernel_backend())
    lists = {name: side(backend="xla", **options) for name, options in LISTS.items()}
    name = f"{number} views {size}, {len(faces)} triangles"
    facts = {"triangles": len(faces), "size": size, "views": number, **kernel.facts(*true)}
    rows = _rows(name, kernel, lists, rounds, facts)
    for row, other in zip(rows, lists.values(), strict=True):
        row["peer_facts"] = other.facts(*true)
        same = np.asarray(kernel.draw()) == np.asarray(other.draw())
        row["pixels_that_differ"] = int((~same).sum())
    return rows


def sizes_of_kernels(triangles: int, size: int, number: int, rounds: int) -> Iterator[list[dict]]:
    """The kernel with other numbers of triangles at once and of warps."""
    vertices, faces = raster_meshes.head(triangles)
    views = raster_meshes.views(vertices, number, size)
    usual = pallas.BATCH, pallas.WARPS
    for pallas.BATCH, pallas.WARPS in KERNELS:
        kernel = Side(views, faces, size, backend=kernel_backend())
        name = f"{number} views {size}, {len(faces)} triangles, {pallas.BATCH} x {pallas.WARPS}"
        yield _rows(name, kernel, {}, rounds, {"peak_mib": None})
    pallas.BATCH, pallas.WARPS = usual


def _rows(name: str, kernel: Side, peers: dict[str, Side], rounds: int, facts: dict) -> list[dict]:
    calls = CALLS if jax.default_backend() == "gpu" else 1
    many = lambda side: functools.partial(_draw_often, side.draw, calls)
    sides = {peer: many(side) for peer, side in peers.items()}
    rows = measure.row(name, many(kernel), sides, rounds=rounds, **facts)
    for row in rows:  # from many calls to one
        for key in ("ours_ms", "peer_ms"):
            row[key] = row[key] and row[key] / calls
        for key in ("ours", "peer_timing"):
            if key in row:
                row[key] = {part: value / calls for part, value in row[key].items()}
    return rows


def _draw_often(draw: Callable[[], jax.Array], calls: int) -> list[jax.Array]:
    return [draw() for _ in range(calls)]


def run(args: argparse.Namespace) -> Iterator[list[dict]]:
    """All rows."""
    if args.smoke:
        yield compare(10_000, 64, 2, args.rounds)
        return
    for triangles in (10_000, 52_000):
        for size, number in itertools.product((256, 512), (1, 3, 8)):
            yield compare(triangles, size, number, args.rounds)
    for triangles in (10_000, 52_000):
        yield from sizes_of_kernels(triangles, 256, 3, args.rounds)


if __name__ == "__main__":
    measure.main("Rasterizer on an accelerator: Pallas kernel and XLA list", run)
