"""Every size of the model, as frozen dataclasses, and the presets.

The defaults are the released model's (SPEC sections 3 to 9); `preset` names the others.
Fields under "departures" are off in the released model; each says what it adds.
"""

import dataclasses
import functools
from typing import Any

# How networks compute: the type of what passes between layers, and what products of float32
# matrices may leave out. Accelerators shorten their operands unless told not to, a CPU never does.
COMPUTE = {
    "float32": ("float32", "highest"),
    "tensorfloat32": ("float32", "tensorfloat32"),
    "bfloat16": ("bfloat16", "default"),
}


# How a recurrent decoder's level merges frames; aggregate/registry.py has the modules.
AGGREGATORS = (
    "conv_gru",
    "min_conv_gru",
    "diagonal",
    "window",
    "running_mean",
    "confidence_mean",
    "conv_fusion",
    "att_fusion",
)


def _added(default: Any) -> Any:
    """A field that older files of weights lack: in them it has the default."""
    return dataclasses.field(default=default, metadata={"added": True})


@dataclasses.dataclass(frozen=True)
class Backbone:
    """A StyleGAN2 synthesis network. SPEC section 4."""

    resolution: int = 256
    channel_base: int = 32768
    channel_max: int = 512

    def channels(self, resolution: int) -> int:
        """Feature channels of the block at `resolution`."""
        return min(self.channel_base // resolution, self.channel_max)

    @property
    def resolutions(self) -> tuple[int, ...]:
        """4, 8, ... up to the output's."""
        return tuple(4 << i for i in range((self.resolution // 4).bit_length()))

    @property
    def w_count(self) -> int:
        """Layers of w_plus: two a block; the last block's torgb adds one in place of b4's."""
        return 2 * len(self.resolutions)


@dataclasses.dataclass(frozen=True)
class Renderer:
    """Volume rendering of the tri-planes and super-resolution. SPEC sections 6 and 8."""

    neural_resolution: int = 128
    image_resolution: int = 512
    coarse_samples: int = 48
    fine_samples: int = 48
    near: float = -0.45  # relative to the camera's distance from the origin
    far: float = 0.6
    box_warp: float = 1.0  # side of the tri-plane box in world units
    decoder_hidden: int = 64
    superresolution_channels: tuple[int, int] = (256, 128)
    superresolution_clamp: float = 256.0
    # departure: 0 is the released network; n > 0 computes at the neural resolution and folds
    # n x n pixels of the output into channels, which costs a laptop 1/n^2 of the time
    superresolution_fold: int = 0
    proposal: bool = False  # departure: coarse samples only place the fine ones
    # most rays integrated at a time on a CPU, where less memory than a budget allows is wanted;
    # the result does not depend on it. See render/volume.py
    chunk_rays: int = 512
    # departure: rays of a smaller image, enlarged for super-resolution; 0 is the neural one
    preview_resolution: int = _added(0)

    @property
    def ray_resolution(self) -> int:
        """Side of the image of rays."""
        return self.preview_resolution or self.neural_resolution


@dataclasses.dataclass(frozen=True)
class Trunk:
    """An IR-SE trunk: one stage each halving, `units` residual units per stage. SPEC 9.1."""

    channels: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    patch: int = 1  # departure: pixels of the input are folded into channels, patch x patch
    # so that a 256-pixel input costs what a (256 / patch)-pixel one does


@dataclasses.dataclass(frozen=True)
class Decoder:
    """U-Net decoder, deepest level first. SPEC 9.2, 9.3, 9.4."""

    channels: tuple[int, ...] = (512, 384, 256, 96)
    head_channels: int = 96  # E_tri's convolutions at full resolution
    # transformer blocks of each level, between its skip and its convolutions; () has none
    vit_depths: tuple[int, ...] = _added(())
    vit_channels: int = _added(1024)
    vit_heads: int = _added(4)
    # what merges the frames at each level, one of AGGREGATORS; the paper's is conv_gru
    aggregator: str = _added("conv_gru")


@dataclasses.dataclass(frozen=True)
class Departures:
    """What the small preset adds to the paper's model; all off in the released one.

    They let a network of ten million parameters, trained without a GAN prior, show the
    person: the photo's own colours and the tracked depth reach the renderer directly.
    """

    frontal_input: bool = False  # E_tri reads the photo pulled onto the frontal plane
    colours: bool = False  # observed colours ride along with planes and super-resolution
    depth_prior: bool = False  # density is biased towards the driven mesh's surface
    background: bool = False  # a 2-D layer behind the head
    head_raster: bool = False  # the raster's mask is the whole head, not the face alone


@dataclasses.dataclass(frozen=True)
class Model:
    """All networks of the inference path."""

    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 25
    mapping_layers: int = 2
    plane_channels: int = 32
    backbone: Backbone = Backbone()
    renderer: Renderer = Renderer()
    raster_resolution: int = 256
    # the part of the frontal plane that the raster covers: top, bottom, left, right rows and
    # columns of a plane of 256; scaled to other sizes with Python's round. SPEC section 5
    raster_window: tuple[int, int, int, int] = (57, 185, 64, 192)
    mouth_row: int = 87  # rows of the raster below it keep the static mouth; of 256
    latent_input: int = 256  # E_latent pools the image to this side
    latent_trunk: Trunk = Trunk()
    texture_trunk: Trunk = Trunk()
    triplane_trunk: Trunk = Trunk()
    texture_decoder: Decoder = Decoder()
    triplane_decoder: Decoder = Decoder()
    uv_resolution: int = 256
    departures: Departures = Departures()
    # ablations of paper 4.3.2, both off in its model: E_tri shifts the tri-plane features and
    # scales none; E_tex reads the posed image in place of the UV map
    triplane_offsets: bool = _added(False)
    posed_texture: bool = _added(False)
    # E_tex and E_tri read one frame and have no memory; only the tri-planes themselves are
    # modulated, not the features below them. SPEC sections 9.4 and 9.7
    one_shot: bool = _added(False)


@dataclasses.dataclass(frozen=True)
class UNetSizes:
    """Sides of what a StyleUNet reads: the image, and its last encoder's features."""

    input: int
    last: int


@dataclasses.dataclass(frozen=True)
class Next3D:
    """The baseline prior, in place of Model's generator. NEXT3D sections 0 to 8."""

    z_dim: int = 512
    w_dim: int = 512
    c_dim: int = 25
    mapping_layers: int = 2
    plane_channels: int = 32
    backbone: Backbone = Backbone()
    mouth: UNetSizes = UNetSizes(64, 4)
    blending: UNetSizes = UNetSizes(256, 32)
    neural_resolution: int = 64  # of the rays
    # near and far are distances from the camera; neural_resolution is super-resolution's input
    renderer: Renderer = Renderer(near=2.25, far=3.3)
    planes: tuple[str, ...] = ("xy", "xz", "zy")  # axes along each plane's columns and rows
    # released: the side views go to the second plane and the top view to the third, though
    # these are sampled as `planes` says; aligned: every view on the plane it looks at
    view_planes: str = "released"

    @property
    def w_count(self) -> int:
        """Layers of w_plus: one half for shape, mouth and blending, one for the texture."""
        return 2 * self.backbone.w_count


_SMALL_TRUNK = Trunk(channels=(48, 64, 96, 128), units=(1, 1, 1, 1), patch=4)
_SMALL_DECODER = Decoder(channels=(96, 96, 64, 48), head_channels=48)
_TINY_TRUNK = Trunk(channels=(8, 8, 16, 16), units=(1, 1, 1, 1))
_TINY_DECODER = Decoder(channels=(16, 16, 8, 8), head_channels=8)
# few samples on a ray want a box that holds no more than the head
_CLOSE = functools.partial(Renderer, proposal=True, near=-0.4, far=0.4, box_warp=0.8)
_ALL_DEPARTURES = Departures(
    frontal_input=True, colours=True, depth_prior=True, background=True, head_raster=True
)

PRESETS = {
    "paper": Model(),
    # the released one-shot model
    "paper_oneshot": Model(
        texture_decoder=Decoder(vit_depths=(4, 4, 3, 3)),
        triplane_decoder=Decoder(vit_depths=(4, 4, 3, 2)),
        one_shot=True,
    ),
    # the paper's own one-shot model, of which no weights were released
    "paper_oneshot_unet": Model(one_shot=True),
    "small": Model(
        z_dim=96,
        w_dim=96,
        backbone=Backbone(resolution=64, channel_base=3072, channel_max=128),
        renderer=_CLOSE(
            neural_resolution=64,
            image_resolution=256,
            coarse_samples=8,
            fine_samples=12,
            superresolution_channels=(64, 64),
            superresolution_fold=4,
            chunk_rays=32768,
        ),
        raster_resolution=80,
        raster_window=(40, 200, 48, 208),
        latent_input=128,
        latent_trunk=Trunk(channels=(32, 48, 64, 80), units=(1, 1, 1, 1), patch=2),
        texture_trunk=_SMALL_TRUNK,
        triplane_trunk=_SMALL_TRUNK,
        texture_decoder=_SMALL_DECODER,
        triplane_decoder=_SMALL_DECODER,
        departures=_ALL_DEPARTURES,
    ),
    "tiny": Model(
        z_dim=16,
        w_dim=16,
        plane_channels=8,
        backbone=Backbone(resolution=32, channel_base=256, channel_max=16),
        renderer=_CLOSE(
            neural_resolution=16,
            image_resolution=32,
            coarse_samples=6,
            fine_samples=6,
            decoder_hidden=16,
            superresolution_channels=(16, 16),
            superresolution_fold=2,
            chunk_rays=64,
        ),
        raster_resolution=20,
        raster_window=(40, 200, 48, 208),
        latent_input=32,
        latent_trunk=_TINY_TRUNK,
        texture_trunk=_TINY_TRUNK,
        triplane_trunk=_TINY_TRUNK,
        texture_decoder=_TINY_DECODER,
        triplane_decoder=_TINY_DECODER,
        uv_resolution=32,
        departures=_ALL_DEPARTURES,
    ),
}


def _paper_form(model: Model, **renderer: Any) -> Model:
    """What the adversarial stages train: a preset without departures, its renderer changed."""
    own = dataclasses.replace(model.renderer, superresolution_fold=0, proposal=False, **renderer)
    return dataclasses.replace(model, renderer=own, departures=Departures())


PRESETS["tiny_paper"] = _paper_form(PRESETS["tiny"])
# small enough that two cores see heads within an hour
_FEW_PIXELS = dict(neural_resolution=32, image_resolution=64, superresolution_channels=(64, 32))
PRESETS["small_paper"] = _paper_form(PRESETS["small"], **_FEW_PIXELS)


def with_aggregator(model: Model, name: str) -> Model:
    """The model with another of AGGREGATORS in all levels of both decoders."""
    other = lambda decoder: dataclasses.replace(decoder, aggregator=name)
    texture, triplane = other(model.texture_decoder), other(model.triplane_decoder)
    return dataclasses.replace(model, texture_decoder=texture, triplane_decoder=triplane)


# recurrent models with other aggregators than the paper's, e.g. "small_min_conv_gru", and with
# other encoders: "small_offsets", "small_posed_texture"
_CHANGES = {name: functools.partial(with_aggregator, name=name) for name in AGGREGATORS[1:]}
_CHANGES["offsets"] = functools.partial(dataclasses.replace, triplane_offsets=True)
_CHANGES["posed_texture"] = functools.partial(dataclasses.replace, posed_texture=True)
ABLATIONS = {
    f"{base}_{name}": change(PRESETS[base])
    for base in ("paper", "small", "tiny", "tiny_paper")
    for name, change in _CHANGES.items()
}


PRIORS = {
    "next3d": Next3D(),
    "next3d_tiny": Next3D(
        z_dim=16,
        w_dim=16,
        plane_channels=8,
        backbone=Backbone(resolution=32, channel_base=256, channel_max=16),
        mouth=UNetSizes(16, 4),
        blending=UNetSizes(32, 8),
        neural_resolution=8,
        renderer=Renderer(
            neural_resolution=16,
            image_resolution=32,
            coarse_samples=6,
            fine_samples=6,
            near=2.25,
            far=3.3,
            decoder_hidden=16,
            superresolution_channels=(16, 16),
            chunk_rays=64,
        ),
    ),
}


def prior(name: str) -> Model | Next3D:
    """The generator of a preset's name: those of `preset`, next3d and next3d_tiny.

    Raises:
        ValueError: there is no such preset.
    """
    known = PRIORS | PRESETS
    if name not in known:
        raise ValueError(f"got preset {name!r}, expected one of {', '.join(known)}")
    return known[name]


def preset(name: str) -> Model:
    """The model of a preset's name: those of PRESETS and ABLATIONS.

    Raises:
        ValueError: there is no such preset.
    """
    known = PRESETS | ABLATIONS
    if name not in known:
        raise ValueError(
            f"got preset {name!r}, expected one of {', '.join(PRESETS)}; recurrent ones may end "
            f"in _ and one of {', '.join(_CHANGES)}"
        )
    return known[name]


LEAST_SAMPLES = 4  # coarse ones that can place fine ones


def preview(model: Model) -> Model:
    """The model with half the samples on each of a quarter of the rays."""
    exact = model.renderer
    faster = dataclasses.replace(
        exact,
        preview_resolution=exact.neural_resolution // 2,
        coarse_samples=max(LEAST_SAMPLES, exact.coarse_samples // 2),
        fine_samples=max(LEAST_SAMPLES, exact.fine_samples // 2),
    )
    return dataclasses.replace(model, renderer=faster)


def to_dict(model: Model) -> dict:
    """Plain values, for a file beside the weights."""
    return dataclasses.asdict(model)


def from_dict(values: dict, kind: type = Model) -> Any:
    """The inverse of to_dict, of Model or Next3D; files from before a setting may lack it.

    Raises:
        ValueError: keys are unknown or missing.
    """
    return _build(kind, values, "model")


def _build(kind, values, where: str):
    fields = {field.name: field for field in dataclasses.fields(kind)}
    if unknown := sorted(set(values) - set(fields)):
        raise ValueError(f"{where}: unknown settings {', '.join(unknown)}")
    needed = {name for name, field in fields.items() if "added" not in field.metadata}
    if missing := sorted(needed - set(values)):
        raise ValueError(f"{where}: missing settings {', '.join(missing)}")
    built = {}
    for name in values:
        default = fields[name].default
        if dataclasses.is_dataclass(default):
            built[name] = _build(type(default), values[name], f"{where}.{name}")
        elif isinstance(default, tuple):
            built[name] = tuple(values[name])
        else:
            built[name] = values[name]
    return kind(**built)
