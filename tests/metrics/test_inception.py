"""The Inception of FID against torch's layers with drawn weights, and the files that it reads."""

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from safetensors.numpy import save_file

from invertavatar_jax.convert.names import import_weights, to_released
from invertavatar_jax.errors import UserError
from invertavatar_jax.metrics import fid, inception
from invertavatar_jax.pure import pure

SIDE = 139  # leaves 3 x 3 pixels in the last blocks, so that every border is seen


@pytest.fixture(scope="module")
def template():
    image = jnp.zeros((1, SIDE, SIDE, 3))
    return jax.eval_shape(pure(inception.Inception()).init, jax.random.key(0), image)


@pytest.fixture(scope="module")
def drawn(template):
    """A state dict as published, but for the classifier."""
    generator = np.random.default_rng(0)
    named = {}
    for path, leaf in jax.tree_util.tree_leaves_with_path(template):
        _, *keys = (entry.key for entry in path)
        noise = generator.standard_normal(leaf.shape, np.float32)
        if noise.ndim == 4:
            array = noise * np.float32(np.sqrt(2 / np.prod(leaf.shape[:3])))
        else:
            array = np.float32(keys[-1] in ("weight", "running_var")) + np.float32(0.1) * noise
        named[".".join(keys)] = np.ascontiguousarray(to_released(array, keys[-1]))
    return named


class Reference:
    """The network in torch's functions, written from its description."""

    def __init__(self, torch, named):
        self.torch, self.call = torch, torch.nn.functional
        self.named = {name: torch.from_numpy(array) for name, array in named.items()}

    def unit(self, name, x, stride=1, padding=0):
        x = self.call.conv2d(x, self.named[f"{name}.conv.weight"], None, stride, padding)
        norm = [self.named[f"{name}.bn.{part}"] for part in ("running_mean", "running_var")]
        scale = [self.named[f"{name}.bn.{part}"] for part in ("weight", "bias")]
        return self.call.batch_norm(x, *norm, *scale, eps=0.001).relu()

    def chain(self, block, x, *steps):
        """Steps are (name, padding) or (name, padding, stride)."""
        for name, padding, *stride in steps:
            x = self.unit(f"{block}.{name}", x, *(stride or [1]), padding)
        return x

    def join(self, *parts):
        return self.torch.cat(parts, 1)

    def average(self, x):
        return self.call.avg_pool2d(x, 3, 1, 1, count_include_pad=False)

    def a(self, n, x):
        return self.join(
            self.chain(n, x, ("branch1x1", 0)),
            self.chain(n, x, ("branch5x5_1", 0), ("branch5x5_2", 2)),
            self.chain(n, x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 1)),
            self.chain(n, self.average(x), ("branch_pool", 0)),
        )

    def b(self, n, x):
        double = ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1), ("branch3x3dbl_3", 0, 2)
        pooled = self.call.max_pool2d(x, 3, 2)
        return self.join(self.chain(n, x, ("branch3x3", 0, 2)), self.chain(n, x, *double), pooled)

    def c(self, n, x):
        wide, tall = (0, 3), (3, 0)
        seven = ("branch7x7_1", 0), ("branch7x7_2", wide), ("branch7x7_3", tall)
        order = enumerate([0, tall, wide, tall, wide])
        return self.join(
            self.chain(n, x, ("branch1x1", 0)),
            self.chain(n, x, *seven),
            self.chain(n, x, *((f"branch7x7dbl_{i + 1}", padding) for i, padding in order)),
            self.chain(n, self.average(x), ("branch_pool", 0)),
        )

    def d(self, n, x):
        seven = [(f"branch7x7x3_{i}", p) for i, p in ((1, 0), (2, (0, 3)), (3, (3, 0)))]
        return self.join(
            self.chain(n, x, ("branch3x3_1", 0), ("branch3x3_2", 0, 2)),
            self.chain(n, x, *seven, ("branch7x7x3_4", 0, 2)),
            self.call.max_pool2d(x, 3, 2),
        )

    def e(self, n, x, pooled):
        split = lambda name, y: self.join(
            self.chain(n, y, (f"{name}a", (0, 1))), self.chain(n, y, (f"{name}b", (1, 0)))
        )
        return self.join(
            self.chain(n, x, ("branch1x1", 0)),
            split("branch3x3_2", self.chain(n, x, ("branch3x3_1", 0))),
            split("branch3x3dbl_3", self.chain(n, x, ("branch3x3dbl_1", 0), ("branch3x3dbl_2", 1))),
            self.chain(n, pooled, ("branch_pool", 0)),
        )

    def features(self, image):
        halve = lambda x: self.call.max_pool2d(x, 3, 2)
        x = self.torch.from_numpy(np.ascontiguousarray(image.transpose(0, 3, 1, 2)))
        x = self.unit("Conv2d_2a_3x3", self.unit("Conv2d_1a_3x3", x, 2))
        x = self.unit("Conv2d_3b_1x1", halve(self.unit("Conv2d_2b_3x3", x, padding=1)))
        x = halve(self.unit("Conv2d_4a_3x3", x))
        for letters, block in ((("b", "c", "d"), self.a), (("a",), self.b)):
            for letter in letters:
                x = block(f"Mixed_{5 if block == self.a else 6}{letter}", x)
        for letter in "bcde":
            x = self.c(f"Mixed_6{letter}", x)
        x = self.d("Mixed_7a", x)
        x = self.e("Mixed_7b", x, self.average(x))
        x = self.e("Mixed_7c", x, self.call.max_pool2d(x, 3, 1, 1))
        return x.mean((2, 3)).numpy()


def test_the_network_has_as_many_parameters_as_torchvision_s_without_its_classifier(template):
    sizes = [leaf.size for leaf in jax.tree.leaves(template["params"])]
    assert sum(sizes) == 23_834_568 - 2049 * 1000
    assert len(sizes) == 94 * 3  # of a convolution and its normalisation


@pytest.mark.slow  # needs requirements-bench.txt
def test_features_equal_those_of_torch_s_layers(template, drawn):
    torch = pytest.importorskip("torch")
    image = np.random.default_rng(1).uniform(-1, 1, (2, SIDE, SIDE, 3)).astype(np.float32)
    expected = Reference(torch, drawn).features(image)
    weights = import_weights(template, drawn)
    got = jax.jit(pure(inception.Inception()).apply)(weights, image)
    assert got.shape == (2, inception.FEATURES)
    np.testing.assert_allclose(got, expected, rtol=1e-4, atol=1e-4 * expected.std())
    assert np.abs(expected[0] - expected[1]).max() > 0.1 * expected.std()


@pytest.fixture(scope="module")
def file(drawn, tmp_path_factory):
    """Writes a state dict with a classifier of so many outputs; returns its path."""

    def write(named, outputs):
        path = tmp_path_factory.mktemp("inception") / "inception.safetensors"
        classifier = np.zeros((outputs, inception.FEATURES), np.float32)
        save_file({**named, "fc.weight": classifier, "fc.bias": classifier[:, 0].copy()}, path)
        return str(path)

    return write


def test_a_file_with_the_published_names_gives_the_weights(template, drawn, file):
    got = inception.read(file(drawn, 1008))
    jax.tree.map(np.testing.assert_array_equal, got, import_weights(template, drawn))


def test_other_files_are_refused_and_told_which_is_meant(drawn, file):
    few = {name: drawn[name] for name in list(drawn)[:-1]}
    for named, outputs, found in ((few, 1000, "found [1000, 2048]"), (few, 1008, "no array for 1")):
        with pytest.raises(UserError) as refused:
            inception.read(file(named, outputs))
        assert found in str(refused.value) and inception.FILE in str(refused.value)
    with pytest.raises(UserError, match=r"fid needs the file inception, pt_inception.*none is"):
        inception.extractor({})


def test_only_the_published_file_makes_an_fid(tmp_path, monkeypatch):
    """With a small network in the large one's place: names, rounding, resizing and batches."""
    unit = inception.Unit("Conv2d_1a_3x3", 8, (3, 3), 2)
    small = pure(inception.Inception(stem=(unit,), blocks=()))
    weights = small.init(jax.random.key(0), jnp.zeros((1, 8, 8, 3)))
    monkeypatch.setattr(inception, "pure", lambda module: small)
    monkeypatch.setattr(inception, "read", lambda path: weights)
    monkeypatch.setattr(inception, "BATCH", 8)
    path = tmp_path / "inception.pth"
    path.write_bytes(b"not the published one")
    extractor = inception.extractor({"inception": str(path)})
    (digest,) = extractor.weights.values()
    assert extractor.name == f"fd[inception_{digest[:8]}]"
    monkeypatch.setattr(inception, "SHA256", digest[:8])
    assert inception.extractor({"inception": str(path)}).name == "fid"

    levels = np.random.default_rng(0).integers(0, 256, (11, 20, 30, 3))
    pictures = (levels / 127.5 - 1 + 0.001).astype(np.float32)  # off by less than half a level
    found = list(extractor.batches(iter(pictures)))
    assert [len(batch) for batch in found] == [8, 3]
    exact = levels.astype(np.float32) / 127.5 - 1
    resized = jax.jit(lambda x: inception.resize_bilinear(x, (299, 299)))(exact)
    expected = jax.jit(small.apply)(weights, resized)
    np.testing.assert_allclose(np.concatenate(found), expected, rtol=1e-4, atol=1e-5)
    score = fid.make(extractor)(pictures, fid.summarise(extractor, pictures))
    assert score.values[0] < 1e-6 and score.counts["generated"] == 11
