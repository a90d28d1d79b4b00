"""Reads shards of rendered identities and deals them out as training examples (grain)."""

import hashlib
import pathlib
from typing import NamedTuple

import cv2
import grain
import numpy as np

from invertavatar_jax.errors import UserError

PER_FRAME = ("image", "matte", "expression", "gaze_rad", "camera")
PER_IDENTITY = ("identity", "background")


class Picking(NamedTuple):
    """How an example is made of an identity's frames."""

    sources: int  # frames that the encoder sees, in order
    targets: int  # frames that are rendered and compared
    colour_jitter: float = 1.0  # strength of the shared change of colours
    tracking_noise: float = 1.0  # strength of the error added to the coefficients


class Shards:
    """All identities of a folder of shards, in memory; random access by number."""

    def __init__(self, folder: str | pathlib.Path, selection: slice = slice(None)):
        """Keeps the identities that `selection` picks of all in the folder, in order.

        Raises:
            UserError: if the folder holds no shard, or one that cannot be read.
        """
        paths = sorted(pathlib.Path(folder).glob("*.npz"))
        if not paths:
            raise UserError(
                f"{folder}: expected shards (*.npz) of rendered heads, found none: make them "
                "with `python -m tfds_builders.synthetic_heads --out FOLDER`"
            )
        parts = [self._read(path) for path in paths]
        self._arrays = {key: [part[key] for part in parts] for key in PER_FRAME + PER_IDENTITY}
        sizes = [len(part["identity"]) for part in parts]
        named = "".join(f"{path.name} {path.stat().st_size}\n" for path in paths)
        self.fingerprint = hashlib.sha256(named.encode()).hexdigest()
        self._index = [(s, i) for s, size in enumerate(sizes) for i in range(size)][selection]

    @staticmethod
    def _read(path: pathlib.Path) -> dict[str, np.ndarray]:
        try:
            with np.load(path, allow_pickle=False) as shard:
                return {key: shard[key] for key in PER_FRAME + PER_IDENTITY}
        except (OSError, KeyError, ValueError) as error:
            raise UserError(
                f"{path}: not a shard of rendered heads ({error}): delete it and make it again"
            ) from error

    def __len__(self) -> int:
        return len(self._index)

    def __getitem__(self, number: int) -> dict[str, np.ndarray]:
        shard, row = self._index[number]
        return {key: values[shard][row] for key, values in self._arrays.items()}


def _jitter_colours(images: np.ndarray, rng: np.random.Generator, strength: float) -> np.ndarray:
    """One random gamma, gain and saturation for all images (uint8) of an example."""
    gamma = np.exp(rng.normal() * 0.2 * strength)
    gain = np.exp(rng.normal(size=3) * 0.06 * strength + rng.normal() * 0.12 * strength)
    saturation = 1 + rng.normal() * 0.2 * strength
    curve = ((np.arange(256) / 255.0)[:, None] ** gamma * gain * 255).astype(np.float32)
    mix = np.float32(saturation) * np.eye(3, dtype=np.float32) + np.float32((1 - saturation) / 3)
    rows = images.reshape(-1, *images.shape[-2:])  # OpenCV's pictures have three axes
    changed = cv2.transform(cv2.LUT(rows, curve[None]), mix)
    return np.clip(changed, 0, 255).astype(np.uint8).reshape(images.shape)


def _perturb(example: dict, rng: np.random.Generator, strength: float) -> dict:
    """Adds what a tracker gets wrong: identity, expression, gaze and pose, in place."""
    noise = lambda shape, size: rng.normal(size=shape).astype(np.float32) * size * strength
    example["identity"] = example["identity"] + noise(example["identity"].shape, 0.25)
    for kind in ("source", "target"):
        expression = example[f"{kind}_expression"]
        moved = expression + noise(expression.shape, 0.05) * (rng.random(expression.shape) < 0.5)
        example[f"{kind}_expression"] = np.clip(moved, 0, 1).astype(np.float32)
        gaze = example[f"{kind}_gaze_rad"]
        example[f"{kind}_gaze_rad"] = gaze + noise(gaze.shape, 0.04)
        camera = example[f"{kind}_camera"].copy()
        camera[..., [3, 7]] += noise((*camera.shape[:-1], 2), 0.003)
        example[f"{kind}_camera"] = camera
    return example


def pick(identity: dict, rng: np.random.Generator, how: Picking) -> dict[str, np.ndarray]:
    """Draws sources and targets of one identity.

    Targets come from the frames that are no sources while there are enough of them. The
    colours of all pictures change together; coefficients get a tracker's noise.
    """
    count = len(identity["image"])
    order = rng.permutation(count)
    chosen = {
        "source": order[: how.sources],
        "target": order[np.arange(how.sources, how.sources + how.targets) % count],
    }
    example = {"identity": identity["identity"], "background": identity["background"]}
    for kind, frames in chosen.items():
        for key in PER_FRAME:
            example[f"{kind}_{key}"] = identity[key][frames]
    if how.colour_jitter:
        state = rng.integers(2**32)
        for key in ("source_image", "target_image", "background"):
            same = np.random.default_rng(state)
            example[key] = _jitter_colours(example[key], same, how.colour_jitter)
    return _perturb(example, rng, how.tracking_noise) if how.tracking_noise else example


def pipeline(source: Shards, how: Picking, batch: int, seed: int):
    """An endless, shuffled iterator of batches; its position can be saved and restored.

    Batches depend on `seed` and position only.
    """
    dataset = (
        grain.MapDataset.source(source)
        .seed(seed)
        .shuffle()
        .repeat()
        .random_map(lambda identity, rng: pick(identity, rng, how))
        .batch(batch, drop_remainder=True)
    )
    return iter(dataset.to_iter_dataset(grain.ReadOptions(num_threads=4, prefetch_buffer_size=8)))
