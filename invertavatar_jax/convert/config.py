"""The sizes of a model, from the constructor arguments that a snapshot stores."""

import dataclasses
from typing import Any, NamedTuple

import numpy as np

from invertavatar_jax import settings
from invertavatar_jax.convert.contents import Network

_POSITIONS = ("z_dim", "c_dim", "w_dim", "img_resolution", "img_channels")
_NESTED = ("rendering_kwargs", "mapping_kwargs", "sr_kwargs")

# Options of the released classes that change what they compute, where the networks here have
# one way only. SPEC sections 3 to 8; a last dotted part stands for a class's path.
_EXPECTED: dict[str, Any] = {
    "c_dim": 25,
    "img_channels": 3,
    "num_fp16_res": 0,
    "conv_clamp": None,
    "rendering_kwargs.disparity_space_sampling": False,
    "rendering_kwargs.clamp_mode": "softplus",
    "rendering_kwargs.superresolution_module": "SuperresolutionHybrid8XDC",
    "rendering_kwargs.superresolution_noise_mode": "none",
    "rendering_kwargs.c_gen_conditioning_zero": False,
    "rendering_kwargs.c_scale": 1.0,
    "rendering_kwargs.decoder_lr_mul": 1.0,
    "rendering_kwargs.sr_antialias": True,
    "rendering_kwargs.density_noise": 0,
    "rendering_kwargs.white_back": False,
    "rendering_kwargs.gen_exp_cond": False,
}


# Of the released model, from EG3D's matrices or, as its renderer uses them, their inverses.
_MODEL_PLANES = (("xy", "xz", "zx"), ("xy", "xz", "yz"))


class Config(NamedTuple):
    """What a snapshot says of its generator."""

    model: settings.Model | settings.Next3D
    arguments: dict[str, Any]  # of the generator's constructor, as stored
    differs: list[str]  # options that the networks here do not have, each as a sentence


def read(network: Network, preset: settings.Model | settings.Next3D) -> Config:
    """The sizes of a network's generator; where it stores none, those of `preset`."""
    stored = network.arguments.get("generator", network.arguments.get("", {}))
    arguments = dict(zip(_POSITIONS, stored.get("args", []), strict=False))
    arguments |= stored.get("kwargs", {})
    if "rendering_kwargs" not in arguments:
        return Config(preset, stored, [])
    options = {name: value for name, value in arguments.items() if name not in _NESTED}
    for group in _NESTED:
        inner = arguments.get(group)
        if isinstance(inner, dict):
            options |= {f"{group}.{name}": value for name, value in inner.items()}
    owner = "generator" if "generator" in network.arguments else ""
    neural = network.attributes.get(owner, {}).get("neural_rendering_resolution")
    model, differs = _sizes(preset, options, neural), _differences(options)
    axes = plane_axes(network)
    if axes is not None:
        planes = _planes(axes)
        if isinstance(model, settings.Next3D) and planes is not None:
            model = dataclasses.replace(model, planes=planes)
        elif planes not in _MODEL_PLANES:
            differs.append(f"the tri-planes have the axes {axes}, the networks here xy, xz, zx")
    return Config(model, arguments, differs)


def plane_axes(network: Network) -> Any:
    """The axes of the tri-planes that the renderer of a snapshot stores; None: it has none."""
    for name, attributes in network.attributes.items():
        if name.rsplit(".", 1)[-1] == "renderer" and "plane_axes" in attributes:
            return attributes["plane_axes"]
    return None


def _planes(axes: Any) -> tuple[str, ...] | None:
    """Matrices of axes -> the two coordinates of each plane; None: they are no axes."""
    try:
        matrices = np.asarray(axes, np.float64)
    except (TypeError, ValueError):
        return None
    if matrices.shape != (3, 3, 3) or not np.isin(matrices, (0, 1)).all():
        return None
    if not (matrices.sum(1) == 1).all() or not (matrices.sum(2) == 1).all():
        return None
    inverse = matrices.transpose(0, 2, 1)  # of permutations
    return tuple("".join("xyz"[int(plane[:, i].argmax())] for i in (0, 1)) for plane in inverse)


def _sizes(preset: Any, options: dict[str, Any], neural: Any) -> Any:
    def count(name: str, otherwise: int, most: int = 2048) -> int:
        value = options.get(name)
        return value if type(value) is int and 0 < value <= most else otherwise

    renderer, backbone = preset.renderer, preset.backbone
    rendering = "rendering_kwargs."
    warp = options.get(rendering + "box_warp")
    renderer = dataclasses.replace(
        renderer,
        image_resolution=count("img_resolution", renderer.image_resolution),
        coarse_samples=count(rendering + "depth_resolution", renderer.coarse_samples),
        fine_samples=count(rendering + "depth_resolution_importance", renderer.fine_samples),
        box_warp=float(warp) if isinstance(warp, int | float) else renderer.box_warp,
    )
    sizes = {}
    neural = neural if type(neural) is int and 0 < neural <= 2048 else None
    if isinstance(preset, settings.Next3D):
        sizes["neural_resolution"] = neural or preset.neural_resolution
        near, far = (options.get(rendering + f"ray_{end}") for end in ("start", "end"))
        if isinstance(near, int | float) and isinstance(far, int | float):
            renderer = dataclasses.replace(renderer, near=float(near), far=float(far))
    elif neural:
        renderer = dataclasses.replace(renderer, neural_resolution=neural)
    backbone = dataclasses.replace(
        backbone,
        channel_base=count("channel_base", backbone.channel_base, 2**17),
        channel_max=count("channel_max", backbone.channel_max),
    )
    return dataclasses.replace(
        preset,
        z_dim=count("z_dim", preset.z_dim),
        w_dim=count("w_dim", preset.w_dim),
        c_dim=count("c_dim", preset.c_dim),
        mapping_layers=count("mapping_kwargs.num_layers", preset.mapping_layers, 16),
        backbone=backbone,
        renderer=renderer,
        **sizes,
    )


def _differences(options: dict[str, Any]) -> list[str]:
    differs = []
    for name, expected in _EXPECTED.items():
        if name not in options:
            continue
        value = options[name]
        if isinstance(value, str) and isinstance(expected, str):
            value = value.rsplit(".", 1)[-1]
        if value != expected:
            differs.append(f"{name} is {options[name]!r}, the networks here have {expected!r}")
    return differs
