"""Builds with real worker processes: what is made, what fails, and that an interrupted build ends in the same bytes."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time
from contextlib import suppress
from pathlib import Path

import pytest
import yaml

from anyseek.model.data.build import build, merge_classes, read_failures, verify
from anyseek.model.data.contents import sample_of
from anyseek.model.data.errors import BuildConflict, DataSetInvalid
from anyseek.model.data.making import Plan, make_plan, open_sources
from anyseek.model.data.recipe import Recipe
from anyseek.model.data.registry import BuildSettings
from anyseek.model.data.samples import Split
from anyseek.model.data.shards import DataSet, open_dataset
from tests.model.data.conftest import Silent, draw_pictures, recipe_over, written_recipe

Built = tuple[Recipe, DataSet, Silent]


def prediction_files(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(folder.iterdir())}


@pytest.fixture(scope="module")
def built(tmp_path_factory: pytest.TempPathFactory) -> Built:
    """A data set that one worker built, its recipe, and what the build reported."""
    folder = tmp_path_factory.mktemp("built")
    recipe, progress = recipe_over(draw_pictures(folder / "pictures")), Silent()
    return recipe, build(recipe, folder / "out", folder, 1, progress), progress


def test_a_data_set_is_built_checked_and_read(built: Built) -> None:
    _, made, progress = built
    assert progress.calls == [(settled, 25) for settled in range(26)]
    assert sum(made.samples(split) for split in Split) == 24
    assert all(made.samples(split) > 0 for split in Split)
    assert made.modalities == {
        **dict.fromkeys(("rgb", "canny_edge", "soft_edge", "color_palette", "metadata"), 24),
        "caption": 8,
    }
    assert made.sources[0].licence == "CC0"
    assert list(verify(made)) == []
    samples = [sample_of(entry) for split in Split for entry in made.entries(split)]
    assert {sample.key for sample in samples} == {f"{number:02d}.png" for number in range(24)}
    captioned = next(sample for sample in samples if sample.key == "09.png")
    assert captioned.values["caption"][0].text == "shape 9"
    assert captioned.attributes["n"] == 9
    assert min(captioned.values["rgb"].shape[:2]) == 32
    assert captioned.values["metadata"].values["original_width"] == 40


def test_failures_are_listed_with_key_step_and_reason(built: Built) -> None:
    _, made, progress = built
    (failure,) = read_failures(made.folder)
    assert made.failures == 1
    assert progress.failures == [failure]
    assert (failure.source, failure.key, failure.step) == ("folder", "broken.png", "source")
    assert "is not a picture" in failure.reason


def test_the_number_of_workers_and_being_run_again_change_nothing(built: Built, progress, tmp_path):
    recipe, first, _ = built
    build(recipe, tmp_path / "b", tmp_path, 3, progress)
    assert prediction_files(first.folder) == prediction_files(tmp_path / "b")
    assert build(recipe, first.folder, tmp_path, 1, progress) == first


def test_every_setting_and_file_that_decides_the_bytes_is_in_the_digest(make_recipe, tmp_path, pictures):
    def plan(**changes: object) -> Plan:
        recipe = make_recipe(**changes)
        settings = BuildSettings(tmp_path, recipe.image_size, recipe.splits)
        return make_plan(recipe, open_sources(recipe, settings), settings)

    changes = [{}, {"seed": 1}, {"image_size": 24}, {"shard_samples": 7}, {"labellers": []}, {"splits": {}}]
    digests = {plan(**change).digest for change in changes}
    assert len(digests) == 6
    assert plan().digest in digests
    (pictures / "00.png").write_bytes((pictures / "01.png").read_bytes() + b"more")
    assert plan().digest not in digests
    limited = [{"kind": "folder", "path": str(pictures), "licence": "CC0", "limit": 6}]
    assert plan(sources=limited) == plan(sources=limited)
    assert plan(sources=limited).samples == 6


def test_a_folder_of_another_recipe_or_of_other_things_is_refused(built: Built, make_recipe, progress, tmp_path):
    with pytest.raises(BuildConflict, match="another recipe"):
        build(make_recipe(seed=1), built[1].folder, tmp_path, 1, progress)
    (tmp_path / "mine").mkdir()
    (tmp_path / "mine" / "letter.txt").write_text("dear")
    with pytest.raises(BuildConflict, match="not empty"):
        build(make_recipe(), tmp_path / "mine", tmp_path, 1, progress)


def test_ids_with_two_names_are_refused():
    known = {"semseg": {1: "sofa"}}
    merge_classes(known, {"semseg": {1: "sofa", 2: "lamp"}})
    assert known == {"semseg": {1: "sofa", 2: "lamp"}}
    with pytest.raises(DataSetInvalid, match="'lamp' in one sample and 'sky' in another"):
        merge_classes(known, {"semseg": {2: "sky"}})


def write_recipe(tmp_path: Path, pictures: Path) -> Path:
    """A recipe whose samples take some time: larger pictures, two shards' worth of work at least."""
    path = tmp_path / "recipe.yaml"
    path.write_text(yaml.safe_dump(written_recipe(pictures, image_size=256, shard_samples=3)))
    return path


def start(recipe: Path, out: Path) -> "subprocess.Popen[bytes]":
    command = ["data", "build", str(recipe), "--out", str(out), "--workers", "1"]
    environment = {**os.environ, "ANYSEEK_HOME": str(recipe.parent / "home")}
    return subprocess.Popen(
        [sys.executable, "-c", "from anyseek.api.cli import main; main()", *command], env=environment
    )


def children_of(process: int) -> set[int]:
    path = Path(f"/proc/{process}/task/{process}/children")
    return {int(word) for word in path.read_text().split()}


def is_alive(process: int) -> bool:
    stat = Path(f"/proc/{process}/stat")
    with suppress(FileNotFoundError):
        return stat.read_text().rpartition(")")[2].split()[0] != "Z"
    return False


def wait_for(condition, seconds: float = 120.0) -> None:
    end = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < end, "it did not happen in time"
        time.sleep(0.01)


def test_killed_at_two_moments_it_goes_on_and_ends_in_the_same_bytes(tmp_path, pictures):
    recipe, whole, out = write_recipe(tmp_path, pictures), tmp_path / "whole", tmp_path / "out"
    assert start(recipe, whole).wait() == 3
    for shards in (0, 5):
        process = start(recipe, out)
        wait_for(lambda: (out / ".build").exists() and len(list((out / ".build").glob("*.tar.json"))) >= shards)  # noqa: B023
        workers = children_of(process.pid)
        process.send_signal(signal.SIGKILL)
        process.wait()
        wait_for(lambda: not any(is_alive(worker) for worker in workers))  # noqa: B023
        assert not (out / "dataset.json").exists()
    kept = {path.name: path.stat().st_mtime_ns for path in out.glob("*.tar")}
    recorded = {path.name.removesuffix(".json") for path in (out / ".build").glob("*.tar.json")}
    assert len(recorded) >= 5
    assert start(recipe, out).wait() == 3  # one picture is broken
    assert prediction_files(out) == prediction_files(whole)
    assert {name: (out / name).stat().st_mtime_ns for name in recorded} == {name: kept[name] for name in recorded}


def test_a_second_build_in_the_same_folder_is_refused(tmp_path, pictures, make_recipe, progress):
    recipe, out = write_recipe(tmp_path, pictures), tmp_path / "out"
    process = start(recipe, out)
    try:
        wait_for(lambda: (out / ".build" / "plan.json").exists())
        with pytest.raises(BuildConflict, match=r"another process|another recipe"):
            build(make_recipe(), out, tmp_path, 1, progress)
    finally:
        process.kill()
        process.wait()


def test_a_begun_build_of_another_recipe_is_refused(tmp_path, make_recipe, progress):
    (tmp_path / "out" / ".build").mkdir(parents=True)
    (tmp_path / "out" / ".build" / "plan.json").write_text(json.dumps({"digest": "other"}))
    with pytest.raises(BuildConflict, match="unfinished data set of another recipe"):
        build(make_recipe(), tmp_path / "out", tmp_path, 1, progress)


def test_verify_names_what_is_wrong(built: Built, tmp_path):
    out = tmp_path / "out"
    shutil.copytree(built[1].folder, out)
    first, second, *_ = built[1].splits[Split.TRAIN]
    data = bytearray((out / first.name).read_bytes())
    data[700] ^= 1
    (out / first.name).write_bytes(data)
    (out / second.name).unlink()
    (out / "failures.jsonl").write_text("")
    problems = "\n".join(verify(open_dataset(out)))
    assert f"{first.name} has sha256" in problems
    assert f"{second.name} is missing" in problems
    assert "failures.jsonl has 0 lines; the manifest says 1" in problems
