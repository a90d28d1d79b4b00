"""A person that costs nothing: a made-up track, and the tiny model with random weights."""

import jax
import numpy as np
import pytest

from invertavatar_jax import motion, networks, settings, weights
from invertavatar_jax.cli import main as command_line
from invertavatar_jax.export import tracks
from invertavatar_jax.fit import morphable
from invertavatar_jax.metrics import masks
from invertavatar_jax.types import Camera, FaceFit


def make_track(count: int, side: int = 48, seed: int = 0) -> FaceFit:
    """A head before a grey wall; the landmarks are a circle, the picture is coloured noise."""
    rng = np.random.default_rng(seed)
    head = morphable.load_head_model()
    pose = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    pose[2, 3] = 2.7
    focal = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], np.float32)
    yaw = np.linspace(-0.2, 0.2, count)
    landmarks = np.full((count, 478, 2), side / 2, np.float32)
    angle = np.linspace(0, 2 * np.pi, len(masks.FACE_OUTLINE), endpoint=False)
    circle = np.stack([np.sin(angle), -np.cos(angle)], -1) * side / 4 + side / 2
    landmarks[:, list(masks.FACE_OUTLINE)] = circle
    matte = np.zeros((count, side, side), np.uint8)
    matte[:, side // 6 :, side // 5 : -side // 5] = 255
    return FaceFit(
        identity=rng.normal(size=len(head.identity)).astype(np.float32) * 0.3,
        expression=rng.uniform(0, 0.3, (count, len(head.expression))).astype(np.float32),
        gaze_rad=np.zeros((count, 4), np.float32),
        camera=motion.orbit(Camera(pose, focal), yaw, np.zeros(count)),
        image=rng.integers(60, 200, (count, side, side, 3), dtype=np.uint8),
        matte=matte,
        landmarks_px=landmarks,
        source_from_crop=np.tile(np.eye(3, dtype=np.float32), (count, 1, 1)),
        has_face=np.ones(count, bool),
        frame_index=np.arange(count),
        frames_per_second=10.0,
    )


def make_weights(model: settings.Model, seed: int):
    """Random weights by NumPy: compiling the initialisers takes a minute."""
    rng = np.random.default_rng(seed)

    def draw(path, leaf):
        if path[-1].key == "running_var":
            return np.ones(leaf.shape, np.float32)
        return rng.normal(0, 0.2, leaf.shape).astype(np.float32)

    return jax.tree_util.tree_map_with_path(draw, networks.shapes(model))


@pytest.fixture(scope="session")
def person(tmp_path_factory):
    """A folder with track.npz (six frames), photo.npz (one) and tiny.safetensors."""
    # Every verb builds its own model: compiled programs are shared through files.
    if not jax.config.jax_compilation_cache_dir:
        jax.config.update("jax_compilation_cache_dir", str(tmp_path_factory.mktemp("compiled")))
    folder = tmp_path_factory.mktemp("person")
    tracks.write_track(folder / "track.npz", make_track(6))
    tracks.write_track(folder / "photo.npz", make_track(1, seed=1))
    model = settings.preset("tiny")
    for seed, name in enumerate(("tiny", "other")):
        made = make_weights(model, seed)
        weights.save(folder / f"{name}.safetensors", made, model, {"steps": 0})
    return folder


@pytest.fixture(scope="session")
def avatar_file(person, tmp_path_factory):
    """The avatar of the made-up track."""
    path = tmp_path_factory.mktemp("avatar") / "me.avatar"
    argv = ["reconstruct", person / "track.npz", "--out", path, "--frames", "3"]
    argv += ["--weights", person / "tiny.safetensors", "--device", "cpu"]
    assert command_line.main(list(map(str, argv))) == 0
    return path
