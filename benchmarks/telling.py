"""How often what the bundled model tells of photos is right: what they show, whether with people, and where.

    python -m benchmarks.telling PACKS
    python -m benchmarks.telling PACKS --write model/weights/4m-tiny

Each answer is measured on each source with weights fitted to the other sources. The truth is what people said: captions
(a word for people; words for places indoors, or outdoors, but not both), labels, and regions. "not people" is measured
and never told. Everything is told from thumbnails, as in an index. `--write` puts the fit to all sources into a
bundle's manifest.
"""

import io
import json
import re
import tarfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anyseek.model.files import write_file
from anyseek.model.fourm.bundled.bundle import ANSWERS, MANIFEST, WEIGHTS, load_bundle
from anyseek.model.fourm.bundled.loading import captioner_of, load_bundled
from anyseek.model.home import default_home
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.modalities.reading.pictures import thumbnail
from anyseek.model.towers.captions import Captioner
from anyseek.model.towers.telling import Answers, Question
from anyseek.model.training.towers.certainty import Asked

SURE = 0.85
PENALTY = 0.1  # of squared weights, of words in standard deviations


def _each(words: str) -> frozenset[str]:
    return frozenset(words.split())


_PEOPLE = _each(
    "man men woman women boy boys girl girls child children kid kids baby babies person people lady "
    "ladies guy guys crowd toddler toddlers player players skier surfer snowboarder skateboarder rider "
    "cyclist biker climber teenager couple family team adult adults"
)
_OUTDOORS = _each(
    "beach street snow snowy mountain mountains field ocean sea river lake park grass grassy sand sandy "
    "hill hillside forest woods sky road sidewalk outside outdoors trail cliff waves wave yard lawn slope"
)
_INDOORS = _each(
    "kitchen bathroom bedroom room indoors indoor inside office toilet sink refrigerator stove couch sofa "
    "oven bed bathtub desk hallway restaurant"
)


@dataclass(frozen=True)
class Photo:
    """A photo, what is true of it where that is known, and the words that people gave it."""

    source: str
    pixels: ByteArray
    truth: dict[Question, bool]
    words: tuple[str, ...] = ()


@dataclass(frozen=True)
class Seen:
    """How well words fit a photo (words,), and what is true of it."""

    source: str
    fits: Tensor
    truth: dict[Question, bool]


@dataclass(frozen=True)
class Row:
    """How one answer ("people", "indoors", …) does on one source; shares are None where they are of nothing."""

    photos: int
    majority: float
    said: float
    precision: float | None
    recall: float | None


def of_captions(captions: Sequence[str]) -> dict[Question, bool]:
    """What captions say of a photo."""
    words = {word for caption in captions for word in re.findall("[a-z]+", caption.lower())}
    truth = {Question.PEOPLE: bool(words & _PEOPLE)}
    outdoors, indoors = bool(words & _OUTDOORS), bool(words & _INDOORS)
    return truth | {Question.INDOORS: indoors} if outdoors != indoors else truth


def fitted(seen: Sequence[Seen]) -> Answers:
    """A logistic regression for each question, in which every source counts the same."""
    return Answers({question: _regression(question, seen) for question in Question}, SURE)


def measured(seen: Sequence[Seen], answers: Answers, question: Question, answer: bool) -> Row:
    """How often `answer` is said to a question, and is right. Those of other truth count only as wrong."""
    known = [each for each in seen if question in each.truth]
    right = np.array([each.truth[question] == answer for each in known])
    yes = np.array([answers.probability(question, each.fits) for each in known])
    said = (yes if answer else 1 - yes) >= answers.sure
    return Row(
        len(known),
        float(max(right.mean(), 1 - right.mean())),
        float(said.mean()),
        float(right[said].mean()) if said.any() else None,
        float(said[right].mean()) if right.any() else None,
    )


def _regression(question: Question, seen: Sequence[Seen]) -> tuple[float, ...]:
    """Weights of the words and a constant, by Newton's steps."""
    known = [each for each in seen if question in each.truth]
    counts = {source: sum(each.source == source for each in known) for source in {each.source for each in known}}
    share = torch.tensor([1 / counts[each.source] / len(counts) for each in known], dtype=torch.float64)
    right = torch.tensor([each.truth[question] for each in known], dtype=torch.float64)
    fits = torch.stack([each.fits for each in known]).double()
    mean, spread = fits.mean(dim=0), fits.std(dim=0).clamp(min=1e-6)
    rows = torch.cat([(fits - mean) / spread, torch.ones(len(fits), 1)], dim=1)
    penalty = torch.tensor([PENALTY] * fits.shape[1] + [1e-6], dtype=torch.float64)
    weights = torch.zeros(rows.shape[1], dtype=torch.float64)
    for _ in range(50):
        likely = torch.sigmoid(rows @ weights)
        slope = rows.T @ (share * (likely - right)) + penalty * weights
        bend = (rows.T * (share * likely * (1 - likely))) @ rows + torch.diag(penalty)
        weights -= torch.linalg.solve(bend, slope)
    plain = weights[:-1] / spread
    return tuple(round(float(each), 4) for each in (*plain, weights[-1] - plain @ mean))


def photos(packs: Path, most: int) -> Iterator[Photo]:
    """At most `most` photos of each source; those of captions and labels of splits that nothing was trained on."""
    counts: dict[str, int] = {}
    for path in sorted(packs.glob("*/*.tar")):
        for data, said in _members(path) if path.parent.name in _TRUTHS else ():
            found = _TRUTHS[path.parent.name](said)
            if found is None or counts.setdefault(said["source"], 0) >= most:
                continue
            counts[said["source"]] += 1
            with Image.open(io.BytesIO(data)) as image:
                pixels = np.asarray(image.convert("RGB"))
            with Image.open(io.BytesIO(thumbnail(pixels))) as image:
                yield Photo(said["source"], np.asarray(image.convert("RGB")), *found)


_Found = tuple[dict[Question, bool], tuple[str, ...]]


def _captioned(said: dict[str, Any]) -> _Found | None:
    is_told = said["source"] in ("flickr8k", "coco") and said["split"] in ("test", "val")
    return (of_captions(said["captions"]), ()) if is_told else None


def _labelled(said: dict[str, Any]) -> _Found | None:
    if said["split"] != "test" or not said["label"] or said["source"] == "clothing-dataset":
        return None
    truth = {Question.PEOPLE: "faces" in said["label"]}
    return (truth | {Question.INDOORS: True}, ()) if said["source"] == "grocery-store-dataset" else (truth, ())


def _measured_rooms(said: dict[str, Any]) -> _Found | None:
    if said["source"] != "nyu-depth-v2":
        return None
    people = {Question.PEOPLE: "person" in said["classes"]} if "classes" in said else {}
    return {Question.INDOORS: True} | people, ()


def _with_regions(said: dict[str, Any]) -> _Found | None:
    return ({Question.PEOPLE: True}, ()) if said["source"] == "clothing-co-parsing" else None


def _sketched(said: dict[str, Any]) -> _Found | None:
    return ({}, (said["label"],)) if said["source"] == "sketchy" else None


_TRUTHS = {
    "captions": _captioned,
    "photos": _labelled,
    "depth": _measured_rooms,
    "segmentation": _with_regions,
    "sketches": _sketched,
}


def _members(path: Path) -> Iterator[tuple[bytes, dict[str, Any]]]:
    with tarfile.open(path) as tar:
        photo = b""
        for member in tar:
            file = tar.extractfile(member)
            if file is not None and member.name.endswith(".webp"):
                photo = file.read()
            elif file is not None and member.name.endswith(".json") and photo and member.name[:6].isdigit():
                yield photo, json.loads(file.read())


def write_answers(folder: Path, answers: Answers) -> None:
    """Put answers into a bundle's manifest; its fingerprint stays, since no vector changes."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest[ANSWERS] = {"sure": answers.sure, "weights": dict(answers.weights)}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    load_bundle(folder.name, folder.resolve())


def _show(seen: Sequence[Seen]) -> None:
    click.echo("answer | source | photos | majority | said | precision | recall")
    for question, answer in ((each, yes) for each in Question for yes in (True, False)):
        asked = [each for each in seen if question in each.truth]
        for source in sorted({each.source for each in asked}):
            others = fitted([each for each in seen if each.source != source])
            row = measured([each for each in asked if each.source == source], others, question, answer)
            shares = ("-" if share is None else f"{share:.2f}" for share in (row.said, row.precision, row.recall))
            name = question.value if answer else f"not {question.value}"
            click.echo(f"{name} | {source} | {row.photos} | {row.majority:.2f} | {' | '.join(shares)}")


def _shown(captioner: Captioner, asked: Asked, labelled: Sequence[Photo]) -> None:
    """What `shows` says of photos with labels, of a source that its calibration was not fitted to."""
    said = right = words = 0
    for photo in labelled:
        told = captioner.tell(photo.pixels).get("shows")
        if told is not None and isinstance(told.value, tuple):
            fits = asked.judged(list(told.value), photo.words)
            said, right, words = said + 1, right + sum(fits), words + len(fits)
    most = max(sum(other.words == photo.words for other in labelled) for photo in labelled) / len(labelled)
    click.echo(
        f"shows | {labelled[0].source} | {len(labelled)} | {most:.2f} | {said / len(labelled):.2f} | "
        f"{right / max(1, words):.2f} of {words} words"
    )


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--model", "folder", type=click.Path(exists=True, path_type=Path), default=WEIGHTS / "4m-tiny")
@click.option("--limit", type=click.IntRange(2), default=300, help="At most so many photos of each source.")
@click.option("--write", is_flag=True, help="Put the fit into the bundle's manifest.")
def main(packs: Path, folder: Path, limit: int, write: bool) -> None:
    """Print how often each answer is said and right, and fit the answers."""
    asked = Asked.load(folder.resolve())
    model = load_bundled(folder.name, default_home(), folder.resolve())
    assert model.parts.specialists is not None
    captioner = captioner_of(load_bundle(folder.name, folder.resolve()), model.parts.specialists)
    seen, labelled = list[Seen](), list[Photo]()
    for photo in photos(packs, limit):
        if photo.words:
            labelled.append(photo)
        else:
            seen.append(Seen(photo.source, captioner.fits(asked.specialists.look(photo.pixels)), photo.truth))
    _show(seen)
    _shown(captioner, asked, labelled)
    if write:
        write_answers(folder, fitted(seen))


if __name__ == "__main__":
    main()
