"""Reads golden cases: weights and inputs by rule, expected outputs, and the comparison."""

import hashlib
import json
import os
import pathlib
from typing import Any

import jax
import numpy as np
import pytest

from invertavatar_jax.convert.names import import_weights, path_of, to_released

FOLDER = os.environ.get("INVERTAVATAR_GOLDEN")
REASON = "INVERTAVATAR_GOLDEN is not set: it names the folder of golden cases"

RECORDS: list[dict[str, Any]] = []  # of the test that runs: tests/conftest.py collects them


def _draw(name: str, shape, salt: str, kind: str = "normal") -> np.ndarray:
    digest = hashlib.sha256((salt + name).encode()).digest()
    generator = np.random.Generator(np.random.PCG64(int.from_bytes(digest[:8], "little")))
    draw = generator.standard_normal if kind == "normal" else generator.random
    return np.asarray(draw(tuple(shape), dtype=np.float32), np.float32)


def _weight(name: str, shape, rule: str, salt: str) -> np.ndarray | None:
    """The rules of GOLDEN.md."""
    if rule == "keep":
        return None
    n = _draw(name, shape, salt)
    if rule == "n/sqrt(fan_in)":
        n /= np.float32(np.sqrt(np.prod(shape[1:])))  # in place: networks have 10^8 of them
        return n
    if rule.startswith("0.1n/"):
        return np.float32(0.1) * n / np.float32(rule[5:])
    if rule.startswith("n/"):
        return n / np.float32(rule[2:])
    f = np.float32
    fixed = {
        "n": lambda: n,
        "0.1n": lambda: f(0.1) * n,
        "1+0.1n": lambda: f(1) + f(0.1) * n,
        "0.25+0.05n": lambda: f(0.25) + f(0.05) * n,
        "|n|+0.5": lambda: np.abs(n) + f(0.5),
    }
    return fixed[rule]()


def _uv_maps(case: str, count: int, salt: str) -> np.ndarray:
    """UV textures, projected coordinates and masks (n, 6, 256, 256) of the golden cases."""
    rows, columns = np.mgrid[:256, :256].astype(np.float32)
    maps = []
    for i in range(count):
        u = _draw(f"input:{case}:uvmap{i}", (6,), salt, "uniform")
        inside = ((rows - 128) / (96 + 16 * u[0])) ** 2 + ((columns - 128) / (88 + 16 * u[1])) ** 2
        mask = (inside < 1).astype(np.float32)
        x = ((columns - 128) / 256 * (0.9 + 0.3 * u[2]) + 0.1 * (u[3] - 0.5)).astype(np.float32)
        y = ((rows - 128) / 256 * (0.9 + 0.3 * u[4]) + 0.1 * (u[5] - 0.5)).astype(np.float32)
        texture = _draw(f"input:{case}:uvtex{i}", (3, 256, 256), salt, "uniform") * 2 - 1
        parts = [texture * mask + (1 - mask), (x * mask)[None], (y * mask)[None], mask[None]]
        maps.append(np.concatenate(parts))
    return np.stack(maps).astype(np.float32)


class Case:
    """One golden case. Arrays are in the released layout (NCHW); `nhwc` turns them."""

    def __init__(self, name: str):
        if FOLDER is None:
            pytest.skip(REASON)
        self.arrays = np.load(pathlib.Path(FOLDER) / f"{name}.npz")
        self.meta = json.loads(bytes(self.arrays["config_json"]))
        self.config: dict[str, Any] = self.meta["config"]
        self.name, self.salt = self.meta["case"], self.meta.get("salt", "")
        self.compared: set[str] = set()

    def input(self, name: str) -> np.ndarray:
        """The input called `name`, drawn by its rule or as stored."""
        entry = self.meta["inputs"][name]
        if entry.get("rule") in ("normal", "uniform"):
            draw = _draw(entry["seed_name"], entry["shape"], self.salt, entry["rule"])
            return np.float32(entry["offset"]) + np.float32(entry["scale"]) * draw
        if name == "uv" and f"in.{name}" not in self.arrays:
            return _uv_maps(self.name, entry["shape"][0], self.salt)
        return self.arrays[f"in.{name}"]

    def named(self, prefix: str | None = None) -> dict[str, np.ndarray]:
        """Weights drawn by rule, with `prefix` (default: the case's own) cut off."""
        prefix = self.config.get("prefix", "") if prefix is None else prefix
        drawn = {}
        for name, shape, _, rule in self.meta["params"]:
            if name.startswith(prefix):
                array = _weight(name, shape, rule, self.salt)
                if array is not None:
                    drawn[name[len(prefix) :]] = array
        return drawn

    def weights(self, init, *inputs, prefix: str | None = None):
        """Our weights for the network whose `init` is given, filled from the case."""
        template = jax.eval_shape(init, jax.random.key(0), *inputs)
        # on the device, or every call would turn and copy them again
        return jax.device_put(import_weights(template, self.named(prefix)))

    def check(self, name: str, got, tolerance: float = 1e-4, *, floor: float | None = 1e-5) -> None:
        """Compares an output in the released layout: max|error| <= tolerance*std + floor.

        Also the mean over the last two axes, where it is stored, so that the part that a
        subsample leaves out cannot be wrong.

        Args:
            floor: None, for outputs that are themselves small, bounds the error by
                tolerance*std alone; by tolerance*|value| where the output is one number.
        """
        got = np.asarray(got, np.float32)
        entry = self.meta["outputs"][name]
        if floor is None:
            bound = tolerance * (entry["std"] or entry["absmax"])
        else:
            bound = tolerance * entry["std"] + floor
        self.record(name, np.abs(self._difference(name, got)).max(), bound)
        if f"out.{name}.mean_hw" in self.arrays:
            mean = got.mean((-2, -1), dtype=np.float64)  # a constant image's sum drifts in float32
            expected = self.arrays[f"out.{name}.mean_hw"].reshape(mean.shape)
            self.record(name, np.abs(mean - expected).max(), bound, "max error of mean_hw")

    def check_gradient(self, name: str, tree, released: str, tolerance: float = 1e-4) -> None:
        """Compares the gradient by the weight of a released name, with no floor.

        Args:
            tree: our gradients by all weights.
        """
        for key in path_of(released):
            tree = tree[key]
        got = to_released(np.asarray(tree), released.split(".")[-1])
        shape = self.meta["outputs"][name]["shape"]
        self.check(name, got.reshape(shape), tolerance, floor=None)

    def check_image(self, name: str, got) -> None:
        """As check, for outputs behind a sort: mean error <= 1e-4 std, 99.9 % <= 1e-2 std."""
        error = np.abs(self._difference(name, np.asarray(got, np.float32)))
        std = self.meta["outputs"][name]["std"]
        self.record(name, error.mean(), 1e-4 * std, "mean error")
        self.record(name, np.quantile(error, 0.999), 1e-2 * std, "99.9 % of errors")

    def _difference(self, name: str, got: np.ndarray) -> np.ndarray:
        """Of the values that the case stores."""
        entry = self.meta["outputs"][name]
        assert list(got.shape) == entry["shape"], (name, got.shape, entry["shape"])
        step = entry.get("step")
        compared = got.reshape(-1)[::step] if step else got
        return compared - self.arrays[f"out.{name}"].reshape(compared.shape)

    def record(self, name: str, error: float, bound: float, measure: str = "max error") -> None:
        """Fails where the error of an output is above its bound; notes both for the report."""
        row = {"case": self.name, "output": name, "measure": measure}
        RECORDS.append(row | {"error": float(error), "tolerance": float(bound)})
        self.compared.add(name)
        assert error <= bound, f"{self.name}.{name}: {measure} {error:.2e} > {bound:.2e}"

    def done(self) -> None:
        """Fails if an output of the case was not compared."""
        missing = set(self.meta["outputs"]) - self.compared
        assert not missing, f"{self.name}: outputs not compared: {sorted(missing)}"


def nhwc(array: np.ndarray) -> np.ndarray:
    """(..., c, h, w) -> (..., h, w, c)."""
    return np.moveaxis(np.asarray(array), -3, -1)


def nchw(array) -> np.ndarray:
    """(..., h, w, c) -> (..., c, h, w)."""
    return np.moveaxis(np.asarray(array), -1, -3)
