from dataclasses import replace
from pathlib import Path
from zipfile import ZipFile

import numpy as np
import pytest
from PIL import Image

from anyseek.model.data.errors import SampleInvalid
from anyseek.model.rooms.catalogue import Furniture
from anyseek.model.rooms.mesh import corner_normals, load_mesh, sample
from tests.model.rooms.conftest import Boxes


def with_model(furniture: Furniture, path: Path, **files: str | bytes) -> Furniture:
    """The furniture with an archive of other files, `__` in their names standing for a dot."""
    with ZipFile(path, "w") as archive:
        for name, content in files.items():
            archive.writestr(f"box/{name.replace('__', '.')}", content)
    return replace(furniture, archive=path)


def test_a_mesh_has_its_catalogue_size_and_stands_on_the_origin(make_box: Boxes) -> None:
    mesh = load_mesh(make_box("box", size=(1.0, 2.0, 0.5)))
    corners = mesh.triangles.reshape(-1, 3)
    np.testing.assert_allclose(corners.min(axis=0), [-0.5, 0, -0.25], atol=1e-6)
    np.testing.assert_allclose(corners.max(axis=0), [0.5, 2, 0.25], atol=1e-6)
    assert len(mesh.triangles) == 12
    assert mesh.areas.sum() == pytest.approx(2 * (2 + 0.5 + 1))


def test_the_rotation_of_the_catalogue_is_applied_before_the_size(make_box: Boxes) -> None:
    box = make_box("box", size=(3.0, 1.0, 1.0))
    quarter = (0.0, 0.0, 1.0, 0.0, 1.0, 0.0, -1.0, 0.0, 0.0)
    wedge = "v 0 0 0\nv 1 0 0\nv 0 1 0\nv 0 0 1\nf 1 2 3\nf 1 3 4\nf 1 4 2\nf 2 3 4\n"
    mesh = load_mesh(replace(with_model(box, box.archive.with_name("w"), box__obj=wedge), rotation=quarter))
    top = mesh.triangles.reshape(-1, 3)[mesh.triangles.reshape(-1, 3)[:, 1] == 1]
    np.testing.assert_allclose(np.unique(top, axis=0), [[-1.5, 1, 0.5]], atol=1e-6)


def test_faces_may_count_backwards_and_skip_what_they_lack(make_box: Boxes) -> None:
    box = make_box("box")
    text = "v 0 0 0\nv 1 0 0\nv 0 1 1\nvt 0.25 0.5\nvn 0 0 1\nf -3/1/1 -2//1 -1\n"
    mesh = load_mesh(with_model(box, box.archive.with_name("n"), box__obj=text))
    assert mesh.triangles.shape == (1, 3, 3)
    np.testing.assert_allclose(mesh.uv[0], [[0.25, 0.5], [0, 0], [0, 0]])


@pytest.mark.parametrize(
    "text", ["", "v 0 0 0\nv 1 0 0\nf 1 2 3\n", "v 0 0 0\nv 1 1 1\nv 2 2 2\nf 1 2 3\n", "f a b c\n"]
)
def test_a_broken_model_is_an_error_that_names_it(make_box: Boxes, text: str) -> None:
    box = make_box("broken")
    with pytest.raises(SampleInvalid, match="broken"):
        load_mesh(with_model(box, box.archive.with_name("b"), box__obj=text))


def test_textures_repeat_and_start_below_on_the_left(make_box: Boxes, tmp_path: Path) -> None:
    picture = np.array([[[255, 0, 0], [0, 255, 0]], [[0, 0, 255], [255, 255, 255]]], np.uint8)
    Image.fromarray(picture).save(tmp_path / "t.png")
    box = make_box("box")
    files = {
        "box__obj": "mtllib box.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 1\nusemtl a\nf 1 2 3\n",
        "box__mtl": "newmtl a\nKd 0 0 0\nmap_Kd T.PNG\n",
        "t__png": (tmp_path / "t.png").read_bytes(),
    }
    (material,) = load_mesh(with_model(box, box.archive.with_name("t"), **files)).materials
    uv = np.array([[0.1, 0.1], [0.9, 0.1], [0.1, 0.9], [1.9, -0.1]], np.float32)
    np.testing.assert_allclose(sample(material, uv), [[0, 0, 1], [1, 1, 1], [1, 0, 0], [0, 1, 0]])


def test_a_missing_texture_leaves_the_colour(make_box: Boxes) -> None:
    box = make_box("box")
    text = "mtllib box.mtl\nv 0 0 0\nv 1 0 0\nv 0 1 1\nusemtl a\nf 1 2 3\n"
    broken = with_model(
        box, box.archive.with_name("m"), box__obj=text, box__mtl="newmtl a\nKd 0.2 0.4 0.6\nmap_Kd C:\\gone.jpg\n"
    )
    np.testing.assert_allclose(load_mesh(broken).materials[0].colour, [0.2, 0.4, 0.6], rtol=1e-6)


def test_edges_stay_sharp_and_curves_become_smooth(make_box: Boxes) -> None:
    cube = load_mesh(make_box("box"))
    assert (np.abs(np.abs(cube.normals).max(axis=2) - 1) < 1e-5).all()  # each along one axis
    around = np.linspace(0, 2 * np.pi, 25)
    low, high = (np.stack([np.cos(around), np.full(25, y), np.sin(around)], axis=1) for y in (0.0, 1.0))
    first = np.stack([low[:-1], high[:-1], low[1:]], axis=1)
    second = np.stack([low[1:], high[:-1], high[1:]], axis=1)
    tube = np.concatenate([first, second]).astype(np.float32)
    outward = tube * (1, 0, 1)
    agreement = np.abs(np.einsum("ncd,ncd->nc", corner_normals(tube), outward))
    assert agreement.min() > 0.999  # flat faces would have cos(7.5 degrees) = 0.991
