"""What every aggregator promises, and what each of them computes, against loops in float64."""

import functools

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from invertavatar_jax import settings
from invertavatar_jax.aggregate import diagonal, linear, registry
from invertavatar_jax.aggregate.attention import AttentionWindow
from invertavatar_jax.aggregate.diagonal import Diagonal
from invertavatar_jax.aggregate.min_conv_gru import MinConvGRU
from tests.aggregate.test_conv_gru import slow_convolution
from tests.encode.weights import draw

FIXED = ("conv_fusion", "att_fusion")
STREAMING = {name: make for name, make in registry.AGGREGATORS.items() if name not in FIXED}
STREAMING["window"] = functools.partial(AttentionWindow, span=3)  # shorter than the clip
PARALLEL = {"min_conv_gru": MinConvGRU, "diagonal": Diagonal}
CHANNELS, COUNT = 4, 5
FRAMES = np.random.default_rng(0).standard_normal((COUNT, 2, 4, 3, CHANNELS), np.float32)


def drawn(make, frames=FRAMES):
    """Weights, and the aggregator as a function `weights, frames, memory`."""
    module = make()
    weights = draw(functools.partial(module.init, method="fold"), frames[:1], None)
    return weights, functools.partial(module.apply, method="fold")


def one_by_one(fold, weights, frames):
    memory = None
    for frame in frames:
        features, memory = fold(weights, frame[None], memory)
    return features, memory


def apart(left, right):
    pairs = zip(jax.tree.leaves(left), jax.tree.leaves(right), strict=True)
    return max(float(np.abs(np.asarray(a) - np.asarray(b)).max()) for a, b in pairs)


def test_settings_name_the_modules_of_the_registry():
    assert settings.AGGREGATORS == tuple(registry.AGGREGATORS)
    windows = {name: registry.window_of(name) for name in FIXED}
    assert windows == {"conv_fusion": 4, "att_fusion": 3}
    assert all(registry.window_of(name) is None for name in STREAMING)


@pytest.mark.parametrize("name", STREAMING)
def test_frames_one_by_one_in_two_chunks_or_at_once_give_the_same(name):
    """And so do their gradients; a memory of zeros is none."""
    weights, fold = drawn(STREAMING[name])

    def at_once(weights, frames):
        return fold(weights, frames, None)

    def in_chunks(weights, frames):
        return fold(weights, frames[2:], fold(weights, frames[:2], None)[1])

    def from_zeros(weights, frames):
        memory = jax.eval_shape(at_once, weights, frames)[1]
        return fold(weights, frames, jax.tree.map(lambda x: jnp.zeros(x.shape, x.dtype), memory))

    def all_ways(weights, frames):
        def loss(run, *inputs):
            result = run(*inputs)
            return sum((leaf**2).sum() for leaf in jax.tree.leaves(result)), result

        loop = functools.partial(one_by_one, fold)
        return [
            jax.value_and_grad(functools.partial(loss, run), (0, 1), has_aux=True)(weights, frames)
            for run in (loop, at_once, in_chunks, from_zeros)
        ]

    loop, *others = jax.jit(all_ways)(weights, jnp.asarray(FRAMES))
    assert all(np.isfinite(leaf).all() for leaf in jax.tree.leaves(loop))
    for (_, result), gradient in others:
        assert apart(result, loop[0][1]) < 2e-6
        scale = max(float(np.abs(leaf).max()) for leaf in jax.tree.leaves(loop[1]))
        assert apart(gradient, loop[1]) < 1e-5 * scale


@pytest.mark.parametrize("name", registry.AGGREGATORS)
def test_features_are_bounded_whatever_the_frames(name):
    frames = 1e3 * FRAMES[:3]
    weights, fold = drawn(registry.AGGREGATORS[name])
    features = np.asarray(fold(weights, frames, None)[0])
    assert 0.5 < np.abs(features).max() <= 1


@pytest.mark.parametrize("name", PARALLEL)
def test_the_scan_over_all_frames_equals_the_steps(name):
    weights, steps = drawn(PARALLEL[name])
    _, scan = drawn(functools.partial(PARALLEL[name], run=linear.at_once))
    memory = jnp.asarray(FRAMES[1])

    def both(weights, frames, memory):
        def loss(run, *inputs):
            result = run(*inputs)
            return sum((leaf**2).sum() for leaf in result), result

        options = dict(argnums=(0, 1, 2), has_aux=True)
        return [
            jax.value_and_grad(functools.partial(loss, run), **options)(weights, frames, memory)
            for run in (steps, scan)
        ]

    one, other = jax.jit(both)(weights, jnp.asarray(FRAMES), memory)
    assert apart(one[0][1], other[0][1]) < 1e-6
    assert apart(one[1], other[1]) < 1e-5


@pytest.mark.parametrize("name", registry.AGGREGATORS)
def test_bfloat16_features_come_close_and_memories_stay_float32(name):
    frames = FRAMES[:3]
    weights, fold = drawn(registry.AGGREGATORS[name])
    run = jax.jit(lambda weights, frames: fold(weights, frames, None))
    exact, _ = run(weights, frames)
    features, memory = run(weights, jnp.asarray(frames, jnp.bfloat16))
    assert {leaf.dtype for leaf in jax.tree.leaves((features, memory))} == {jnp.dtype("float32")}
    assert 0 < np.abs(features - exact).mean() < 0.02 * np.abs(exact).mean() + 0.01


def sigmoid(x):
    return 1 / (1 + np.exp(-x))


def softmax(x, axis):
    e = np.exp(x - x.max(axis, keepdims=True))
    return e / e.sum(axis, keepdims=True)


def wide(weights):
    return jax.tree.map(lambda x: np.asarray(x, np.float64), weights.get("params", {}))


def computed(make, frames):
    weights, fold = drawn(make, frames)
    features, memory = jax.jit(lambda weights: fold(weights, frames, None))(weights)
    return wide(weights), np.asarray(frames, np.float64), features, memory


def test_min_conv_gru_equals_a_loop():
    params, frames, features, _ = computed(MinConvGRU, FRAMES)
    memory = np.zeros(frames.shape[1:])
    for frame in frames:
        renew, candidate = np.split(slow_convolution(frame, params["gates"]), 2, axis=-1)
        memory = (1 - sigmoid(renew)) * memory + sigmoid(renew) * np.tanh(candidate)
    np.testing.assert_allclose(features, memory, rtol=1e-5, atol=1e-6)


def test_diagonal_equals_a_loop():
    params, frames, features, memory = computed(Diagonal, FRAMES)
    decay = np.exp(-np.log1p(np.exp(params["rate"])))
    state = np.zeros(frames.shape[1:])
    for frame in frames:
        state = decay * state + np.sqrt(1 - decay**2) * (frame @ params["input"]["weight"])
    output = params["output"]
    expected = state @ output["weight"] + output["bias"] + params["skip"] * frames[-1]
    np.testing.assert_allclose(memory, state, rtol=1e-4, atol=1e-5)
    np.testing.assert_allclose(features, np.tanh(expected), rtol=1e-4, atol=1e-5)


def test_first_decays_reach_from_one_frame_to_the_length_of_training():
    module = Diagonal()
    weights = module.init(jax.random.key(0), FRAMES, None, method="fold")
    decay, _ = diagonal.terms({"rate": weights["params"]["rate"]}, FRAMES)
    times = -1 / np.log(decay[0, 0, 0, 0])
    np.testing.assert_allclose(times[[0, -1]], [1.0, diagonal.LONGEST], rtol=1e-3)


def test_the_decay_s_gradient_is_finite_where_it_never_or_at_once_forgets():
    def kept(rate):
        decay, drive = diagonal.terms({"rate": rate}, jnp.ones((2, 1, 1, 1, 2)))
        return decay.sum() + drive.sum(), decay

    gradient, decay = jax.grad(kept, has_aux=True)(jnp.array([-200.0, 200.0]))
    assert np.isfinite(gradient).all()
    assert 0.999 < decay[0, 0, 0, 0, 0] < 1 and decay[0, 0, 0, 0, 1] == 0


def slow_attention(params, readers, frames, heads=4):
    """Loops over pixels and heads. Readers [q c], frames [n c]."""
    query, key, value = (
        x @ params[name]["weight"]
        for name, x in zip(("query", "key", "value"), (readers, frames, frames), strict=True)
    )
    out = np.zeros_like(readers)
    d = readers.shape[-1] // heads
    for k in range(heads):
        part = slice(k * d, (k + 1) * d)
        weights = softmax(query[:, part] @ key[:, part].T / np.sqrt(d), 1)
        out[:, part] = weights @ value[:, part]
    return out @ params["proj"]["weight"] + params["proj"]["bias"]


def slow_normal(x, params):
    x = (x - x.mean(-1, keepdims=True)) / np.sqrt(x.var(-1, keepdims=True) + 1e-5)
    return x * params["weight"] + params["bias"]


@pytest.mark.parametrize("count", [2, COUNT])
def test_the_window_reads_the_last_frames_alone(count):
    params, frames, features, memory = computed(STREAMING["window"], FRAMES[:count])
    for pixel in np.ndindex(frames.shape[1:-1]):
        last = frames[(slice(-3, None), *pixel)]
        y = slow_normal(last, params["norm"])
        expected = last[-1] + slow_attention(params["attention"], y[-1:], y)[0]
        np.testing.assert_allclose(features[pixel], np.tanh(expected), rtol=1e-4, atol=1e-5)
    assert memory["count"].tolist() == [min(count, 3)] * 2
    np.testing.assert_array_equal(memory["frames"][-min(count, 3) :], FRAMES[:count][-3:])


def test_the_window_reads_the_same_of_frames_of_any_size():
    """In training frames reached 1e4, and scores of 1e9 made a gradient of NaN."""
    weights, _ = drawn(STREAMING["window"])

    def read(scale):
        apply = functools.partial(STREAMING["window"]().apply, method="fold")
        inputs = weights, scale * FRAMES, None
        _, found = apply(*inputs, mutable=["intermediates"], capture_intermediates=True)
        return found["intermediates"]["attention"]["__call__"][0]

    np.testing.assert_allclose(read(1e4), read(1.0), rtol=1e-3, atol=1e-3)


def test_means_equal_weighted_averages():
    _, frames, features, memory = computed(registry.AGGREGATORS["running_mean"], FRAMES)
    np.testing.assert_allclose(features, np.tanh(frames.mean(0)), rtol=1e-5, atol=1e-6)
    assert memory["weight"].ravel().tolist() == [COUNT] * 2
    params, _, features, _ = computed(registry.AGGREGATORS["confidence_mean"], FRAMES)
    said = [np.log1p(np.exp(slow_convolution(frame, params["confidence"]))) for frame in frames]
    weights = np.broadcast_to(said, frames.shape)
    expected = np.tanh(np.average(frames, 0, weights))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-5)


def test_a_mean_of_frames_without_any_confidence_is_finite():
    weights, fold = drawn(registry.AGGREGATORS["confidence_mean"])
    weights["params"]["confidence"]["bias"] = np.full(1, -1e4, np.float32)
    loss = lambda frames: (fold(weights, frames, None)[0] ** 2).sum()
    value, gradient = jax.jit(jax.value_and_grad(loss))(FRAMES)
    np.testing.assert_allclose(value, (np.tanh(FRAMES.mean(0)) ** 2).sum(), rtol=1e-4)
    assert np.isfinite(gradient).all()


@pytest.mark.parametrize("count", [3, 4])
def test_conv_fusion_compresses_a_window_that_is_filled_from_the_first_frame_on(count):
    params, frames, features, memory = computed(registry.AGGREGATORS["conv_fusion"], FRAMES[:count])
    x = np.concatenate([*frames, frames[0]][:4], -1)
    x = slow_convolution(x, params["conv_0"])
    x = np.where(x >= 0, x, params["conv_1"]["weight"] * x)
    expected = np.tanh(slow_convolution(x, params["conv_2"]))
    np.testing.assert_allclose(features, expected, rtol=1e-4, atol=1e-4)
    assert memory == ()


def test_att_fusion_is_a_block_and_a_mean():
    params, frames, features, memory = computed(registry.AGGREGATORS["att_fusion"], FRAMES[:3])
    dense = lambda x, name: x @ params[name]["weight"] + params[name]["bias"]
    gelu = lambda x: np.asarray(jax.nn.gelu(x, approximate=False), np.float64)
    for pixel in np.ndindex(frames.shape[1:-1]):
        x = frames[(slice(None), *pixel)]
        y = slow_normal(x, params["norm1"])
        x = x + slow_attention(params["attention"], y, y)
        x = x + dense(gelu(dense(slow_normal(x, params["norm2"]), "fc1")), "fc2")
        np.testing.assert_allclose(features[pixel], np.tanh(x.mean(0)), rtol=1e-4, atol=1e-4)
    assert memory == ()


@pytest.mark.parametrize("name", FIXED)
def test_a_fixed_window_refuses_more_frames_and_frames_from_before(name):
    window = registry.window_of(name)
    weights, fold = drawn(registry.AGGREGATORS[name])
    with pytest.raises(ValueError, match=f"{name}: got {window + 1} frames.* window of {window}"):
        fold(weights, FRAMES[: window + 1], None)
    with pytest.raises(ValueError, match=f"{name}: got the memory.*reconstruct_windows"):
        fold(weights, FRAMES[:1], ())


@pytest.mark.parametrize("name", ["window", "att_fusion"])
def test_heads_must_divide_the_channels(name):
    with pytest.raises(ValueError, match="got 3 channels, expected a multiple of 4 heads"):
        drawn(registry.AGGREGATORS[name], FRAMES[..., :3])


@pytest.mark.parametrize("name", STREAMING)
def test_the_memory_of_many_frames_is_as_large_as_that_of_one(name):
    weights, fold = drawn(STREAMING[name])
    sizes = lambda count: jax.tree.map(
        jnp.shape, jax.eval_shape(lambda frames: fold(weights, frames, None), FRAMES[:count])[1]
    )
    assert sizes(1) == sizes(COUNT)
