"""How sure predicted captions are: fitted on pictures of many sources, and checked on each source left out.

    python -m anyseek.model.training.towers.certainty PACKS --out runs/certainty
    python -m anyseek.model.training.towers.certainty PACKS --out runs/certainty --write

PACKS has the packs `captions` and `photos` (docs/data.md). Of these only test splits are used, and of emoji only
concepts that no network was trained on. What the model says of each picture is kept in `--out`; delete the folder to
ask a changed model again. The table has a row for each source, by a fit without it: how often the chosen caption fits,
its expected calibration error (five bins of equal count), how many captions are sure, and how many of these fit.

A caption **fits** if at least half of its words are among those that people gave the picture, or mean the same (a
cosine of MiniLM's vectors of 0.65 or more). Captions of people do not name everything, so this is strict with details.
"""

import json
import re
from collections import defaultdict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import click
import numpy as np
import torch
from PIL import Image
from torch import Tensor

from anyseek.model.data.samples import Split
from anyseek.model.data.sources.emoji import fetch_concepts, fetch_openmoji, split_of
from anyseek.model.data.sources.packs import CaptionsSource, PackOptions, PhotosOptions, PhotosSource
from anyseek.model.files import write_file
from anyseek.model.fourm.bundled.bundle import CERTAINTY, MANIFEST, WEIGHTS, check_bundle
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.prediction import decode_samples
from anyseek.model.fourm.specialists import Specialists
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
_SAYING_NOTHING = """
a an the of in on with and it is are to at by photo picture photographed room there image photograph some
"""
_PEOPLE = """
man men woman women boy girl child kid person people player lady guy baby toddler human
"""
_FRUIT = """
apple banana orange lemon lime pear peach plum kiwi mango melon papaya pineapple pomegranate avocado fruit
nectarine satsuma grapefruit granny pink golden red-delicious cantaloupe anjou conference kaiser honeydew watermelon
"""
_VEGETABLES = """
potato tomato pepper carrot cabbage cucumber garlic ginger leek mushroom onion zucchini asparagu aubergine beet
"""
_EMPTY = frozenset(_SAYING_NOTHING.split())
_MEMBERS: Mapping[str, frozenset[str]] = {  # words of people that a more general word stands for
    "people": frozenset(_PEOPLE.split()),
    "group": frozenset({"people", "crowd", "men", "women", "children", "kid", "two", "three", "four", "five", "team"}),
    "crowd": frozenset({"people", "group", "audience"}),
    "child": frozenset(["child", "children", "kid", "boy", "girl", "toddler", "baby"]),
    "man": frozenset(["man", "men", "guy"]),
    "woman": frozenset(["woman", "women", "lady"]),
    "dog": frozenset(["dog", "puppy"]),
    "face": frozenset({"face", "portrait"}),
    "sea": frozenset(["sea", "ocean", "beach", "surf", "wave"]),
    "fruit": frozenset(_FRUIT.split()),
    "vegetable": frozenset(_VEGETABLES.split()),
    "drink": frozenset(["juice", "milk", "yoghurt", "water", "wine", "beer", "coffee", "tea"]),
    "shirt": frozenset(["shirt", "tshirt", "longsleeve", "polo", "blouse", "undershirt", "top"]),
    "snow": frozenset(["snow", "ski", "skier", "skiing", "snowboard", "snowboarder", "sled", "snowy"]),
    "ski": frozenset(["ski", "skier", "skiing"]),
    "jean": frozenset(["pant", "trouser"]),
    "trunk": frozenset(["short"]),
    "building": frozenset(["house", "church", "tower", "palace", "temple", "castle", "pagoda", "minaret"]),
}


@dataclass(frozen=True)
class Said:
    """What a model's candidates for one picture of a source are, and whether each fits it."""

    source: str
    candidates: tuple[Candidate, ...]
    fitting: tuple[bool, ...]


@dataclass(frozen=True)
class Row:
    """How captions of one source do: shares from 0 to 1; `own_right` is that of the network's captions alone."""

    source: str
    pictures: int
    own_right: float
    right: float
    calibration_error: float
    sure: float
    right_of_sure: float
    kept: float  # of the network's captions that fit, those that are still the chosen ones


Picture = tuple[str, ByteArray, Sequence[str]]  # source, pixels, what people said of it


def pictures(packs: Path, home: Path, most: int) -> Iterator[Picture]:
    """At most `most` pictures of each source. Raises `SourceUnavailable`."""
    captions = CaptionsSource("captions", PackOptions(path=packs / "captions"))
    of = defaultdict[str, list[str]](list)
    for key in captions.keys(Split.TEST):
        of[str(captions.sample(key).attributes["source"])].append(key)
    for source in _PEOPLE_SAID:
        for sample in map(captions.sample, _evenly(of[source], most)):
            yield source, sample.values["rgb"], [caption.text for caption in sample.values["caption"]]
    photos = PhotosSource("photos", PhotosOptions(path=packs / "photos", labelled=True))
    of = defaultdict(list)
    for key in photos.keys(Split.TEST):
        of[photos.source_of(key)].append(key)
    for source, keys in sorted(of.items()):
        for key in _evenly(keys, most):
            yield source, photos.picture(key), [photos.shown_class(key) or "", *photos.sample(key).attributes["tags"]]
    yield from _drawn(home, most)


def _drawn(home: Path, most: int) -> Iterator[Picture]:
    """Emoji of concepts that no network was trained on, and rooms of the demo."""
    concepts = fetch_concepts(home / "downloads")
    art = [
        drawing
        for drawing in fetch_openmoji(home / "downloads")
        if drawing.hexcode in concepts and split_of(drawing.hexcode) is Split.TEST
    ]
    for drawing in _evenly(art, most):
        concept = concepts[drawing.hexcode]
        yield "openmoji", draw_svg(drawing.svg), [concept.label, *concept.tags]
    for view in _evenly(read_views(), most):
        with Image.open(FOLDER / view["file"]) as picture:
            yield "rooms", np.asarray(picture.convert("RGB")), [caption["text"] for caption in view["captions"]]


@dataclass(frozen=True)
class Asked:
    """The model whose captions are judged: its parts, and the captioner that gives its candidates."""

    parts: FourMParts
    specialists: Specialists
    captioner: Captioner

    @classmethod
    def load(cls, folder: Path) -> "Asked":
        """The model of a bundle's folder. Raises what `load_bundled` raises, ValueError for one without towers."""
        model = load_bundled(folder.name, default_home(), folder)
        joint, specialists = model.embedding.joint, model.parts.specialists
        if joint is None or specialists is None:
            raise ValueError(f"{folder} has no towers")
        captioner = Captioner(joint.towers, specialists.look, specialists.sentences, None)
        return cls(model.parts, specialists, captioner)

    def say(self, found: Picture) -> Said:
        """The candidates for a picture, judged by what people said of it."""
        source, picture, truths = found
        own = decode_samples(self.parts, [{"rgb": picture}], ["caption"], PredictOptions())[0]["caption"].value
        candidates = tuple(self.captioner.candidates(self.specialists.look(picture), str(own)))
        return Said(source, candidates, tuple(self.judged([each.text for each in candidates], truths)))

    def judged(self, texts: Sequence[str], truths: Sequence[str]) -> list[bool]:
        """Whether captions fit what people said, as the rule above says."""
        known = {word for truth in truths for word in _words(truth)}
        words = [_words(text) for text in texts]
        shared = [
            sum(word in known or bool(_MEMBERS.get(word, frozenset()) & known) for word in each) for each in words
        ]
        vectors = self.specialists.sentences([*(" ".join(sorted(each)) or "-" for each in words), *truths])
        alike = (vectors[: len(texts)] @ vectors[len(texts) :].T).amax(dim=1) >= _MEANS_THE_SAME
        return [
            bool(each) and (2 * count >= len(each) or bool(near))
            for each, count, near in zip(words, shared, alike, strict=True)
        ]


def _words(text: str) -> set[str]:
    found = (word for word in re.findall(r"[a-z]+", text.lower()) if word not in _EMPTY)
    return {word[:-1] if word.endswith("s") and not word.endswith("ss") and len(word) > 3 else word for word in found}


def fitted(said: Sequence[Said]) -> Calibration:
    """A logistic regression for each origin, in which every source counts the same."""
    weights = {}
    for origin in From:
        rows = [
            (each.source, candidate.signals, fit)
            for each in said
            for candidate, fit in zip(each.candidates, each.fitting, strict=True)
            if candidate.origin is origin
        ]
        counts = {source: sum(row[0] == source for row in rows) for source in {row[0] for row in rows}}
        share = torch.tensor([1 / counts[source] for source, _, _ in rows])
        signals = torch.tensor([signals for _, signals, _ in rows])
        right = torch.tensor([float(fit) for _, _, fit in rows])
        weights[origin] = _regression(signals, right, share / share.sum())
    return Calibration(weights, SURE)


def _regression(signals: Tensor, right: Tensor, share: Tensor) -> tuple[float, ...]:
    """Weights of the signals (n, SIGNALS) and a constant, by Newton's steps with a small penalty."""
    mean, spread = signals.mean(dim=0), signals.std(dim=0).clamp(min=1e-6)
    x = torch.cat([(signals - mean) / spread, torch.ones(len(signals), 1)], dim=1).double()
    w, penalty = torch.zeros(SIGNALS + 1, dtype=torch.float64), torch.full((SIGNALS + 1,), _PENALTY).double()
    penalty[-1] = 1e-6
    for _ in range(_STEPS):
        told = torch.sigmoid(x @ w)
        slope = x.T @ (share * (told - right)) + penalty * w
        curve = x.T @ ((share * told * (1 - told))[:, None] * x) + torch.diag(penalty)
        step = torch.linalg.solve(curve, slope)
        w = w - step
        if float(step.abs().max()) < 1e-8:
            break
    scaled = w[:-1] / spread
    constant = w[-1] - (scaled * mean).sum()
    return tuple(round(float(number), 4) for number in (*scaled, constant))


def measured(said: Sequence[Said], calibration: Calibration, source: str) -> Row:
    """How a source's captions do with a calibration."""
    chosen = [calibration.ordered(each.candidates)[0] for each in said]
    right = np.array([_fit_of(each, guess.text) for each, guess in zip(said, chosen, strict=True)])
    told = np.array([guess.probability for guess in chosen])
    sure = told >= calibration.sure
    own = [_own(each) for each in said]
    own_right = np.array([text is not None and _fit_of(each, text) for each, text in zip(said, own, strict=True)])
    kept = np.array([guess.text == text for guess, text in zip(chosen, own, strict=True)])
    bins = [part for part in np.array_split(np.argsort(told), _BINS) if len(part)]
    error = sum(len(part) * abs(right[part].mean() - told[part].mean()) for part in bins) / len(said)
    return Row(
        source,
        len(said),
        float(own_right.mean()),
        float(right.mean()),
        float(error),
        float(sure.mean()),
        float(right[sure].mean()) if sure.any() else float("nan"),
        float(kept[own_right].mean()) if own_right.any() else float("nan"),
    )


def _own(said: Said) -> str | None:
    return next((each.text for each in said.candidates if each.origin is From.NETWORK), None)


def _fit_of(said: Said, text: str) -> bool:
    return next(fit for each, fit in zip(said.candidates, said.fitting, strict=True) if each.text == text)


def _evenly(things: Sequence, most: int) -> list:  # type: ignore[type-arg]
    return [things[n] for n in np.linspace(0, len(things) - 1, min(most, len(things))).astype(int)]


def gathered(folder: Path, packs: Path, out: Path, most: int) -> list[Said]:
    """What the model in a folder says of all pictures, from the file in `out` if it is there."""
    path = out / f"{folder.name}.json"
    if not path.is_file():
        asked = Asked.load(folder)
        said = [asked.say(found) for found in pictures(packs, default_home(), most)]
        out.mkdir(parents=True, exist_ok=True)
        write_file(path, json.dumps([asdict(each) for each in said]))
    return [_read_said(members) for members in json.loads(path.read_text())]


def _read_said(members: Mapping[str, object]) -> Said:
    candidates: list[dict[str, object]] = members["candidates"]  # type: ignore[assignment]
    return Said(
        str(members["source"]),
        tuple(Candidate(str(c["text"]), From(c["origin"]), tuple(c["signals"])) for c in candidates),  # type: ignore[arg-type]
        tuple(members["fitting"]),  # type: ignore[arg-type]
    )


@click.command()
@click.argument("packs", type=click.Path(exists=True, file_okay=False, path_type=Path))
@click.option("--out", type=click.Path(file_okay=False, path_type=Path), required=True)
@click.option("--model", "folder", type=click.Path(file_okay=False, path_type=Path), default=WEIGHTS / "4m-tiny")
@click.option("--most", type=click.IntRange(20), default=80, help="Pictures of each source.")
@click.option("--write", is_flag=True, help="Put the fit of all sources in the model's manifest.")
def main(packs: Path, out: Path, folder: Path, most: int, write: bool) -> None:
    """Fit how sure captions are, and print how right that is of sources left out."""
    said = gathered(folder.resolve(), packs, out, most)
    click.echo(
        "source | pictures | network alone right | chosen right | ECE | sure | right of the sure | right ones kept"
    )
    for source in dict.fromkeys(each.source for each in said):
        own = [each for each in said if each.source == source]
        row = measured(own, fitted([each for each in said if each.source != source]), source)
        shares = (row.own_right, row.right, row.calibration_error, row.sure, row.right_of_sure, row.kept)
        click.echo(" | ".join([row.source, str(row.pictures), *(f"{share:.2f}" for share in shares)]))
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
