"""Modalities of one's own: what may be declared, and that every part of Anyseek then knows the name."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

from anyseek.model.errors import ModalityInvalid
from anyseek.model.modalities.registry import DECLARATIONS, PICTURE_SUFFIXES, Content, Modality, read_declarations

_PROGRAM = """
import io
import numpy as np
from anyseek.model.modalities.reading.decode import decode
from anyseek.model.data.contents import decode_value, encode_value
from anyseek.model.data.contents import perturb, downscale, stored_content
from anyseek.model.data.labellers.encoded import FeatureOptions
from anyseek.model.data.samples import DataSample
from anyseek.model.modalities.registry import MODALITIES, resolve
from anyseek.model.encoders.preprocess import render_for_encoder
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.inputs import InputKind, input_kind, pixels_of
from anyseek.model.modalities.reading.encoded import FileLimits

picture = np.zeros((40, 60, 3), np.uint8)
picture[10:20, 5:30] = (200, 30, 90)
name, data = encode_value("thermal", picture)
assert resolve("heat") is MODALITIES["thermal"]
assert np.array_equal(decode("heat", data, FileLimits(), name), picture)
assert np.array_equal(decode_value(name, data), picture)
assert downscale(DataSample("a", {"thermal": picture}), 20).values["thermal"].shape == (20, 30, 3)
assert FeatureOptions(of="thermal").of == "thermal"
assert ".jpg" in stored_content("thermal").suffixes and stored_content("range").suffixes == (".png", ".npy")
assert perturb("thermal", picture, np.random.default_rng(0)).shape == (224, 224, 3)
assert render_for_encoder("thermal", picture).shape == (224, 224, 3)
assert INPUTS["thermal"].key == "thermal_map" and INPUTS["thermal"].is_seen
kinds = [input_kind(name, TokenizerConfig(n_channels=n)) for name, n in (("thermal", 3), ("range", 1))]
assert kinds == [InputKind.PICTURE] * 2  # a tokenizer of a declared modality can be trained
assert pixels_of("thermal").channels == 3 and pixels_of("range").channels == 1
depth = np.full((4, 4), 2.0, np.float32)
assert np.allclose(decode_value(*encode_value("range", depth)), depth)
print("known everywhere")
"""


def _write(folder: Path, text: str) -> Path:
    path = folder / DECLARATIONS
    path.write_text(text, encoding="utf-8")
    return path


def test_declared_modalities_are_read(tmp_path: Path) -> None:
    path = _write(
        tmp_path, "thermal: {content: picture, describes: warm is bright, aliases: [heat]}\nrange: {content: depth}\n"
    )
    assert read_declarations(path) == {
        "thermal": Modality("thermal", Content.PICTURE, "warm is bright", ("heat",), PICTURE_SUFFIXES),
        "range": Modality("range", Content.DEPTH, "range", (), (".png", ".npy", ".npz", ".tif", ".tiff", ".exr")),
    }
    assert read_declarations(tmp_path / "none.yaml") == {}
    assert read_declarations(_write(tmp_path, "")) == {}


@pytest.mark.parametrize(
    ("text", "reason"),
    [
        ("thermal: {content: heat}", "needs a content of picture, drawing, depth"),
        ("thermal: {content: picture, colour: red}", "needs a content of"),
        ("thermal: picture", "needs a content of"),
        ("[thermal]", "must map names"),
        ("depth: {content: picture}", "is called 'depth'; it must be a new name"),
        ("soft_edge: {content: drawing}", "is called 'soft_edge'; it must be a new name"),
        ("thermal: {content: picture, aliases: [sketch]}", "is called 'sketch'; it must be a new name"),
        ("thermal: {content: picture, aliases: heat}", "is called None; it must be a new name"),
        ("Thermal-1: {content: picture}", "a new name of the letters a to z,"),
        ("a: {content: picture}\nb: {content: picture, aliases: [a]}", "is called 'a'; it must be a new name"),
        ("thermal: {content: [", "cannot be read"),
    ],
)
def test_what_cannot_be_declared_is_said(tmp_path: Path, text: str, reason: str) -> None:
    with pytest.raises(ModalityInvalid, match=reason):
        read_declarations(_write(tmp_path, text))


def _run(home: Path, *arguments: str) -> "subprocess.CompletedProcess[str]":
    environment = {**os.environ, "ANYSEEK_HOME": str(home)}
    return subprocess.run([sys.executable, *arguments], env=environment, capture_output=True, text=True, check=False)


def test_every_part_knows_a_declared_modality(tmp_path: Path) -> None:
    _write(tmp_path, "thermal: {content: picture, aliases: [heat]}\nrange: {content: depth}\n")
    done = _run(tmp_path, "-c", _PROGRAM)
    assert done.stdout == "known everywhere\n", done.stderr


def test_a_broken_file_is_one_line_for_the_user(tmp_path: Path) -> None:
    _write(tmp_path, "thermal: {}\n")
    done = _run(tmp_path, "-m", "anyseek", "query", "--collection", "a", "--input", "thermal=warm.png")
    assert done.returncode == 1
    assert done.stderr.startswith("anyseek: ")
    assert "modalities.yaml: the modality 'thermal' needs a content" in done.stderr
    assert done.stderr.count("\n") == 1
