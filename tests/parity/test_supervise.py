"""Discriminators, identity and perceptual networks, and gradients, against the released ones."""

import functools
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

from invertavatar_jax.generate.synthesis import Synthesis
from invertavatar_jax.layers import EqualConv
from invertavatar_jax.pure import part, pure
from invertavatar_jax.settings import Backbone
from invertavatar_jax.supervise import adversarial, discriminator, identity, perceptual
from invertavatar_jax.train import mesh, step
from invertavatar_jax.train.stage import Group, Outcome, Phase
from invertavatar_jax.train.stages import gan_losses
from invertavatar_jax.train.stages.gan_players import Pictures
from invertavatar_jax.train.state import TrainState
from tests.parity.golden import Case, nchw, nhwc


def trainer_s_sums(loss, params, buffers, batch) -> step.Sums:
    """What the trainer makes of a loss of one microbatch: its gradient, and what it returns."""
    phase, group = Phase("case", "network", loss), Group(optax.sgd(1.0))
    state = TrainState(
        step=jnp.zeros((), jnp.int32),
        params={"network": params},
        average={},
        buffers=buffers,
        opt_state={"network": group.optimizer.init(params)},
        slots=(),
    )
    placing = step.Placing(mesh.make_mesh(1, 1), 1, False, ((r".*", ()),))
    made = step.make_step(phase, group, placing, state)
    return made.differentiate(state, batch, jax.random.key(0))[0]


@pytest.mark.parametrize(
    "name",
    [
        "conv2dlayer_down2_biasFalse_kernel_size1",
        "conv2dlayer_down2_kernel_size3_activationlrelu",
        "conv2dlayer_kernel_size3_activationlrelu_conv_clamp0p5",
        "conv2dlayer_up2_biasFalse_kernel_size1",
    ],
)
def test_convolution_at_equalised_learning_rate(name):
    case = Case(name)
    x = nhwc(case.input("x"))
    names = {"kernel_size": "kernel", "conv_clamp": "clamp"}
    options = {names.get(key, key): value for key, value in case.config.items() if key != "prefix"}
    network = pure(EqualConv(5, **options))
    weights = case.weights(network.init, x)
    case.check("y", nchw(network.apply(weights, x)))
    case.check("y_gain_sqrt0.5", nchw(network.apply(weights, x, float(np.sqrt(0.5)))))
    case.done()


def test_mapping_of_the_discriminator():
    case = Case("mapping_D")
    camera = case.input("cam")
    network = pure(discriminator.LabelMapping(512))
    weights = case.weights(network.init, camera)
    case.check("cmap", network.apply(weights, camera))
    case.done()


@pytest.mark.parametrize("channels", [6, 9])
def test_dual_discriminator(channels):
    case = Case(f"dual_discriminator_ch{channels}")
    image, below, camera = nhwc(case.input("image")), nhwc(case.input("image_raw")), case.input("c")
    pictures = (image, below[..., -3:], below[..., :-3] if channels == 9 else None)
    network = pure(discriminator.DualDiscriminator())
    weights = case.weights(network.init, *pictures[:2], camera, pictures[2])

    @jax.jit
    def run(weights, image, neural, landmarks, camera):  # weights inside are folded for long
        return network.apply(weights, image, neural, camera, landmarks)

    judge = functools.partial(run, weights)
    got = judge(*pictures, camera)
    case.check("logits", got.logits)
    for i in (0, 2, 4, 6):
        case.check(f"block{i}", nchw(got.features[i]))
    case.check("logits_c0", judge(*pictures, np.zeros_like(camera)).logits)
    pair = [None if x is None else x[:2] for x in (*pictures, camera)]
    case.check("logits_batch2", judge(*pair).logits)
    case.done()


def test_second_derivatives_of_a_small_discriminator():
    case = Case("d_small_r1_grads")
    pictures = Pictures(nhwc(case.input("image")), nhwc(case.input("image_raw")), None)
    camera = case.input("c")
    network = pure(discriminator.DualDiscriminator(Backbone(32, 512, 32)))
    weights = case.weights(network.init, *pictures[:2], camera)

    def loss(inputs):
        params, camera = {"params": inputs.params["network"]}, inputs.batch["camera"]
        judge = lambda seen: network.apply(params, *seen[:2], camera).logits
        penalty, found = gan_losses.penalty(judge, inputs.batch["real"], case.config["gamma"])
        return Outcome(adversarial.generator_loss(found.logits) + penalty, {"found": found})

    sums = trainer_s_sums(loss, weights["params"], {}, {"real": pictures, "camera": camera})
    found: Any = sums.metrics["found"]
    case.check("loss", sums.metrics["loss"].reshape(1), floor=None)
    case.check("logits", found.logits, floor=None)
    case.check("r1_penalty", found.penalty, floor=None)
    case.check("grad_image", nchw(found.gradients.image), floor=None)
    case.check("grad_image_raw", nchw(found.gradients.neural), floor=None)
    for name in case.meta["outputs"]:
        if name.startswith("dloss_d_"):
            case.check_gradient(name, sums.gradient, name.removeprefix("dloss_d_"))
    case.done()


def test_latent_discriminator():
    case = Case("latent_discriminator")
    w = case.input("w")
    network = pure(discriminator.LatentDiscriminator())
    weights = case.weights(network.init, w)
    case.check("y", network.apply(weights, w))
    case.done()


def test_identity_network_and_loss():
    case = Case("arcface_ir_se50")
    network = pure(identity.IdentityNet())
    faces = {
        name: identity.crop_face(
            jnp.asarray(nhwc(case.input(f"{name}16").repeat(16, 2).repeat(16, 3)))
        )
        for name in "xy"
    }
    weights = case.weights(network.init, faces["x"])
    run = jax.jit(network.apply)
    features = {name: run(weights, face) for name, face in faces.items()}
    for name, got in features.items():
        case.check(f"feat_{name}", got)
    case.check("id_loss", identity.identity_loss(features["x"], features["y"]).reshape(1))
    case.done()


def test_perceptual_distance():
    case = Case("lpips_alex")
    x, y = nhwc(case.input("x")), nhwc(case.input("y"))
    network = pure(perceptual.LPIPS("alex"))
    weights = case.weights(network.init, x, y)
    features = pure(perceptual.ClassifierFeatures("alex")).apply(part(weights, "net"), x)
    for i, got in enumerate(features):
        case.check(f"feat{i}", nchw(perceptual.unit_length(got)))
    case.check("loss", network.apply(weights, x, y).mean().reshape(1), floor=None)
    case.done()


def _condition(case: Case, i: int) -> np.ndarray:
    return nhwc(np.concatenate([case.input(f"cond{i}"), case.input(f"alpha{i}")], 1))


def test_gradients_of_a_small_generator():
    case = Case("g_small_grads")
    w_plus, mask = case.input("ws"), nhwc(case.input("r"))
    conditions = [_condition(case, 0), _condition(case, 1)]
    modulation = {size: nhwc(case.input(f"sft{size}")) for size in (16, 64)}
    network = pure(Synthesis(Backbone(64, 512, 16), 8, levels=2))
    weights = case.weights(network.init, w_plus)

    def loss(inputs):
        batch, trained = inputs.batch, inputs.params["network"]
        weights_now = {"params": trained["weights"], "buffers": inputs.buffers}
        read = trained["w_plus"], batch["conditions"], batch["modulation"]
        image = network.apply(weights_now, *read)[-1]
        return Outcome(jnp.mean(image * batch["mask"]), {"image": image})

    params = {"weights": weights["params"], "w_plus": w_plus}
    batch = {"conditions": conditions, "modulation": modulation, "mask": mask}
    sums = trainer_s_sums(loss, params, weights["buffers"], batch)
    case.check("img", nchw(sums.metrics["image"]))
    case.check("loss", sums.metrics["loss"].reshape(1), floor=None)
    case.check("dws", sums.gradient["w_plus"], floor=None)
    for name in case.meta["outputs"]:
        if name.startswith("dloss_d_"):
            case.check_gradient(name, sums.gradient["weights"], name.removeprefix("dloss_d_"))
    case.done()
