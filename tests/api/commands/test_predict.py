"""`anyseek predict`, with published models of random weights, in this process and over a service."""

import io
import json
import signal
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import numpy as np
import pytest
from PIL import Image

from anyseek.api.commands.inputs import read_input
from anyseek.api.predictions.wire import Input
from anyseek.model.fourm.bundled import bundle
from tests.api.commands.conftest import Run, Serve
from tests.api.conftest import picture
from tests.random_bundle import write_random_bundle

QUICK = ("--model", "4M-21_B", "--decoding-steps", "1", "--steps", "1")


@pytest.fixture
def photo(tmp_path: Path) -> Path:
    file = tmp_path / "photo.png"
    file.write_bytes(picture("red", "disc"))
    return file


@pytest.fixture
def predict(run: Run, random_models: Path, photo: Path, tmp_path: Path) -> Run:
    """Predicts from a photo into `out` below the test's folder, with random weights."""

    def start(*arguments: str, **more: str) -> Any:
        given = ("--input", f"rgb={photo}", "--out", str(tmp_path / "out"))
        return run("predict", *given, *arguments, **{"ANYSEEK_HOME": str(random_models)} | more)

    return start


def _files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def test_each_target_has_a_folder_and_a_line(predict: Run, tmp_path: Path) -> None:
    targets = ("depth", "semseg", "text", "palette")
    done = predict(*(f"--target={name}" for name in targets), *QUICK)
    assert done.returncode == 0, done.stderr
    names = ["depth", "semseg", "caption", "color_palette"]
    assert [line.split()[0] for line in done.stdout.splitlines()] == names
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == sorted(names)
    assert [line for line in done.stderr.splitlines() if "picture of" in line] == ["predicting picture of depth"]
    files = _files(tmp_path / "out")
    assert Image.open(io.BytesIO(files["depth/depth.png"])).mode.startswith("I;16")
    assert np.load(io.BytesIO(files["depth/depth.npy"])).shape == (224, 224)
    assert Image.open(io.BytesIO(files["semseg/semseg.preview.png"])).size[1] > 448
    record = json.loads(files["caption/prediction.json"])
    assert record["model"] == "4M-21_B"
    assert record["targets"] == names
    assert record["options"] == {"steps": 1, "decoding_steps": 1}


@pytest.mark.slow
def test_super_resolution_gives_448_pixels(predict: Run, tmp_path: Path) -> None:
    done = predict("--target", "depth", "--super-resolution", "--json", *QUICK)
    assert done.returncode == 0, done.stderr
    assert done.stdout.count("\n") == 1
    (found,) = json.loads(done.stdout)["predictions"]
    assert found["folder"] == str(tmp_path / "out" / "depth")
    assert found["files"] == ["depth.png", "depth.npy", "depth.preview.png"]
    assert Image.open(tmp_path / "out" / "depth" / "depth.png").size == (448, 448)


def test_super_resolution_of_an_unsupported_target_is_refused(predict: Run, tmp_path: Path) -> None:
    done = predict("--target", "caption", "--super-resolution", *QUICK)
    assert done.returncode == 2
    assert "super-resolution predicts" in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_seed_repeats_and_another_one_does_not(predict: Run, tmp_path: Path) -> None:
    warm = ("--target", "dinov2_global", "--temperature", "5", "--top-p", "0", "--guidance", "1", *QUICK)
    found = []
    for seed in ("1", "1", "2"):
        assert predict(*warm, "--seed", seed, "--force").returncode == 0
        found.append((tmp_path / "out" / "dinov2_global" / "dinov2_global.npy").read_bytes())
    assert found[0] == found[1] != found[2]


def test_inputs_of_every_kind_with_weights(run: Run, random_models: Path, photo: Path, tmp_path: Path) -> None:
    (tmp_path / "boxes.json").write_text('[{"box": [0.1, 0.2, 0.8, 0.9], "label": "dog"}]')
    inputs = [f"rgb={photo}:0.7", "caption=snow at 10:30", "palette=#ff0000,#000000:-0.5", 'metadata={"brightness": 9}']
    inputs.append(f"bounding_boxes={tmp_path}/boxes.json")
    out = tmp_path / "out"
    given = [part for given_input in inputs for part in ("--input", given_input)]
    targets = ("--target", "dinov2_global", "--out", str(out), "--text-weight", "2", *QUICK)
    done = run("predict", *given, *targets, ANYSEEK_HOME=str(random_models))
    assert done.returncode == 0, done.stderr
    assert json.loads((out / "dinov2_global" / "prediction.json").read_text())["inputs"] == inputs


def test_inputs_are_parsed_by_modality(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("a.png:0.7").write_text("x")
    Path("words.txt").write_text("x")
    assert read_input("image=b.png") == Input("rgb", file=Path("b.png"))
    assert read_input("rgb=b.png:-0.5") == Input("rgb", file=Path("b.png"), weight=-0.5)
    assert read_input("rgb=a.png:0.7") == Input("rgb", file=Path("a.png:0.7"))
    assert read_input("text=at 10:30 = now") == Input("caption", text="at 10:30 = now")
    assert read_input("caption=words.txt", -1.0) == Input("caption", file=Path("words.txt"), weight=-1.0)
    assert read_input("caption=" + "long " * 2000).text == "long " * 2000
    assert read_input("palette=#ff0000:2") == Input("color_palette", text="#ff0000", weight=2.0)
    assert read_input('boxes=[{"box": 1}]') == Input("bounding_boxes", text='[{"box": 1}]')
    assert read_input("metadata=m.json") == Input("metadata", file=Path("m.json"))
    for wrong in ("rgb", "rgb=", "smell=a.png", "=a"):
        with pytest.raises(click.UsageError):
            read_input(wrong)


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("--target", "smell"), 2, "'smell' is not a modality"),
        (("--target", "t5_caption", *QUICK), 2, "does not predict t5_caption"),
        (("--target", "rgb", *QUICK), 2, "rgb is an input and a target"),
        (("--target", "depth", "--input", "normal=gone.png", *QUICK), 2, "gone.png"),
        (("--target", "depth", "--input", "boxes=[1]", *QUICK), 2, "[0] must map names to values, not 1"),
        (("--target", "depth", "--input", "rgb=again.png", *QUICK), 2, "again.png"),
        (("--target", "depth", "--model", "4M-21_XL"), 1, "anyseek models pull 4M-21_XL"),
        (("--target", "depth", "--model", "nobody"), 2, "4M-21_B"),
        (("--target", "depth", *QUICK, "--steps", "500"), 2, "196"),
        (("--target", "depth", *QUICK, "--guidance", "inf"), 2, "finite"),
        (("--target", "depth", *QUICK, "--guidance", "1e9"), 2, "guidance"),
        (("--target", "depth", "--out", __file__), 2, "is a file"),
        (("--target", "depth", "--form", "normal=left-up-near"), 2, "names normal, but no file"),
        (("--target", "depth", *QUICK, "--box", "0.5", "0", "0.5", "1"), 2, "empty"),
    ],
)
def test_errors_are_reported_and_nothing_is_written(
    predict: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    done = predict(*arguments)
    assert done.returncode == code, done.stderr
    assert says in done.stderr
    assert not (tmp_path / "out").exists()


def test_a_target_that_is_there_already_is_replaced_only_with_force(predict: Run, tmp_path: Path) -> None:
    folder = tmp_path / "out" / "metadata"
    folder.mkdir(parents=True)
    (folder / "mine.txt").write_text("x")
    for force in ((), ("--force",)):
        done = predict("--target", "metadata", *force, *QUICK)
        assert done.returncode == 2
        assert str(folder) in done.stderr
    assert _files(tmp_path / "out") == {"metadata/mine.txt": b"x"}


def test_bundled_weights_predict_what_they_can_and_name_what_they_cannot(
    predict: Run, bundled_home: Path, tmp_path: Path
) -> None:
    targets = ("--target", "human_pose", "--target", "visual_global")
    done = predict(*targets, ANYSEEK_HOME=str(bundled_home), ANYSEEK_MODEL="4m-tiny")
    assert done.returncode == 1
    assert done.stdout.startswith("visual_global")
    assert "does not predict human_pose" in done.stderr
    assert "anyseek models pull 4M-21_B" in done.stderr
    vector = np.load(tmp_path / "out" / "visual_global" / "visual_global.npy")
    assert vector.shape == (1280,)
    np.testing.assert_allclose(np.linalg.norm(vector), 1, atol=1e-5)


def test_bundled_weights_predict_texts(
    predict: Run, bundled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    says = {"caption": "a red house", "color_palette": "v1=1 v0=255 v0=0 v0=128", "metadata": "v1=5 v0=3"}
    write_random_bundle(tmp_path / "weights" / "4m-tiny", says)
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    targets = ("caption", "color_palette", "metadata", "visual_global")
    done = predict(
        *(f"--target={name}" for name in targets), "--json", ANYSEEK_HOME=str(bundled_home), ANYSEEK_MODEL="4m-tiny"
    )
    assert done.returncode == 0, done.stderr
    found = {prediction["modality"]: prediction["value"] for prediction in json.loads(done.stdout)["predictions"]}
    assert found["caption"] == "a red house"
    assert found["color_palette"] == ["#ff0080"]
    assert found["metadata"] == {"n_humans": 3}
    assert len(found["visual_global"]) == 1280
    assert (tmp_path / "out" / "caption" / "caption.txt").read_text().strip() == "a red house"


def test_bundled_weights_predict_images(
    predict: Run, bundled_home: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    targets = ("depth", "semseg", "canny_edge")
    write_random_bundle(tmp_path / "weights" / "4m-tiny", dense=targets)
    monkeypatch.setattr(bundle, "WEIGHTS", tmp_path / "weights")
    chosen = ("--steps", "2", "--temperature", "1", "--top-p", "0.9")
    done = predict(
        *(f"--target={name}" for name in (*targets, "normal")),
        *chosen,
        ANYSEEK_HOME=str(bundled_home),
        ANYSEEK_MODEL="4m-tiny",
    )
    assert done.returncode == 1, done.stderr
    assert "4m-tiny does not predict normal" in done.stderr
    out = tmp_path / "out"
    assert np.load(out / "depth" / "depth.npy").shape == (32, 32)
    with Image.open(out / "canny_edge" / "canny_edge.png") as drawing, Image.open(out / "semseg" / "semseg.png") as ids:
        assert (drawing.size, drawing.mode) == ((32, 32), "L")
        present = set(np.unique(np.asarray(ids)).tolist())
    classes = json.loads((out / "semseg" / "semseg.classes.json").read_text())
    assert classes == {number: name for number, name in {"1": "wall", "2": "chair"}.items() if int(number) in present}


@pytest.fixture
def service(random_models: Path, serve: Serve) -> Iterator[str]:
    with serve(random_models) as process:
        yield process.stdout.readline().split()[-1]
        process.send_signal(signal.SIGTERM)
        process.wait(20)


def test_the_recorded_service_predicts_only_its_own_model(predict: Run, service: str, tmp_path: Path) -> None:
    arguments = ("--target", "metadata", "--force", *QUICK)
    over_service = predict(*arguments, ANYSEEK_URL=service)
    assert over_service.returncode == 0, over_service.stderr
    assert "predicting" not in over_service.stderr  # it is the service that predicts
    files = _files(tmp_path / "out")
    here = predict(*arguments)  # the recorded service is one of the hashing model
    assert here.returncode == 0, here.stderr
    assert "predicting metadata" in here.stderr
    assert _files(tmp_path / "out") == files
    refused = predict("--target", "t5_caption", *QUICK, ANYSEEK_URL=service)
    assert refused.returncode == 2
    assert "does not predict t5_caption" in refused.stderr
