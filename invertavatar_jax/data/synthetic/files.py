"""Shards of clips on disk: one .npz file holds the clips of some people, uncompressed.

File heads_<first identity number, 6 digits>.npz. Arrays, n identities of t frames:
    image       uint8   [n, t, h, w, 3]  RGB, row 0 at the top
    matte       uint8   [n, t, h, w]     255 = person with clothes, soft at the edges
    head_matte  uint8   [n, t, h, w]     255 = skin or hair
    background  uint8   [n, h, w, 3]     the picture behind the person
    identity    float32 [n, k]           HeadModel.identity's coefficients
    expression  float32 [n, t, e]        in HeadModel.expression_names' order
    gaze_rad    float32 [n, t, 4]        left yaw, left pitch, right yaw, right pitch
    camera      float32 [n, t, 25]       types.Camera: world_from_camera, then intrinsics
    number      int64   [n]              identity numbers: with the seed they fix the clip
    seed        int64   []
"""

import os
import tempfile
import zipfile
from collections.abc import Iterable
from pathlib import Path

import numpy as np

from invertavatar_jax.data.synthetic.scene import Clip


def shard_path(folder: Path, first: int) -> Path:
    """Where the shard that starts with an identity number lies."""
    return folder / f"heads_{first:06d}.npz"


def write_shard(folder: Path, seed: int, numbers: Iterable[int], clips: list[Clip]) -> Path:
    """Writes one shard, whole or not at all."""
    folder.mkdir(parents=True, exist_ok=True)
    numbers = np.array(list(numbers), np.int64)
    arrays = {name: np.stack([getattr(c, name) for c in clips]) for name in Clip._fields}
    path = shard_path(folder, int(numbers[0]))
    with tempfile.NamedTemporaryFile(dir=folder, suffix=".part", delete=False) as file:
        np.savez(file, number=numbers, seed=np.int64(seed), **arrays)
    os.chmod(file.name, 0o644)  # temporary files are private
    os.replace(file.name, path)
    return path


def open_shard(path: Path) -> dict[str, np.ndarray]:
    """Maps a shard's arrays into memory: reading one frame touches that frame alone.

    Raises:
        ValueError: the file is no uncompressed shard.
    """
    arrays = {}
    with zipfile.ZipFile(path) as archive:
        for member in archive.infolist():
            if member.compress_type != zipfile.ZIP_STORED:
                raise ValueError(f"{path} is compressed; write shards with write_shard")
            with archive.open(member) as file:
                version = np.lib.format.read_magic(file)
                read = np.lib.format.read_array_header_1_0
                read = read if version == (1, 0) else np.lib.format.read_array_header_2_0
                shape, fortran, dtype = read(file)
                start = _data_start(path, member) + file.tell()
            order = "F" if fortran else "C"
            name = member.filename.removesuffix(".npy")
            arrays[name] = np.memmap(path, dtype, "r", start, shape or (1,), order)
    return arrays


def _data_start(path: Path, member: zipfile.ZipInfo) -> int:
    """The offset of a stored member's bytes: behind its own header, names and extra field."""
    with open(path, "rb") as file:
        file.seek(member.header_offset + 26)
        lengths = np.frombuffer(file.read(4), "<u2")
    return member.header_offset + 30 + int(lengths.sum())
