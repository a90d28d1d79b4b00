"""The kinds of fault that the doctor must find."""

import shutil

import numpy as np

from invertavatar_jax.data.released import (
    COEFFICIENTS,
    CONTOURS,
    HEADS,
    IMAGES,
    LABELS,
    PERSONS,
    RASTERS,
    UVS,
)
from invertavatar_jax.fit.faceverse import SLICES
from tests.data import faults as f
from tests.data.faults import FRAME, Kind

REAL, CONDITION = f"{IMAGES}/{LABELS[1]}", f"{IMAGES}/{LABELS[0]}"
IMAGE, HEAD, PERSON = (f"{folder}/{FRAME}.png" for folder in (IMAGES, HEADS, PERSONS))
RASTER, UV, FITTED = (f"{folder}/{FRAME}.npy" for folder in (RASTERS, UVS, COEFFICIENTS))
TEXTURE, BESIDE = f"{UVS}/{FRAME}_uvgttex.png", f"{RASTERS}/{FRAME}_coeff.npy"
BOTH = LABELS
WHOLE = slice(None)
swap = lambda *order: lambda a: a[..., list(order)]

LISTING = (
    Kind("no dataset.json", lambda r: (r / CONDITION).unlink(), "labels_are_readable", CONDITION),
    Kind(
        "dataset_realcam.json cut off",
        lambda r: f.own(r / REAL).write_text('{"labels": [["anna'),
        "labels_are_readable",
        REAL,
    ),
    Kind(
        "an entry that is no pair",
        f.labels(lambda e: [*e, "x"], (LABELS[0],)),
        "labels_are_pairs",
        CONDITION,
    ),
    Kind(
        "backslash in a label",
        f.rename_label(lambda n: n.replace("/", "\\")),
        "names_are_plain",
        REAL,
    ),
    Kind("a label's path is absolute", f.rename_label(lambda n: f"/{n}"), "names_are_plain", REAL),
    Kind(
        "capitals in a label",
        f.rename_label(lambda n: n.replace("anna", "Anna"), BOTH),
        "names_are_spelt_alike",
        REAL,
    ),
    Kind("a frame listed twice", f.labels(lambda e: [*e[:1], *e], BOTH), "labels_are_unique", REAL),
    Kind(
        "a label too many",
        f.labels(lambda e: [*e, ["bert/00003.png", e[0][1]]], BOTH),
        "labels_have_images",
        REAL,
    ),
    Kind("a label too few", f.labels(f.drop, BOTH), "images_have_labels", REAL),
    Kind(
        "a label too few in one file", f.labels(f.drop, BOTH[:1]), "images_have_labels", CONDITION
    ),
    Kind(
        "frames in the wrong order",
        f.labels(lambda e: [e[1], e[0], *e[2:]], BOTH),
        "labels_are_in_order",
        REAL,
    ),
    Kind(
        "clips interleaved",
        f.labels(lambda e: [e[0], e[3], e[1], e[4], e[2], e[5]], BOTH),
        "labels_are_in_order",
        REAL,
    ),
    Kind(
        "the two files list clips in another order",
        f.labels(lambda e: [*e[3:], *e[:3]], BOTH[:1]),
        "labels_list_the_same",
        CONDITION,
    ),
    Kind(
        "a picture named .jpg",
        f.as_jpeg_names,
        "images_are_png",
        f"{IMAGES}/{FRAME}.jpg",
        ("picture_is_stored_as_png",),
    ),
    Kind("a frame gap", f.remove_frames(FRAME), "frames_have_no_gaps", f"{IMAGES}/anna"),
    Kind(
        "a clip of one frame among videos",
        f.remove_frames("bert/00001", "bert/00002"),
        "clips_have_several_frames",
        f"{IMAGES}/bert",
    ),
    Kind(
        "no coefficients of a frame", f.remove(COEFFICIENTS, ".npy"), "frames_are_complete", FITTED
    ),
    Kind("no UV map of a frame", f.remove(UVS, ".npy"), "frames_are_complete", UV),
    Kind("no texture of a frame", f.remove(UVS, "_uvgttex.png"), "frames_are_complete", TEXTURE),
    Kind("no raster of a frame", f.remove(RASTERS, ".npy"), "frames_are_complete", RASTER),
    Kind("no mask of a frame", f.remove(HEADS, ".png"), "frames_are_complete", HEAD),
    Kind("a picture is missing", f.remove(IMAGES, ".png"), "labels_have_images", REAL),
    Kind("no folder of UV maps", lambda r: shutil.rmtree(r / UVS), "folders_are_there", UVS),
    Kind(
        "no masks at all",
        lambda r: [shutil.rmtree(r / folder) for folder in (HEADS, PERSONS)],
        "folders_are_there",
        PERSONS,
    ),
    Kind("a file of zero bytes", f.cut(UVS, ".npy", 0), "files_are_not_empty", UV),
    Kind("a link in place of a file", f.link, "files_are_no_links", FITTED),
    Kind(
        "an interrupted writer's file",
        lambda r: np.save(r / IMAGES / f"{FRAME}.camera.npy", np.zeros(25)),
        "nothing_is_left_over",
        f"{IMAGES}/{FRAME}.camera.npy",
    ),
)

CAMERAS = (
    Kind("a label of 24 numbers", f.numbers(lambda v: v[:24]), "camera_has_25_numbers", REAL),
    Kind("NaN in a label", f.numbers(f.put(3, np.nan)), "camera_is_finite", REAL),
    Kind("matrix transposed", f.pose(lambda m: m.T), "pose_is_not_transposed", REAL),
    Kind(
        "intrinsics before the pose",
        f.numbers(lambda v: np.roll(v, 9)),
        "matrices_end_as_they_should",
        REAL,
    ),
    Kind(
        "not a rotation",
        f.pose(f.scale((slice(0, 3), 0), 1.5)),
        "pose_is_a_rotation",
        REAL,
    ),
    Kind("flipped handedness", f.pose(f.turn_axes(-1, 1, 1)), "pose_is_right_handed", REAL),
    Kind("two axes swapped", f.pose(swap(1, 0, 2, 3)), "pose_is_right_handed", REAL),
    Kind("rows swapped", f.pose(lambda m: m[[1, 0, 2, 3]]), "pose_is_right_handed", REAL),
    Kind("OpenGL's axes", f.pose(f.turn_axes(1, -1, -1)), "camera_looks_at_the_head", REAL),
    Kind("PyTorch3D's axes", f.pose(f.turn_axes(-1, -1, 1)), "camera_is_upright", REAL),
    Kind("Blender's world", f.pose(f.blender_world), "camera_is_upright", REAL),
    Kind(
        "translation in mm",
        f.pose(f.scale((slice(0, 3), 3), 1000.0)),
        "camera_is_at_a_heads_distance",
        REAL,
    ),
    Kind(
        "the rotation transposed",
        f.pose(f.transposed_turn),
        "camera_aims_at_the_head",
        REAL,
    ),
    Kind(
        "focal length in pixels",
        f.lens(f.scale(([0, 1], [0, 1]), 512)),
        "focal_length_is_the_layouts",
        REAL,
    ),
    Kind(
        "another focal length",
        f.lens(f.put(([0, 1], [0, 1]), 2.985)),
        "focal_length_is_the_layouts",
        REAL,
    ),
    Kind("fx and fy differ", f.lens(f.put((1, 1), 3.2)), "focal_length_is_the_layouts", REAL),
    Kind(
        "principal point in pixels",
        f.lens(f.put(([0, 1], 2), 256.0)),
        "principal_point_is_the_centre",
        REAL,
    ),
    Kind(
        "principal point at a corner",
        f.lens(f.put(([0, 1], 2), 0.0)),
        "principal_point_is_the_centre",
        REAL,
    ),
    Kind("skew", f.lens(f.put((0, 1), 0.2)), "intrinsics_have_no_skew", REAL),
    Kind(
        "dataset.json has another frame's camera",
        f.pose(lambda m: f.camera.orbit(0.9, 0.2).astype(float), BOTH[:1]),
        "both_cameras_see_the_same",
        CONDITION,
    ),
    Kind(
        "OpenGL's axes in dataset.json",
        f.pose(f.turn_axes(1, -1, -1), BOTH[:1]),
        "camera_looks_at_the_head",
        CONDITION,
    ),
    Kind("world and camera exchanged", f.pose(f.inverse), "camera_aims_at_the_head", REAL),
    Kind(
        "another frame's camera",
        f.pose(lambda m: f.camera.orbit(0.4, -0.2).astype(float), BOTH),
        "camera_agrees_with_the_maps",
        REAL,
    ),
)

PICTURES = (
    Kind("a truncated picture", f.cut(IMAGES, ".png", 0.6), "file_is_readable", IMAGE),
    Kind(
        "text in place of a picture",
        lambda r: f.own(r / IMAGE).write_text("no"),
        "file_is_readable",
        IMAGE,
    ),
    Kind(
        "a picture that is not square",
        f.picture(IMAGES, lambda p: p[:400]),
        "image_is_square",
        IMAGE,
    ),
    Kind(
        "a picture of another size",
        f.picture(IMAGES, lambda p: p[::2, ::2]),
        "image_has_the_layouts_size",
        IMAGE,
    ),
    Kind(
        "a grey picture",
        f.stored(IMAGES, lambda i, p: i.convert("L").save(p)),
        "picture_has_8_bit_colours",
        IMAGE,
    ),
    Kind(
        "a picture with alpha",
        f.stored(IMAGES, lambda i, p: i.convert("RGBA").save(p)),
        "picture_has_8_bit_colours",
        IMAGE,
    ),
    Kind(
        "a picture of 16 bits",
        f.picture(IMAGES, lambda p: p[..., 0].astype(np.uint16) * 257),
        "picture_has_8_bit_colours",
        IMAGE,
    ),
    Kind(
        "JPEG under a name of PNG",
        f.stored(IMAGES, lambda i, p: i.save(p, "JPEG")),
        "picture_is_stored_as_png",
        IMAGE,
    ),
    Kind("a black picture", f.picture(IMAGES, lambda p: p * 0), "image_shows_something", IMAGE),
    Kind(
        "a picture of one colour",
        f.picture(IMAGES, lambda p: p * 0 + np.uint8(90)),
        "image_shows_something",
        IMAGE,
    ),
    Kind(
        "a frame twice",
        f.from_other(IMAGES, ".png", "anna/00000"),
        "image_is_no_copy",
        IMAGE,
        ("texture_shows_the_image",),
    ),
    Kind(
        "a texture of another size",
        f.picture(UVS, lambda p: p[::2, ::2], "_uvgttex.png"),
        "texture_has_the_layouts_size",
        TEXTURE,
    ),
    Kind(
        "unseen texels black",
        f.picture(UVS, lambda p: np.where((p == 255).all(-1, keepdims=True), 0, p), "_uvgttex.png"),
        "texture_is_white_where_unseen",
        TEXTURE,
    ),
    Kind(
        "a texture of other colours",
        f.picture(
            UVS,
            lambda p: np.where((p == 255).all(-1, keepdims=True), 255, p[..., ::-1]),
            "_uvgttex.png",
        ),
        "texture_shows_the_image",
        TEXTURE,
    ),
    Kind(
        "the picture mirrored",
        f.picture(IMAGES, lambda p: p[:, ::-1]),
        "texture_shows_the_image",
        TEXTURE,
    ),
    Kind(
        "a mask of another size",
        f.picture(HEADS, lambda p: p[::2, ::2]),
        "mask_has_the_images_size",
        HEAD,
    ),
    Kind(
        "a mask of 16 bits",
        f.picture(HEADS, lambda p: p.astype(np.uint16) * 257),
        "mask_has_8_bit_levels",
        HEAD,
    ),
    Kind(
        "a mask of 0 and 1", f.picture(PERSONS, lambda p: p // 255), "mask_goes_up_to_255", PERSON
    ),
    Kind(
        "a mask of class numbers",
        f.picture(HEADS, lambda p: p // 255 * 13),
        "mask_goes_up_to_255",
        HEAD,
    ),
    Kind("an empty mask", f.picture(PERSONS, lambda p: p * 0), "mask_is_not_empty", PERSON),
    Kind("a full mask", f.picture(PERSONS, lambda p: p | 255), "mask_is_not_full", PERSON),
    Kind("a mask inverted", f.picture(HEADS, lambda p: 255 - p), "mask_is_not_inverted", HEAD),
    Kind(
        "a mask shifted",
        f.picture(PERSONS, lambda p: np.roll(p, 130, 1)),
        "mask_covers_the_face",
        PERSON,
    ),
    Kind(
        "a landmark picture of another size",
        f.picture(CONTOURS, lambda p: p[::2, ::2]),
        "contours_have_the_images_size",
        f"{CONTOURS}/{FRAME}.png",
    ),
)

ARRAYS = (
    Kind("an array cut off", f.cut(RASTERS, ".npy", 0.5), "file_is_readable", RASTER),
    Kind(
        "a raster of another size",
        f.array(RASTERS, lambda a: a[::2, ::2]),
        "raster_has_the_layouts_shape",
        RASTER,
    ),
    Kind(
        "a raster with channels first",
        f.array(RASTERS, lambda a: a.transpose(2, 0, 1)),
        "raster_has_the_layouts_shape",
        RASTER,
    ),
    Kind(
        "a raster of whole numbers",
        f.array(RASTERS, lambda a: (a * 127).astype(np.int16)),
        "array_holds_real_numbers",
        RASTER,
    ),
    Kind("NaN in a raster", f.array(RASTERS, f.put((9, 9, 0), np.nan)), "array_is_finite", RASTER),
    Kind("a raster in texels", f.array(RASTERS, lambda a: a * 255), "raster_is_in_range", RASTER),
    Kind(
        "a raster's mask half there",
        f.array(RASTERS, f.scale((..., 2), 0.6)),
        "raster_mask_is_binary",
        RASTER,
    ),
    Kind(
        "a raster's mask empty", f.array(RASTERS, f.put((..., 2), 0)), "raster_shows_a_face", RASTER
    ),
    Kind(
        "a raster's mask inverted",
        f.array(RASTERS, lambda a: np.concatenate([a[..., :2], 1 - a[..., 2:]], -1)),
        "raster_mask_is_where_uv_is",
        RASTER,
    ),
    Kind("a raster upside down", f.array(RASTERS, lambda a: a[::-1]), "raster_is_upright", RASTER),
    Kind(
        "a raster mirrored",
        f.array(RASTERS, lambda a: a[:, ::-1]),
        "raster_is_not_mirrored",
        RASTER,
    ),
    Kind(
        "a raster with columns before rows",
        f.array(RASTERS, lambda a: a.swapaxes(0, 1)),
        "raster_is_not_transposed",
        RASTER,
    ),
    Kind("u and v swapped", f.array(RASTERS, swap(1, 0, 2, 3)), "raster_has_u_before_v", RASTER),
    Kind(
        "a UV map of another size",
        f.array(UVS, lambda a: a[::2, ::2]),
        "uv_has_the_layouts_shape",
        UV,
    ),
    Kind("NaN in a UV map", f.array(UVS, f.put((3, 4, 1), np.nan)), "array_is_finite", UV),
    Kind(
        "a UV map in pixels",
        f.array(UVS, lambda a: np.add(a, [1, 1, 0]) * [256, 256, 1]),
        "uv_is_in_range",
        UV,
    ),
    Kind(
        "a UV map from 0 to 1",
        f.array(UVS, lambda a: np.add(a, [1, 1, 0]) / [2, 2, 1]),
        "uv_counts_from_the_centre",
        UV,
    ),
    Kind(
        "visibility that is not 0 or 1",
        f.array(UVS, f.scale((..., 2), 0.7)),
        "uv_visibility_is_binary",
        UV,
    ),
    Kind("nothing visible", f.array(UVS, f.put((..., 2), 0)), "uv_sees_something", UV),
    Kind("x and y swapped", f.array(UVS, swap(1, 0, 2)), "uv_has_x_before_y", UV),
    Kind("y upwards", f.array(UVS, f.scale((..., 1), -1)), "uv_has_y_downwards", UV),
    Kind("a UV map upside down", f.array(UVS, lambda a: a[::-1]), "uv_rows_grow_with_v", UV),
    Kind("another frame's UV map", f.from_other(UVS, ".npy"), "uv_is_of_this_frame", UV),
    Kind(
        "609 coefficients", f.array(COEFFICIENTS, lambda a: a[:609]), "coefficients_are_610", FITTED
    ),
    Kind(
        "572 coefficients beside a raster",
        f.array(RASTERS, lambda a: a[:572], "_coeff.npy"),
        "raster_coefficients_are_610",
        BESIDE,
    ),
    Kind(
        "NaN in coefficients", f.array(COEFFICIENTS, f.put(200, np.nan)), "array_is_finite", FITTED
    ),
    Kind(
        "coefficients all zero",
        f.array(COEFFICIENTS, lambda a: a * 0),
        "coefficients_are_not_zero",
        FITTED,
    ),
    Kind("scale 0", f.array(COEFFICIENTS, f.put(-1, 0)), "coefficients_have_a_scale", FITTED),
    Kind(
        "eyes in degrees",
        f.array(COEFFICIENTS, f.put(SLICES["eyes"], 8.0)),
        "coefficients_are_in_range",
        FITTED,
    ),
    Kind(
        "an identity out of range",
        f.array(COEFFICIENTS, f.put(3, 900.0)),
        "coefficients_are_in_range",
        FITTED,
    ),
    Kind(
        "another person's coefficients beside the raster",
        f.from_other(RASTERS, "_coeff.npy"),
        "coefficients_are_the_same_twice",
        BESIDE,
    ),
    Kind(
        "identity changes in a clip",
        lambda r: [f.from_other(COEFFICIENTS, ".npy")(r), f.from_other(RASTERS, "_coeff.npy")(r)],
        "identity_stays_within_a_clip",
        FITTED,
    ),
)

KINDS = (*LISTING, *CAMERAS, *PICTURES, *ARRAYS)
