"""The values that flow between the stages: shapes, units and axes, each stated once.

Axes of the world: x to the head's left (the viewer's right when facing it), y up, z out of
the face towards a frontal camera. The unit is the tri-plane's box: the box is the cube
[-0.5, 0.5]^3. The head is canonical in it: expression and gaze move vertices, the pose of
the head only moves the camera.

A camera looks along its own +z, with x to the right and y down (OpenCV's axes).
Images are float32 in [-1, 1], channels last, row 0 at the top, unless a field says otherwise.
Letters in shapes: t frames, h w pixels, c channels, l layers of w_plus, v vertices, f faces.
"""

from typing import NamedTuple

from jaxtyping import Array, Bool, Float, Int, UInt8


class Camera(NamedTuple):
    """EG3D's 25 numbers, unflattened. SPEC section 1."""

    world_from_camera: Float[Array, "*batch 4 4"]
    intrinsics: Float[Array, "*batch 3 3"]  # in units of the image side; centre 0.5


class FaceFit(NamedTuple):
    """What tracking found in t frames of one person (one frame: t = 1).

    Arrays are NumPy on the host. Frames without a face have has_face False and zeros.
    """

    identity: Float[Array, " k"]  # unit-variance coefficients, shared by all frames
    expression: Float[Array, "t e"]  # in [0, 1], order of HeadModel.expression_names
    gaze_rad: Float[Array, "t 4"]  # left yaw, left pitch, right yaw, right pitch
    camera: Camera  # leading axis t; of the crop
    image: UInt8[Array, "t h w 3"]  # the EG3D-style square crop, RGB
    matte: UInt8[Array, "t h w"]  # 255 = person
    landmarks_px: Float[Array, "t 478 2"]  # (x, y) in the crop, pixel centres at .5
    source_from_crop: Float[Array, "t 3 3"]  # pixel coordinates of the source frame
    has_face: Bool[Array, " t"]
    frame_index: Int[Array, " t"]  # position in the source
    frames_per_second: float


class Drive(NamedTuple):
    """What moves an avatar: a camera and the driven head, rasterised; leading axes allowed.

    Rows of `raster` and `box_raster` grow with +y (row 0 is the lowest), as grid_sample reads
    plane 0. SPEC section 7.
    """

    camera: Camera
    raster: Float[Array, "*batch r r 3"]  # (u, v) in [-1, 1], mask in {0, 1}; raster_window
    # for the departures of settings.Departures, None without them:
    box_raster: Float[Array, "*batch p p 4"] | None = None  # the whole box: (u, v, mask, z world)
    view: Float[Array, "*batch h w 3"] | None = None  # (u, v, mask) seen by the camera, row 0 top


class Frame(NamedTuple):
    """One observed frame as the networks read it; leading axes allowed on every leaf.

    Rows of the UV maps grow with v. SPEC section 9.5.
    """

    image: Float[Array, "*batch h w 3"]
    matte: Float[Array, "*batch h w 1"]  # in [0, 1], 1 = person
    uv_rgb: Float[Array, "*batch u u 3"]  # the photo in UV space, 1 (white) where unseen
    uv_xy: Float[Array, "*batch u u 2"]  # where each texel falls in the image, in [-1, 1]
    uv_visible: Float[Array, "*batch u u 1"]  # in {0, 1}
    drive: Drive  # camera and raster of the frame itself
    # where each texel of the frontal plane falls in the image, in [-1, 1]; rows grow with +y
    frontal_xy: Float[Array, "*batch p p 2"] | None = None
