"""Exported steps, read back from their files, do what the jitted ones do."""

import jax
import numpy as np
import pytest

from invertavatar_jax import avatar, networks, settings, weights
from invertavatar_jax.compile import abstract
from invertavatar_jax.errors import UserError
from invertavatar_jax.export import programs
from invertavatar_jax.types import Camera

SIZES = settings.preset("tiny")


def filled(tree, seed: int):
    rng = np.random.default_rng(seed)
    return jax.tree.map(lambda x: rng.uniform(0, 0.3, x.shape).astype(np.float32), tree)


def a_camera(*lead: int) -> Camera:
    pose = np.diag([1.0, -1.0, -1.0, 1.0]).astype(np.float32)
    pose[2, 3] = 2.7
    focal = np.array([[4.2647, 0, 0.5], [0, 4.2647, 0.5], [0, 0, 1]], np.float32)
    return Camera(np.tile(pose, (*lead, 1, 1)), np.tile(focal, (*lead, 1, 1)))


@pytest.fixture(scope="module")
def scene():
    """Steps, weights, a memory, and shapes of them."""
    steps, shapes = avatar.make_steps(SIZES), networks.shapes(SIZES)
    kept = abstract.memory(steps, shapes, SIZES, 1)
    return steps, filled(shapes, 0), filled(kept, 1), abstract.avatar(steps, shapes, SIZES, kept)


def there_and_back(name: str, folder):
    """A step, exported for all platforms, written and read."""
    exported = programs.export_steps(SIZES, which=(name,))
    (path,) = programs.write(folder, exported)
    return programs.read(path)


def call(program, *trees):
    return program.call(*map(programs.flatten, trees))


def test_the_exported_finish_equals_the_jitted(scene, tmp_path):
    steps, arrays, memory, _ = scene
    program = there_and_back("finish", tmp_path)
    assert program.platforms == ("cpu", "cuda", "tpu")
    given = call(program, arrays, memory)
    expected = programs.flatten(steps.finish(arrays, memory))
    assert given.keys() == expected.keys() and len(given) == 12
    for name in given:
        np.testing.assert_array_equal(given[name], expected[name], err_msg=name)


@pytest.mark.slow
def test_the_exported_draw_takes_any_number_of_drives(scene, tmp_path):
    steps, arrays, _, made = scene
    program, made = there_and_back("draw", tmp_path), filled(made, 2)
    for count in (1, 3):
        drives = filled(abstract.drive(SIZES, (count,)), 3)._replace(camera=a_camera(count))
        images = np.asarray(call(program, arrays, made, drives)["image"])
        for i in range(count):
            one = jax.tree.map(lambda x, i=i: x[i : i + 1], drives)
            expected = np.asarray(steps.draw(arrays, made, one, None)[0])
            # other sums: the products of several frames are one
            np.testing.assert_allclose(images[i], expected, atol=2e-6 * np.abs(expected).max())


@pytest.mark.slow
def test_the_exported_fold_takes_any_number_of_frames(scene, tmp_path):
    steps, arrays, memory, _ = scene
    program = there_and_back("fold", tmp_path)
    for count in (1, 3):
        frames = filled(abstract.frame(SIZES, (count, 1)), 4)
        frames = frames._replace(drive=frames.drive._replace(camera=a_camera(count, 1)))
        given = call(program, arrays, memory, frames)
        kept = jax.tree.map(jax.numpy.asarray, memory)
        for i in range(count):
            one = jax.tree.map(lambda x, i=i: x[i], frames)
            kept = steps.fold(arrays, kept, [one], None)
        expected = programs.flatten(kept)
        assert given.keys() == expected.keys()
        for name in given:
            scale = np.abs(expected[name]).max()
            np.testing.assert_allclose(given[name], expected[name], atol=1e-6 * scale, err_msg=name)


def test_arrays_have_the_names_of_the_weights_file(scene):
    names = programs.flatten(scene[1])
    assert names.keys() == weights._names(scene[1]).keys()
    assert names["buffers.generator.backbone.mapping.w_avg"].shape == (SIZES.w_dim,)


def test_a_one_shot_model_has_no_fold():
    assert "fold" not in programs.names(settings.preset("paper_oneshot"))


def test_a_file_that_is_no_program_is_told(tmp_path):
    path = tmp_path / "draw.jaxexport"
    with pytest.raises(UserError, match="there is no such file"):
        programs.read(path)
    path.write_bytes(b"no program")
    with pytest.raises(UserError, match="is no exported program"):
        programs.read(path)
