"""Calibration of predicted captions: fitted on pictures of many sources, and checked on each source left out.

    python -m anyseek.model.training.certainty PACKS --out runs/certainty
    python -m anyseek.model.training.certainty PACKS --out runs/certainty --write

PACKS has the packs `captions` and `photos` (docs/data.md). Of these only test splits are used, and of emoji only
concepts that no network was trained on. What the model says of each picture is kept in `--out`; delete the folder to
ask a changed model again. The table has a row for each source, by a fit without it: how often the chosen caption fits,
its expected calibration error (five bins of equal count), how many captions are sure, and how many of these fit.

A caption **fits** if at least half of its words are among those that people gave the picture, or mean the same (a
cosine of MiniLM's vectors of 0.65 or more). Captions of people do not name everything, so this is strict with details.
"""

import json
import re
from collections import Counter, defaultdict
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from pydantic import TypeAdapter
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import fetch_concepts, fetch_openmoji, split_of
from anyseek.model.data.sources.packs import CaptionsSource, PackOptions, PhotosOptions, PhotosSource
from anyseek.model.files import write_file
from anyseek.model.fourm.bundled.bundle import CERTAINTY, MANIFEST, WEIGHTS, check_bundle
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.prediction import decode_samples
from anyseek.model.galleries.openmoji import draw_svg
from anyseek.model.galleries.photos import FOLDER, read_views
from anyseek.model.home import default_home
from anyseek.model.modalities.drawings import ByteArray
from anyseek.model.seam import PredictOptions
from anyseek.model.towers.captions import SIGNALS, Calibration, Candidate, Captioner, From

SURE = 0.75  # from this probability on a caption is said without doubt
_PEOPLE_SAID = ("flickr8k", "coco")  # the sources of captions whose words say what a photo shows
_MEANS_THE_SAME = 0.65
_BINS, _STEPS, _PENALTY = 5, 400, 1e-2
_NOTHING = """
a an the of in on with and it is are to at by photo picture photographed room there image photograph some
"""
_SAYING_NOTHING = frozenset(_NOTHING.split())
_EMPTY: frozenset[str] = frozenset()
_GROUPS = """
people: man men woman women boy girl child kid person people player lady guy baby toddler human
group: people crowd men women children kid two three four five team
crowd: people group audience
child: child children kid boy girl toddler baby
man: man men guy
woman: woman women lady
dog: dog puppy
face: face portrait
sea: sea ocean beach surf wave
fruit: apple banana orange lemon lime pear peach plum kiwi mango melon papaya pineapple pomegranate avocado fruit
fruit: nectarine satsuma grapefruit granny pink golden red-delicious cantaloupe anjou conference kaiser honeydew
fruit: watermelon
vegetable: potato tomato pepper carrot cabbage cucumber garlic ginger leek mushroom onion zucchini asparagu aubergine
vegetable: beet
drink: juice milk yoghurt water wine beer coffee tea
shirt: shirt tshirt longsleeve polo blouse undershirt top
snow: snow ski skier skiing snowboard snowboarder sled snowy
ski: ski skier skiing
jean: pant trouser
trunk: short
building: house church tower palace temple castle pagoda minaret
"""
_MEMBERS: dict[str, frozenset[str]] = {}  # words of people that a more general word stands for
for _line in _GROUPS.strip().splitlines():
    _word, _, _members = _line.partition(": ")
    _MEMBERS[_word] = _MEMBERS.get(_word, _EMPTY) | frozenset(_members.split())


@dataclass(frozen=True)
class Said:
    """A model's candidates for one picture of a source, and whether each fits it."""

    source: str
    candidates: tuple[Candidate, ...]
    fitting: tuple[bool, ...]

    def fits(self, text: str) -> bool:
        """Return whether the candidate of that text fits."""
        return next(fit for each, fit in zip(self.candidates, self.fitting, strict=True) if each.text == text)


Picture = tuple[str, ByteArray, Sequence[str]]  # source, pixels, what people said of it


def pictures(packs: Path, home: Path, most: int) -> Iterator[Picture]:
    """At most `most` pictures of each source, the last being emoji and rooms. Raises `SourceUnavailable`."""
    captions = CaptionsSource("captions", PackOptions(path=packs / "captions"))
    keys = defaultdict[str, list[str]](list)
    for key in captions.keys(Split.TEST):
        keys[str(captions.sample(key).attributes["source"])].append(key)
    for source in _PEOPLE_SAID:
        for sample in map(captions.sample, _evenly(keys[source], most)):
            yield source, sample.values["rgb"], [caption.text for caption in sample.values["caption"]]
    photos = PhotosSource("photos", PhotosOptions(path=packs / "photos", labelled=True))
    keys.clear()
    for key in photos.keys(Split.TEST):
        keys[photos.source_of(key)].append(key)
    for source, own in sorted(keys.items()):
        for key in _evenly(own, most):
            yield source, photos.picture(key), [photos.shown_class(key) or "", *photos.sample(key).attributes["tags"]]
    concepts = fetch_concepts(home / "downloads")
    unseen = {code for code in concepts if split_of(code) is Split.TEST}
    for drawing in _evenly([art for art in fetch_openmoji(home / "downloads") if art.hexcode in unseen], most):
        concept = concepts[drawing.hexcode]
        yield "openmoji", draw_svg(drawing.svg), [concept.label, *concept.tags]
    for view in _evenly(read_views(), most):
        with Image.open(FOLDER / view["file"]) as picture:
            yield "rooms", np.asarray(picture.convert("RGB")), [caption["text"] for caption in view["captions"]]


def _evenly(things: Sequence, most: int) -> list:  # type: ignore[type-arg]
    return [things[n] for n in np.linspace(0, len(things) - 1, min(most, len(things))).astype(int)]


def captioned(folder: Path, shown: Iterable[Picture]) -> Iterator[Said]:
    """The candidates of the model in a bundle's folder for pictures. Raises ValueError if it has no towers."""
    model = load_bundled(folder.name, default_home(), folder)
    joint, specialists = model.embedding.joint, model.parts.specialists
    if joint is None or specialists is None:
        raise ValueError(f"{folder} has no towers")
    captioner = Captioner(joint.towers, specialists.look, specialists.sentences, None)
    for source, picture, truths in shown:
        own = decode_samples(model.parts, [{"rgb": picture}], ["caption"], PredictOptions())[0]["caption"].value
        candidates = tuple(captioner.candidates(specialists.look(picture), str(own)))
        fitting = judged([each.text for each in candidates], truths, specialists.sentences)
        yield Said(source, candidates, tuple(fitting))


def judged(texts: Sequence[str], truths: Sequence[str], sentences: Callable[[list[str]], Tensor]) -> list[bool]:
    """Return whether captions fit what people said, as the rule above says; `sentences` gives unit vectors of texts."""
    known = {word for truth in truths for word in _words(truth)}
    words = [_words(text) for text in texts]
    vectors = sentences([*(" ".join(sorted(each)) or "-" for each in words), *truths])
    alike = (vectors[: len(texts)] @ vectors[len(texts) :].T).amax(dim=1) >= _MEANS_THE_SAME
    return [
        bool(each)
        and (2 * sum(word in known or bool(_MEMBERS.get(word, _EMPTY) & known) for word in each) >= len(each) or near)
        for each, near in zip(words, alike.tolist(), strict=True)
    ]


def _words(text: str) -> set[str]:
    found = (word for word in re.findall(r"[a-z]+", text.lower()) if word not in _SAYING_NOTHING)
    return {word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word for word in found}


def fitted(said: Sequence[Said]) -> Calibration:
    """A logistic regression for each origin, in which every source counts the same."""
    weights = {}
    for origin in From:
        rows = [
            (each.source, candidate.signals, float(fit))
            for each in said
            for candidate, fit in zip(each.candidates, each.fitting, strict=True)
            if candidate.origin is origin
        ]
        counts = Counter(source for source, _, _ in rows)
        share = torch.tensor([1 / counts[source] for source, _, _ in rows])
        signals, right = (torch.tensor(column) for column in list(zip(*rows, strict=True))[1:])
        weights[origin] = _regression(signals, right, share / share.sum())
    return Calibration(weights, SURE)


def _regression(signals: Tensor, right: Tensor, share: Tensor) -> tuple[float, ...]:
    """Weights of the signals (n, SIGNALS) and a constant, by Newton's steps with a small penalty."""
    mean, spread = signals.mean(dim=0), signals.std(dim=0).clamp(min=1e-6)
    x = torch.cat([(signals - mean) / spread, torch.ones(len(signals), 1)], dim=1).double()
    w, penalty = torch.zeros(SIGNALS + 1, dtype=torch.float64), torch.full((SIGNALS + 1,), _PENALTY).double()
    penalty[-1] = 1e-6
    for _ in range(_STEPS):
        predicted = torch.sigmoid(x @ w)
        slope = x.T @ (share * (predicted - right)) + penalty * w
        curve = x.T @ ((share * predicted * (1 - predicted))[:, None] * x) + torch.diag(penalty)
        step = torch.linalg.solve(curve, slope)
        w = w - step
        if float(step.abs().max()) < 1e-8:
            break
    scaled = w[:-1] / spread
    return tuple(round(float(number), 4) for number in (*scaled, w[-1] - (scaled * mean).sum()))


def measured(said: Sequence[Said], calibration: Calibration) -> dict[str, float]:
    """Rates of captions under a calibration, as shares from 0 to 1 by the name of their column.

    `right ones kept` is of the network's own captions that fit, how many are still the chosen ones.
    """
    chosen = [calibration.ordered(each.candidates)[0] for each in said]
    right = np.array([each.fits(guess.text) for each, guess in zip(said, chosen, strict=True)])
    probability = np.array([guess.probability for guess in chosen])
    sure = probability >= calibration.sure
    own = [next((c.text for c in each.candidates if c.origin is From.NETWORK), None) for each in said]
    own_right = np.array([text is not None and each.fits(text) for each, text in zip(said, own, strict=True)])
    kept = np.array([guess.text == text for guess, text in zip(chosen, own, strict=True)])
    bins = [part for part in np.array_split(np.argsort(probability), _BINS) if len(part)]
    error = sum(len(part) * abs(right[part].mean() - probability[part].mean()) for part in bins) / len(said)
    return {
        "network alone right": float(own_right.mean()),
        "chosen right": float(right.mean()),
        "ECE": float(error),
        "sure": float(sure.mean()),
        "right of the sure": float(right[sure].mean()) if sure.any() else float("nan"),
        "right ones kept": float(kept[own_right].mean()) if own_right.any() else float("nan"),
    }


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--model", "folder", type=click.Path(file_okay=False, path_type=Path), default=WEIGHTS / "4m-tiny")
@click.option("--most", type=click.IntRange(20), default=80, help="Pictures of each source.")
@click.option("--write", is_flag=True, help="Put the fit of all sources in the model's manifest.")
def main(packs: Path, out: Path, folder: Path, most: int, write: bool) -> None:
    """Fit how sure captions are, and print how right that is of sources left out."""
    path, saved = out / f"{folder.resolve().name}.json", TypeAdapter(list[Said])
    if not path.is_file():
        out.mkdir(parents=True, exist_ok=True)
        found = list(captioned(folder.resolve(), pictures(packs, default_home(), most)))
        write_file(path, saved.dump_json(found).decode())
    said = saved.validate_json(path.read_bytes())
    for source in (sources := dict.fromkeys(each.source for each in said)):
        own = [each for each in said if each.source == source]
        row = measured(own, fitted([each for each in said if each.source != source]))
        if source == next(iter(sources)):
            click.echo(" | ".join(["source", "pictures", *row]))
        click.echo(" | ".join([source, str(len(own)), *(f"{share:.2f}" for share in row.values())]))
    if write:
        write_calibration(folder, fitted(said))


def write_calibration(folder: Path, calibration: Calibration) -> None:
    """Put a calibration in a bundle's manifest; its fingerprint stays, since no vector changes."""
    manifest = json.loads((folder / MANIFEST).read_text(encoding="utf-8"))
    manifest[CERTAINTY] = {"sure": calibration.sure, "weights": dict(calibration.weights)}
    write_file(folder / MANIFEST, json.dumps(manifest, indent=2, sort_keys=True) + "\n")
    check_bundle(folder.name, folder.resolve())


if __name__ == "__main__":
    main()
