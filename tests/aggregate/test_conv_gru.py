import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from invertavatar_jax.aggregate import conv_gru, fold
from invertavatar_jax.pure import pure

CHANNELS = 4


@pytest.fixture(scope="module")
def scene():
    """Gates, five frames and a memory."""
    keys = jax.random.split(jax.random.key(0), 3)
    frames = jax.random.normal(keys[0], (5, 2, 6, 5, CHANNELS))
    memory = jax.random.normal(keys[1], frames.shape[1:])
    init = jax.jit(pure(conv_gru.ConvGRU()).init)
    return init(keys[2], frames, memory)["params"], frames, memory


def slow_convolution(x, gate):
    """A loop over taps, float64."""
    h, w = x.shape[1:3]
    weight, bias = (np.asarray(gate[leaf], np.float64) for leaf in ("weight", "bias"))
    padded = np.pad(x, ((0, 0), (1, 1), (1, 1), (0, 0)))
    taps = [padded[:, i : i + h, j : j + w] @ weight[i, j] for i in range(3) for j in range(3)]
    return sum(taps) + bias


def test_one_update_equals_a_loop_in_float64(scene):
    gates, frames, memory = scene
    gates = jax.tree.map(lambda leaf: leaf + 0.1, gates)
    sigmoid = lambda x: 1 / (1 + np.exp(-x))
    frame, before = (np.asarray(x, np.float64) for x in (frames[0], memory))
    both = sigmoid(slow_convolution(np.concatenate([frame, before], -1), gates["ih_0"]))
    reset, renew = both[..., :CHANNELS], both[..., CHANNELS:]
    inputs = np.concatenate([frame, reset * before], -1)
    expected = (1 - renew) * before + renew * np.tanh(slow_convolution(inputs, gates["hh_0"]))
    got = conv_gru.update(gates, memory, frames[0])
    np.testing.assert_allclose(got, expected, rtol=1e-5, atol=1e-6)


@pytest.mark.parametrize("split", [1, 2, 4])
def test_aggregating_in_two_calls_equals_one(scene, split):
    gates, frames, memory = scene
    once = conv_gru.aggregate(gates, frames, memory)
    partial = conv_gru.aggregate(gates, frames[:split], memory)
    twice = conv_gru.aggregate(gates, frames[split:], partial)
    np.testing.assert_allclose(once, twice, rtol=1e-6, atol=1e-6)


def test_the_first_memory_is_zero(scene):
    gates, frames, memory = scene
    gru = pure(conv_gru.ConvGRU())
    expected = conv_gru.aggregate(gates, frames, jnp.zeros_like(memory))
    np.testing.assert_array_equal(gru.apply({"params": gates}, frames, None), expected)


@pytest.mark.parametrize("remat", [False, True])
def test_the_gradient_through_the_scan_equals_that_of_a_python_loop(scene, remat):
    def unrolled(gates, frames, memory):
        for frame in frames:
            memory = conv_gru.update(gates, memory, frame)
        return (memory**2).sum()

    def scanned(gates, frames, memory):
        return (conv_gru.aggregate(gates, frames, memory, remat=remat) ** 2).sum()

    got, expected = (jax.jit(jax.grad(f, (0, 1, 2)))(*scene) for f in (scanned, unrolled))
    for ours, theirs in zip(jax.tree.leaves(got), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(ours, theirs, rtol=1e-4, atol=1e-5)


def test_program_and_scratch_memory_do_not_grow_with_the_number_of_frames(scene):
    gates, _, memory = scene

    def compiled(t):
        many = jax.ShapeDtypeStruct((t, *memory.shape), memory.dtype)
        return jax.jit(conv_gru.aggregate).lower(gates, many, memory).compile()

    few, many = compiled(fold.SEGMENTED_FROM), compiled(1024)
    assert len(many.as_text()) < 1.05 * len(few.as_text())
    scratch = lambda program: program.memory_analysis().temp_size_in_bytes
    assert scratch(many) <= scratch(few)


def test_remat_saves_less_for_the_backward_pass_and_segments_still_less(scene):
    gates, _, memory = scene
    many = jax.ShapeDtypeStruct((256, *memory.shape), memory.dtype)

    def scratch(**options):
        loss = lambda *inputs: conv_gru.aggregate(*inputs, **options).sum()
        program = jax.jit(jax.grad(loss)).lower(gates, many, memory).compile()
        return program.memory_analysis().temp_size_in_bytes

    plain, steps, segments = scratch(remat=False), scratch(segment=256), scratch()
    assert steps < 0.5 * plain
    assert segments < 0.5 * steps
    assert segments < 0.1 * plain


@settings(max_examples=20, deadline=None)
@given(scale=st.floats(0, 1e4), start=st.floats(-3, 3))
def test_the_memory_stays_between_its_start_and_one(scene, scale, start):
    gates, frames, memory = scene
    begun = jnp.full_like(memory, start)
    ended = jax.jit(conv_gru.aggregate)(gates, scale * frames, begun)
    assert float(jnp.abs(ended).max()) <= max(abs(start), 1.0) + 1e-6


def test_the_gradient_is_finite_where_the_gates_saturate(scene):
    gates, frames, memory = scene
    loss = lambda *inputs: conv_gru.aggregate(*inputs).sum()
    for grad in jax.tree.leaves(jax.grad(loss, (0, 1, 2))(gates, 1e6 * frames, memory)):
        assert np.isfinite(grad).all()
