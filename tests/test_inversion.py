"""One-shot and released folding of frames, at the smallest size."""

import dataclasses
import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import inversion, networks, settings
from invertavatar_jax.generator import Features
from invertavatar_jax.types import Camera, Drive, Frame
from tests.encode.weights import draw

FEW_SHOT = settings.preset("tiny")
DECODER = dataclasses.replace(
    FEW_SHOT.texture_decoder, vit_depths=(1, 2, 1, 1), vit_channels=16, vit_heads=2
)
ONE_SHOT = dataclasses.replace(
    FEW_SHOT,
    texture_decoder=DECODER,
    triplane_decoder=DECODER,
    one_shot=True,
    departures=settings.Departures(),
    renderer=dataclasses.replace(FEW_SHOT.renderer, superresolution_fold=0),
)


@pytest.mark.parametrize(
    ("count", "chunks"),
    [
        (1, [[0, 0, 0, 0]]),
        (2, [[0, 1, 0, 1]]),
        (3, [[0, 1, 2, 0]]),
        (4, [[0, 1, 2, 3]]),
        (5, [[0, 2, 4, 1], [1, 3, 0, 2]]),
        (12, [[0, 3, 6, 9], [1, 4, 7, 10], [2, 5, 8, 11]]),
    ],
)
def test_frames_are_ordered_as_released(count, chunks):
    assert inversion.released_chunks(count).tolist() == chunks


def test_sequential_chunks_follow_the_clip():
    assert inversion.released_chunks(6, sequential=True).tolist() == [[0, 1, 2, 3], [4, 5, 0, 1]]


def test_no_frames_are_refused():
    with pytest.raises(ValueError, match="at least one"):
        inversion.released_chunks(0)


def test_a_posed_texture_reads_the_picture_in_place_of_the_uv_map():
    posed = dataclasses.replace(FEW_SHOT, posed_texture=True)
    side = FEW_SHOT.renderer.image_resolution
    image, matte = np.full((1, side, side, 3), 0.5, "f4"), np.full((1, side, side, 1), 0.25, "f4")
    frame = Frame(
        image=image, matte=matte, **dict.fromkeys(set(Frame._fields) - {"image", "matte"})
    )
    found = inversion.texture_input(posed, frame, jnp.asarray(image - 1))
    np.testing.assert_array_equal(found[0, 0, 0], [0.5] * 3 + [-0.5] * 3 + [0.25])


@pytest.fixture(scope="module")
def nets():
    return networks.build(ONE_SHOT)


@pytest.fixture(scope="module")
def weights():
    return draw(functools.partial(networks.init, ONE_SHOT))


@pytest.fixture(scope="module")
def frame():
    rng = np.random.default_rng(0)
    some = lambda *shape: jnp.asarray(rng.uniform(-1, 1, (1, *shape)), jnp.float32)
    pose = jnp.diag(jnp.array([1.0, -1.0, -1.0, 1.0])).at[2, 3].set(2.7)
    intrinsics = jnp.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]])
    raster = jnp.concatenate([some(20, 20, 2), jnp.ones((1, 20, 20, 1))], -1)
    return Frame(
        image=some(32, 32, 3),
        matte=jnp.ones((1, 32, 32, 1)),
        uv_rgb=some(32, 32, 3),
        uv_xy=some(32, 32, 2),
        uv_visible=jnp.ones((1, 32, 32, 1)),
        drive=Drive(Camera(pose[None], intrinsics[None]), raster),
    )


@pytest.fixture(scope="module")
def memory(nets, weights, frame):
    @jax.jit
    def invert(weights, frame):
        memory = inversion.start(nets, weights, ONE_SHOT, frame)
        chunk = jax.tree.map(lambda x: x[None], frame)
        return inversion.fold_chunk(nets, weights, ONE_SHOT, memory, chunk)

    return invert(weights, frame)


def test_one_shot_inversion_modulates_the_triplanes_alone(nets, weights, memory):
    maps = jax.jit(lambda w, m: inversion.finish(nets, w, ONE_SHOT, m))(weights, memory)
    same = [
        np.array_equal(ours, coarse)
        for ours, coarse in zip(maps.static, memory.coarse.static, strict=True)
    ]
    assert same == [True] * 5 + [False]
    changed = zip(maps.textures[:4], memory.coarse.textures[:4], strict=True)
    assert not any(np.array_equal(ours, coarse) for ours, coarse in changed)


def test_a_one_shot_model_keeps_no_state(memory):
    assert memory.refinement.texture_state == memory.refinement.triplane_state == ()


def test_a_one_shot_model_refuses_a_second_frame(nets, weights, memory, frame):
    fold = lambda memory, frames: inversion.fold_chunk(nets, weights, ONE_SHOT, memory, frames)
    one, two = (jax.tree.map(lambda x, n=n: jnp.stack([x] * n), frame) for n in (1, 2))
    for before, frames in ((memory, one), (memory._replace(refinement=None), two)):
        with pytest.raises(ValueError, match="exactly one frame"):
            jax.eval_shape(fold, before, frames)


def test_a_key_jitters_the_residual_and_none_does_not(nets, weights, memory, frame):
    see = jax.jit(
        lambda key: inversion.render_coarse(nets, weights, ONE_SHOT, memory, frame, key=key).raw
    )
    np.testing.assert_array_equal(see(None), see(None))
    one, other = see(jax.random.key(0)), see(jax.random.key(1))
    np.testing.assert_array_equal(one, see(jax.random.key(0)))
    assert np.abs(one - other).max() > 1e-4
    assert np.abs(one - see(None)).max() > 1e-4


def test_rays_of_a_chunk_start_about_the_mean_distance_of_its_cameras(frame):
    chunk = jax.tree.map(lambda x: jnp.stack([x, x]), frame)
    pose = chunk.drive.camera.world_from_camera.at[1, 0, 2, 3].set(3.3)
    drive = chunk.drive._replace(camera=chunk.drive.camera._replace(world_from_camera=pose))
    start, end = inversion.chunk_limits(ONE_SHOT, chunk._replace(drive=drive))
    settings_of = ONE_SHOT.renderer
    np.testing.assert_allclose(start, 3.0 + settings_of.near, rtol=1e-6)
    np.testing.assert_allclose(end, 3.0 + settings_of.far, rtol=1e-6)


def clip_of(frame, count):
    """Frames that differ, leading axes t, b."""
    return jax.tree.map(lambda x: jnp.stack([x * (1 - i / 8) for i in range(count)]), frame)


@pytest.mark.parametrize(("count", "windows"), [(2, 1), (5, 2), (8, 2)])
def test_windows_are_averaged_with_the_first_frame_s_latent_code(monkeypatch, count, windows):
    """With stand-ins whose features are the mean image of a window, and the code."""
    frames = Frame(jnp.arange(count * 3.0).reshape(count, 1, 3), *[None] * 5)
    begin = lambda nets, weights, model, frame: inversion.Memory(
        frame.image, Features([jnp.zeros((1, 3))], [jnp.zeros((1, 3))]), None, None
    )
    fold = lambda nets, weights, model, memory, some: memory._replace(refinement=some.image)
    end = lambda nets, weights, model, memory: Features(
        [memory.refinement.mean(0)], [memory.w_plus]
    )
    for name, stand_in in (("start", begin), ("fold_chunk", fold), ("finish", end)):
        monkeypatch.setattr(inversion, name, stand_in)
    memory, mean = inversion.reconstruct_windows(None, None, FEW_SHOT, frames, 4)
    parts = [frames.image[i : i + 4].mean(0) for i in range(0, count, 4)]
    assert len(parts) == windows
    np.testing.assert_allclose(mean.textures[0], sum(parts) / windows, rtol=1e-6)
    np.testing.assert_allclose(mean.static[0], frames.image[0], rtol=1e-6)
    assert memory.refinement is None


def test_a_model_with_a_fixed_window_reconstructs_clips_of_any_length(frame):
    model = settings.preset("tiny_paper_conv_fusion")
    assert networks.window(model) == 4 and networks.window(ONE_SHOT) is None
    nets, shapes = networks.build(model), networks.shapes(model)
    maps = lambda weights, frames: inversion.reconstruct(nets, weights, model, frames)[1]
    clip = jax.eval_shape(lambda: clip_of(frame, 5))
    found = jax.eval_shape(maps, shapes, clip)
    assert [x.shape[1] for x in found.textures] == [4, 4, 8, 16, 32, 32]


def test_windows_of_no_frames_are_refused(frame):
    with pytest.raises(ValueError, match="windows of 0 frames"):
        inversion.reconstruct_windows(None, None, ONE_SHOT, clip_of(frame, 1), 0)


@pytest.mark.slow
def test_one_shot_features_are_averaged_over_windows_of_one_frame(nets, weights, frame):
    clip = clip_of(frame, 2)
    _, got = jax.jit(lambda w, f: inversion.reconstruct_windows(nets, w, ONE_SHOT, f, 1))(
        weights, clip
    )

    @jax.jit
    def alone(weights, first, some):
        memory = inversion.start(nets, weights, ONE_SHOT, first)
        memory = inversion.fold_chunk(nets, weights, ONE_SHOT, memory, some)
        return inversion.finish(nets, weights, ONE_SHOT, memory)

    parts = [alone(weights, frame, jax.tree.map(lambda x, i=i: x[i : i + 1], clip)) for i in (0, 1)]
    expected = jax.tree.map(lambda a, b: (a + b) / 2, *parts)
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-4)
    assert not np.allclose(parts[0].textures[0], parts[1].textures[0], atol=1e-3)
