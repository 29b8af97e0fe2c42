"""Make a bridge to an open_clip model: encode, fit in closed form, and write it below the data directory.

For each modality and each source in turn, everything is fitted to the other sources, and the source's values ask for
their photos. The setting that finds most on average is taken among those that are nowhere worse than the plain
rendering. With one source there is nothing to leave out: halves of it choose, and a map gets a small weight at most,
since one that helps on its own source may harm on another.

n values, d numbers in a vector, q in what a map sees."""

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt

from anyseek.model.bridges.files import NUMBERS_FILE, RECORD_FILE, BridgeRecord, folder_of
from anyseek.model.bridges.space import Bridge, ModalityMap, bridge_bytes, fingerprint_of, unit
from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.errors import BadInput
from anyseek.model.files import atomic_folder
from anyseek.model.fourm.bundled.layout import INPUTS
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.modalities.values import CONTENTS
from anyseek.model.openclip.embedder import SPACE, OpenCLIPEmbedder, load_openclip_embedder
from anyseek.model.seam import FloatArray
from anyseek.model.training.bridges.material import (
    NO_PHOTO,
    Material,
    Queries,
    QueryKind,
    Say,
    gallery_contexts,
    read_material,
    user_data_context,
)

PHOTO = "rgb"
_WEIGHTS = (0.25, 0.5, 1.0, 2.0)
_MAX_UNTRIED = 0.5  # the weight of a map that was tried on no other source
_TOLERATED = 0.01  # of R@10, on a left-out source, below the plain rendering
_MIN_PAIRS = 30  # pairs of a source that is fitted to, or judged
_RANK = 64
_PENALTY = 1.0  # of the mean variance of what a map sees
_AMONG = 10  # the first so many hits count
_SEED = 0


@dataclass(frozen=True)
class Setting:
    """Whether means are taken off, and the weight of the map; the defaults are the plain rendering."""

    centred: bool = False
    weight: float = 0.0


PLAIN, CENTRED = Setting(), Setting(centred=True)
_ALONE = Setting(weight=1.0)  # the map of what has no look
_SETTINGS = (PLAIN, CENTRED, *(Setting(True, weight) for weight in _WEIGHTS))


@dataclass(frozen=True)
class Trial:
    """R@10 of one modality's queries for the photos of a source that nothing was fitted to.

    `plain` and `centred` are None if the modality has no look. `chosen` is that of the chosen setting, whose map has
    `weight`. `halves` is True if it was fitted to the other half of the same source.
    """

    modality: str
    source: str
    queries: int
    plain: float | None
    centred: float | None
    chosen: float
    weight: float
    halves: bool


@dataclass(frozen=True)
class Fit:
    """A bridge, and the trials by which its settings were chosen."""

    bridge: Bridge
    trials: tuple[Trial, ...]


def plain_bridge(dimension: int) -> Bridge:
    """The calibration that needs no data: each modality that can be drawn or is text, in the space as it is."""
    maps = {name: ModalityMap.centred(np.zeros((0, dimension), np.float32)) for name in INPUTS if _has_look(name)}
    return Bridge(np.zeros(dimension, np.float32), 1.0, maps)


def fit_bridge(material: Material) -> Fit:
    """Fit every modality that the material has; others that have a look are rendered. Needs photos."""
    prior: FloatArray = np.mean([rows.mean(axis=0) for rows in material.photos.values()], axis=0, dtype=np.float32)
    away = [np.linalg.norm(rows - rows.mean(axis=0), axis=1).mean() for rows in material.photos.values()]
    maps = {**plain_bridge(len(prior)).maps, PHOTO: ModalityMap.centred(prior[None])}
    trials: list[Trial] = []
    for modality, queries in material.queries.items():
        examples = _examples(queries, material)
        setting, found = _choose(modality, examples)
        trials += found
        way = fit_way(examples, setting, len(prior))
        if _has_look(modality) or way.weight:  # else there are too few pairs to say anything
            maps[modality] = way
    return Fit(Bridge(prior, float(np.mean(away)), maps), tuple(trials))


@dataclass(frozen=True)
class Examples:
    """Values of one kind, and the photos of their source, centred there: unit rows (p, d)."""

    kind: QueryKind
    queries: Queries
    photos: FloatArray

    @property
    def paired(self) -> npt.NDArray[np.int64]:
        """The rows of values that have a photo."""
        return np.flatnonzero(self.queries.photo != NO_PHOTO)

    def select(self, rows: npt.NDArray[np.int64]) -> "Examples":
        """Some of the values, for the same photos."""
        looks, features = (None if part is None else part[rows] for part in (self.queries.looks, self.queries.features))
        return replace(self, queries=Queries(looks, features, self.queries.photo[rows]))


def _examples(queries: Mapping[QueryKind, Queries], material: Material) -> list[Examples]:
    """Kinds whose source has no photos have none of them, and serve for means."""
    found = []
    for kind, values in queries.items():
        photos = material.photos.get(kind.source)
        centred = np.zeros((0, 0), np.float32) if photos is None else unit(photos - photos.mean(axis=0))
        found.append(Examples(kind, values, centred))
    return found


def fit_way(examples: Sequence[Examples], setting: Setting, dimension: int) -> ModalityMap:
    """Fit a modality with a given setting to all examples, every kind weighing the same."""
    looks = [example.queries.looks for example in examples if example.queries.looks is not None]
    means = [rows.mean(axis=0) for rows in looks] if setting.centred else []
    way = ModalityMap.centred(np.array(means, np.float32).reshape(-1, dimension))
    pairs = [_pairs(example, way) for example in examples if len(example.paired) >= _MIN_PAIRS]
    if not setting.weight or not pairs:
        return way
    seen, wanted = [seen for seen, _ in pairs], [wanted for _, wanted in pairs]
    from_features = examples[0].queries.features is not None
    origin = np.mean([rows.mean(axis=0) for rows in seen], axis=0) if from_features else np.zeros(dimension)
    inward, outward = _low_rank([np.asarray(rows - origin, np.float32) for rows in seen], wanted)
    return ModalityMap(way.means, origin.astype(np.float32), inward, outward, setting.weight)


def _pairs(example: Examples, way: ModalityMap) -> tuple[FloatArray, FloatArray]:
    """The inputs of a map for values that have a photo (n, q), and their photos (n, d)."""
    paired = example.select(example.paired).queries
    seen = paired.features if paired.features is not None else way.directions(paired.looks, None)
    return seen, example.photos[paired.photo]


def _low_rank(seen: Sequence[FloatArray], wanted: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """The ridge regression of the best rank, from (n, q) to (n, d): (q, r) and (r, d). Every source weighs the same."""
    products = sum((rows.T.astype(np.float64) @ rows / len(rows) for rows in seen), np.zeros((1, 1)))
    mixed = sum((a.T.astype(np.float64) @ b / len(a) for a, b in zip(seen, wanted, strict=True)), np.zeros((1, 1)))
    penalised = products + _PENALTY * np.trace(products) / len(products) * np.eye(len(products))
    full = np.linalg.solve(penalised, mixed)
    _, _, axes = np.linalg.svd(np.linalg.cholesky(penalised).T @ full, full_matrices=False)
    kept = axes[:_RANK]
    return (full @ kept.T).astype(np.float32), kept.astype(np.float32)


Round = tuple[list[Examples], Examples]


def _choose(modality: str, examples: Sequence[Examples]) -> tuple[Setting, list[Trial]]:
    """The setting of a modality, and how it was found."""
    has_look = examples[0].queries.looks is not None
    rounds = list(_rounds(examples))
    if not rounds:
        return (CENTRED if has_look else _ALONE), []
    halves = len({held_out.kind.source for _, held_out in rounds}) == 1
    found = _recalls(rounds, _settings(has_look, halves))
    floor = found[PLAIN] - _TOLERATED if has_look else np.zeros(len(rounds))
    chosen = max(
        (setting for setting in found if (found[setting] >= floor).all()), key=lambda setting: found[setting].mean()
    )
    trials = [
        Trial(
            modality,
            "/".join(held_out.kind),
            len(held_out.paired),
            float(found[PLAIN][row]) if has_look else None,
            float(found[CENTRED][row]) if has_look else None,
            float(found[chosen][row]),
            chosen.weight,
            halves,
        )
        for row, (_, held_out) in enumerate(rounds)
    ]
    return chosen, trials


def _settings(has_look: bool, halves: bool) -> tuple[Setting, ...]:
    possible = [setting for setting in _SETTINGS if not halves or setting.weight <= _MAX_UNTRIED]
    return tuple(possible) if has_look else (_ALONE,)


def _rounds(examples: Sequence[Examples]) -> Iterator[Round]:
    """Examples to fit to, and others to ask with: of another source where there is one."""
    held_out = [example for example in examples if len(example.paired) >= _MIN_PAIRS]
    if len({example.kind.source for example in held_out}) > 1:
        for example in held_out:
            yield [other for other in examples if other.kind.source != example.kind.source], example
        return
    for example in held_out:
        order = np.random.default_rng(_SEED).permutation(len(example.photos))
        first = order[example.queries.photo] < len(example.photos) // 2
        known, rest = example.select(np.flatnonzero(first)), example.select(np.flatnonzero(~first))
        if min(len(known.paired), len(rest.paired)) >= _MIN_PAIRS:
            yield [known], rest


def _recalls(rounds: Sequence[Round], settings: Sequence[Setting]) -> dict[Setting, FloatArray]:
    """R@10 by setting, a number for each round."""
    found: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for known, held_out in rounds:
        dimension = held_out.photos.shape[1]
        mapped = fit_way(known, Setting(centred=True, weight=1.0), dimension)
        maps = {setting: fit_way(known, replace(setting, weight=0.0), dimension) for setting in settings}
        for setting, way in maps.items():
            found[setting].append(_recall(replace(mapped, weight=setting.weight) if setting.weight else way, held_out))
    return {setting: np.array(values, np.float32) for setting, values in found.items()}


def _recall(way: ModalityMap, held_out: Examples) -> float:
    """The share of values whose photo is among the first 10 of its source's photos."""
    queries = held_out.select(held_out.paired).queries
    scores = way.directions(queries.looks, queries.features) @ held_out.photos.T
    own = scores[np.arange(len(scores)), queries.photo]
    return float(((scores > own[:, None]).sum(axis=1) < _AMONG).mean())


def _has_look(modality: str) -> bool:
    content = MODALITIES[modality].content
    return content is Content.TEXT or CONTENTS[content].render is not None


DEFAULT_LIMIT = 1_000


@dataclass(frozen=True)
class BridgeRequest:
    """What to make: `name` is that of the bridge, `base` that of the open_clip model.

    `data` are paths of the user's own data (`anyseek.model.training.bridges.material.own_workshop`), of which, and of
    the galleries that come with Anyseek, at most `limit` samples a source are used. If it is `plain`, nothing is
    fitted. With `replaces`, a bridge of that name may be there already.
    """

    name: str
    base: str
    data: tuple[Path, ...] = ()
    limit: int = DEFAULT_LIMIT
    plain: bool = False
    replaces: bool = False


def adapt(wanted: BridgeRequest, home: Path, say: Say) -> tuple[BridgeRecord, Fit]:
    """Make a bridge; it appears whole or not at all.

    Raises `UnknownModel`, `BadInput` if there is one of that name already, what loading the base raises, and
    `RecipeInvalid` and `SourceUnavailable` for data that cannot be used.
    """
    if folder_of(wanted.name, home).exists() and not wanted.replaces:
        raise BadInput(
            f"{wanted.name} is there already, and collections may use it; pass --replace to make it anew, or choose "
            "another name with --as"
        )
    contexts = [user_data_context(path, home) for path in wanted.data]
    base = load_openclip_embedder(wanted.base, home)
    if wanted.plain:
        fit, licences = Fit(plain_bridge(base.spaces[SPACE].dimension), ()), {}
    else:
        material = read_material(base, [*gallery_contexts(home, say), *contexts], wanted.limit, say)
        if not material.photos:
            raise SourceUnavailable("the data has no photos to fit a bridge to")
        fit, licences = fit_bridge(material), dict(material.licences)
    return write_bridge(wanted.name, home, base, fit.bridge, licences), fit


def write_bridge(
    name: str, home: Path, base: OpenCLIPEmbedder, bridge: Bridge, fitted_on: dict[str, str]
) -> BridgeRecord:
    """Write a bridge to `base` below `home`, fitted on sources with these licences."""
    numbers = bridge_bytes(bridge)
    weights = {modality: way.weight for modality, way in bridge.maps.items()}
    fingerprint = fingerprint_of(base.fingerprint, numbers, weights)
    record = BridgeRecord(base.name, base.fingerprint, fingerprint, weights, fitted_on)
    with atomic_folder(folder_of(name, home)) as made:
        (made / NUMBERS_FILE).write_bytes(numbers)
        (made / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")
    return record


def trial_lines(fit: Fit) -> Sequence[str]:
    """A table of what was measured on sources that were left out, for people."""
    if not fit.trials:
        return ()
    lines = [f"{'modality':16}{'left out':36}{'n':>6}{'plain':>8}{'centred':>9}{'chosen':>8}{'map':>6}"]
    for trial in fit.trials:
        plain, centred = ("" if value is None else f"{value:.3f}" for value in (trial.plain, trial.centred))
        row = f"{trial.modality:16}{trial.source + ' (half)' * trial.halves:36}{trial.queries:>6}"
        lines.append(f"{row}{plain:>8}{centred:>9}{trial.chosen:>8.3f}{trial.weight:>6g}")
    return lines
