"""Every size of the model, as frozen dataclasses, and the three presets.

The defaults are the released model's (SPEC sections 3 to 9); `preset` names the others.
Fields under "departures" are off in the released model; each says what it adds.
"""

import dataclasses


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
    chunk_rays: int = 512  # bounds memory; the result does not depend on it


@dataclasses.dataclass(frozen=True)
class Trunk:
    """An IR-SE trunk: one stage each halving, `units` residual units per stage. SPEC 9.1."""

    channels: tuple[int, ...] = (64, 128, 256, 512)
    units: tuple[int, ...] = (3, 4, 14, 3)
    patch: int = 1  # departure: pixels of the input are folded into channels, patch x patch
    # so that a 256-pixel input costs what a (256 / patch)-pixel one does


@dataclasses.dataclass(frozen=True)
class Decoder:
    """Recurrent U-Net decoder, deepest level first. SPEC 9.2, 9.3."""

    channels: tuple[int, ...] = (512, 384, 256, 96)
    head_channels: int = 96  # E_tri's convolutions at full resolution


@dataclasses.dataclass(frozen=True)
class Departures:
    """What the small preset adds to the paper's model; all off in the released one."""

    texture_rgb: bool = False  # the observed colours ride along with the neural texture
    frontal_input: bool = False  # E_tri reads the photo pulled onto the frontal plane
    depth_channel: bool = False  # the raster has a fourth channel, z, that bounds density
    background: bool = False  # a 2-D layer behind the head
    texture_skip: bool = False  # super-resolution reads the colours at the target's pixels


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
