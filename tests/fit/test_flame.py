"""The topology of FLAME's mesh from the user's files."""

import numpy as np
import pytest
from PIL import Image

from invertavatar_jax.errors import UserError
from invertavatar_jax.fit import flame

OBJ = """# a square of two triangles with a seam
v 0 0 0
v 1 0 0 0.5 0.5 0.5
v 1 1 0
v 0 1 0
vt 0 0
vt 1 0
vt 1 1
vt 0 1
vt .5 .25
f 1/1 2/2/1 3/3
f 1/5 3/3 4/4
"""


def written(tmp_path, text):
    path = tmp_path / "head.obj"
    path.write_text(text)
    return path


def test_corners_have_their_own_uv(tmp_path):
    mask = np.zeros((512, 512, 3), np.uint8)
    mask[:, 256:, 0] = 255
    Image.fromarray(mask).save(tmp_path / "mask.png")
    mesh = flame.read_topology(written(tmp_path, OBJ), tmp_path / "mask.png")
    np.testing.assert_array_equal(mesh.triangles, [(0, 1, 2), (0, 2, 3)])
    np.testing.assert_array_equal(mesh.uv_triangles, [(0, 1, 2), (4, 2, 3)])
    np.testing.assert_allclose(mesh.uv[4], [0.5, 0.25])
    np.testing.assert_array_equal(mesh.mask[:, 0, 0], np.zeros(256))
    np.testing.assert_array_equal(mesh.mask[:, 128, 0], np.ones(256))


def test_a_checkpoints_buffers_give_the_same_mesh(tmp_path):
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(tmp_path / "mask.png")
    read = flame.read_topology(written(tmp_path, OBJ), tmp_path / "mask.png")
    named = {
        "faces": read.triangles[None].astype(np.int64),
        "raw_uvcoords": read.uv[None],
        "uvfaces": read.uv_triangles[None].astype(np.int64),
    }
    mesh = flame.from_released(named, np.ones((1, 1, 8, 8), np.float32))
    np.testing.assert_array_equal(mesh.triangles, read.triangles)
    np.testing.assert_array_equal(mesh.uv_triangles, read.uv_triangles)
    assert mesh.mask.shape == (8, 8, 1) and mesh.triangles.dtype == np.int32


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("v 0 0 0\n", "no triangles"),
        (OBJ.replace("f 1/1 2/2/1 3/3", "f 1 2 3 4"), "damaged or not made of triangles"),
        (OBJ.replace("v 1 1 0", "v 1 one 0"), "damaged"),
        (OBJ.replace("3/3 4/4", "3/3 9/4"), "does not exist"),
        ("v 0 0 0\nv 1 0 0\nv 1 1 0\nv 0 1 0\nf 1 2 3 4\n", "4 corners"),
    ],
)
def test_a_damaged_mesh_is_refused_by_name(tmp_path, text, reason):
    with pytest.raises(UserError, match=f"head.obj.*{reason}"):
        flame.read_topology(written(tmp_path, text), tmp_path / "mask.png")


def test_missing_files_and_missing_uvs_are_refused(tmp_path):
    with pytest.raises(UserError, match=r"nowhere\.obj"):
        flame.read_topology(tmp_path / "nowhere.obj", tmp_path / "mask.png")
    with pytest.raises(UserError, match=r"nowhere\.png"):
        flame.read_mask(tmp_path / "nowhere.png")
    plain = written(tmp_path, "v 0 0 0\nv 1 0 0\nv 1 1 0\nf 1 2 3\n")
    with pytest.raises(UserError, match="no UVs"):
        flame.read_topology(plain, tmp_path / "mask.png")
