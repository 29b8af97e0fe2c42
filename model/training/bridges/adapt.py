"""Makes a bridge to an open_clip model: encodes data, fits in closed form, and writes below the data directory.

The setting of each modality is chosen by leave-one-source-out cross-validation: maps are fitted to the other sources,
and the values of the held-out source are queries for their photos. The setting with the best mean recall is chosen
among those that are on no source worse than the plain rendering. A single source is split into halves, and its map gets
a small weight at most, because a map that helps on its own source may harm on another.

n values, d dimensions of a vector, q of a map's input."""

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
_MAX_UNTRIED = 0.5  # the weight of a map that was validated on no other source
_TOLERANCE = 0.01  # R@10 below the plain rendering on a held-out source
_MIN_PAIRS = 30  # of a source that is fitted to or validated on
_RANK = 64
_PENALTY = 1.0  # times the mean variance of a map's input
_TOP_K = 10  # hits that count
_SEED = 0


@dataclass(frozen=True)
class Setting:
    """Whether means are subtracted, and the weight of the map; the defaults are the plain rendering."""

    centred: bool = False
    weight: float = 0.0


PLAIN, CENTRED = Setting(), Setting(centred=True)
_MAP_ONLY = Setting(weight=1.0)  # of modalities without renderings
_SETTINGS = (PLAIN, CENTRED, *(Setting(True, weight) for weight in _WEIGHTS))


@dataclass(frozen=True)
class Trial:
    """R@10 of one modality's queries for the photos of a held-out source.

    `plain` and `centred` are None if the modality cannot be rendered. `chosen` is the recall of the chosen setting,
    whose map has `weight`. `halves` is True if it was fitted to the other half of the same source.
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
    """The bridge that needs no data: renderings and texts keep their vectors of the space."""
    maps = {name: ModalityMap.centred(np.zeros((0, dimension), np.float32)) for name in INPUTS if _is_renderable(name)}
    return Bridge(np.zeros(dimension, np.float32), 1.0, maps)


def fit_bridge(material: Material) -> Fit:
    """Fit every modality of the material, which must have photos; others are only rendered."""
    prior: FloatArray = np.mean([rows.mean(axis=0) for rows in material.photos.values()], axis=0, dtype=np.float32)
    spreads = [np.linalg.norm(rows - rows.mean(axis=0), axis=1).mean() for rows in material.photos.values()]
    maps = {**plain_bridge(len(prior)).maps, PHOTO: ModalityMap.centred(prior[None])}
    trials: list[Trial] = []
    for modality, queries in material.queries.items():
        examples = _examples(queries, material)
        setting, modality_trials = _choose(modality, examples)
        trials += modality_trials
        modality_map = fit_map(examples, setting, len(prior))
        if _is_renderable(modality) or modality_map.weight:  # else there are too few pairs
            maps[modality] = modality_map
    return Fit(Bridge(prior, float(np.mean(spreads)), maps), tuple(trials))


@dataclass(frozen=True)
class Examples:
    """Values of one kind, with the centred photos of their source: unit rows (p, d)."""

    kind: QueryKind
    queries: Queries
    photos: FloatArray

    @property
    def paired(self) -> npt.NDArray[np.int64]:
        """The indices of values that have a photo."""
        return np.flatnonzero(self.queries.photo != NO_PHOTO)

    def select(self, rows: npt.NDArray[np.int64]) -> "Examples":
        """The values at these indices, with the same photos."""
        renderings, features = (
            None if part is None else part[rows] for part in (self.queries.renderings, self.queries.features)
        )
        return replace(self, queries=Queries(renderings, features, self.queries.photo[rows]))


def _examples(queries: Mapping[QueryKind, Queries], material: Material) -> list[Examples]:
    """Examples of each kind. Kinds of a source without photos have none, and only contribute their means."""
    examples = []
    for kind, values in queries.items():
        photos = material.photos.get(kind.source)
        centred = np.zeros((0, 0), np.float32) if photos is None else unit(photos - photos.mean(axis=0))
        examples.append(Examples(kind, values, centred))
    return examples


def fit_map(examples: Sequence[Examples], setting: Setting, dimension: int) -> ModalityMap:
    """Fit the map of a modality with a setting to all examples, with equal weight for every kind."""
    renderings = [example.queries.renderings for example in examples if example.queries.renderings is not None]
    means = [rows.mean(axis=0) for rows in renderings] if setting.centred else []
    modality_map = ModalityMap.centred(np.array(means, np.float32).reshape(-1, dimension))
    pairs = [_pairs(example, modality_map) for example in examples if len(example.paired) >= _MIN_PAIRS]
    if not setting.weight or not pairs:
        return modality_map
    inputs, targets = [rows for rows, _ in pairs], [rows for _, rows in pairs]
    from_features = examples[0].queries.features is not None
    origin = np.mean([rows.mean(axis=0) for rows in inputs], axis=0) if from_features else np.zeros(dimension)
    inward, outward = _low_rank([np.asarray(rows - origin, np.float32) for rows in inputs], targets)
    return ModalityMap(modality_map.means, origin.astype(np.float32), inward, outward, setting.weight)


def _pairs(example: Examples, modality_map: ModalityMap) -> tuple[FloatArray, FloatArray]:
    """A map's inputs (n, q) and targets (n, d), which are values with a photo and their photos."""
    paired = example.select(example.paired).queries
    inputs = paired.features if paired.features is not None else modality_map.directions(paired.renderings, None)
    return inputs, example.photos[paired.photo]


def _low_rank(inputs: Sequence[FloatArray], targets: Sequence[FloatArray]) -> tuple[FloatArray, FloatArray]:
    """Reduced-rank ridge regression from (n, q) to (n, d): (q, r) and (r, d). Every source has equal weight."""
    products = sum((rows.T.astype(np.float64) @ rows / len(rows) for rows in inputs), np.zeros((1, 1)))
    crossed = sum((a.T.astype(np.float64) @ b / len(a) for a, b in zip(inputs, targets, strict=True)), np.zeros((1, 1)))
    penalised = products + _PENALTY * np.trace(products) / len(products) * np.eye(len(products))
    full = np.linalg.solve(penalised, crossed)
    _, _, axes = np.linalg.svd(np.linalg.cholesky(penalised).T @ full, full_matrices=False)
    leading = axes[:_RANK]
    return (full @ leading.T).astype(np.float32), leading.astype(np.float32)


Round = tuple[list[Examples], Examples]


def _choose(modality: str, examples: Sequence[Examples]) -> tuple[Setting, list[Trial]]:
    """The setting of a modality, and the trials that chose it."""
    is_renderable = examples[0].queries.renderings is not None
    rounds = list(_rounds(examples))
    if not rounds:
        return (CENTRED if is_renderable else _MAP_ONLY), []
    halves = len({held_out.kind.source for _, held_out in rounds}) == 1
    recalls = _recalls(rounds, _settings(is_renderable, halves))
    floor = recalls[PLAIN] - _TOLERANCE if is_renderable else np.zeros(len(rounds))
    chosen = max(
        (setting for setting in recalls if (recalls[setting] >= floor).all()),
        key=lambda setting: recalls[setting].mean(),
    )
    trials = [
        Trial(
            modality,
            "/".join(held_out.kind),
            len(held_out.paired),
            float(recalls[PLAIN][row]) if is_renderable else None,
            float(recalls[CENTRED][row]) if is_renderable else None,
            float(recalls[chosen][row]),
            chosen.weight,
            halves,
        )
        for row, (_, held_out) in enumerate(rounds)
    ]
    return chosen, trials


def _settings(is_renderable: bool, halves: bool) -> tuple[Setting, ...]:
    possible = [setting for setting in _SETTINGS if not halves or setting.weight <= _MAX_UNTRIED]
    return tuple(possible) if is_renderable else (_MAP_ONLY,)


def _rounds(examples: Sequence[Examples]) -> Iterator[Round]:
    """Pairs of training and held-out examples: of different sources, or halves of the only one."""
    held_out = [example for example in examples if len(example.paired) >= _MIN_PAIRS]
    if len({example.kind.source for example in held_out}) > 1:
        for example in held_out:
            yield [other for other in examples if other.kind.source != example.kind.source], example
        return
    for example in held_out:
        order = np.random.default_rng(_SEED).permutation(len(example.photos))
        first = order[example.queries.photo] < len(example.photos) // 2
        fit_half, held_out_half = example.select(np.flatnonzero(first)), example.select(np.flatnonzero(~first))
        if min(len(fit_half.paired), len(held_out_half.paired)) >= _MIN_PAIRS:
            yield [fit_half], held_out_half


def _recalls(rounds: Sequence[Round], settings: Sequence[Setting]) -> dict[Setting, FloatArray]:
    """R@10 by setting: float32 (rounds,)."""
    recalls: dict[Setting, list[float]] = {setting: [] for setting in settings}
    for training, held_out in rounds:
        dimension = held_out.photos.shape[1]
        mapped = fit_map(training, Setting(centred=True, weight=1.0), dimension)
        maps = {setting: fit_map(training, replace(setting, weight=0.0), dimension) for setting in settings}
        for setting, modality_map in maps.items():
            recalls[setting].append(
                _recall(replace(mapped, weight=setting.weight) if setting.weight else modality_map, held_out)
            )
    return {setting: np.array(values, np.float32) for setting, values in recalls.items()}


def _recall(modality_map: ModalityMap, held_out: Examples) -> float:
    """R@10 of the values: the share whose photo is among the 10 nearest photos of their source."""
    queries = held_out.select(held_out.paired).queries
    scores = modality_map.directions(queries.renderings, queries.features) @ held_out.photos.T
    own = scores[np.arange(len(scores)), queries.photo]
    return float(((scores > own[:, None]).sum(axis=1) < _TOP_K).mean())


def _is_renderable(modality: str) -> bool:
    content = MODALITIES[modality].content
    return content is Content.TEXT or CONTENTS[content].render is not None


DEFAULT_LIMIT = 1_000


@dataclass(frozen=True)
class BridgeRequest:
    """A bridge to make: its `name`, and the name of its open_clip model, `base`.

    `data` are paths of the user's own data (`anyseek.model.training.bridges.material.user_data_context`). At most
    `limit` samples are used of each source of these and of the galleries that ship with Anyseek. A `plain` bridge is
    not fitted. `replace_existing` replaces a bridge of that name.
    """

    name: str
    base: str
    data: tuple[Path, ...] = ()
    limit: int = DEFAULT_LIMIT
    plain: bool = False
    replace_existing: bool = False


def adapt(request: BridgeRequest, home: Path, say: Say) -> tuple[BridgeRecord, Fit]:
    """Make a bridge, which is written atomically.

    Raises `UnknownModel`, `BadInput` if the name is taken, the errors of loading the base, and
    `RecipeInvalid` and `SourceUnavailable` for unusable data.
    """
    if folder_of(request.name, home).exists() and not request.replace_existing:
        raise BadInput(
            f"{request.name} exists already, and collections may use it; pass --replace to replace it, or choose "
            "another name with --as"
        )
    contexts = [user_data_context(path, home) for path in request.data]
    base = load_openclip_embedder(request.base, home)
    if request.plain:
        fit, licences = Fit(plain_bridge(base.spaces[SPACE].dimension), ()), {}
    else:
        material = read_material(base, [*gallery_contexts(home, say), *contexts], request.limit, say)
        if not material.photos:
            raise SourceUnavailable("the data has no photos to fit a bridge to")
        fit, licences = fit_bridge(material), dict(material.licences)
    return write_bridge(request.name, home, base, fit.bridge, licences), fit


def write_bridge(
    name: str, home: Path, base: OpenCLIPEmbedder, bridge: Bridge, fitted_on: dict[str, str]
) -> BridgeRecord:
    """Write a bridge to `base` below `home`; `fitted_on` has the licence of each source."""
    numbers = bridge_bytes(bridge)
    weights = {modality: modality_map.weight for modality, modality_map in bridge.maps.items()}
    fingerprint = fingerprint_of(base.fingerprint, numbers, weights)
    record = BridgeRecord(base.name, base.fingerprint, fingerprint, weights, fitted_on)
    with atomic_folder(folder_of(name, home)) as folder:
        (folder / NUMBERS_FILE).write_bytes(numbers)
        (folder / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")
    return record


def trial_lines(fit: Fit) -> Sequence[str]:
    """The table of recalls on held-out sources, as lines of text."""
    if not fit.trials:
        return ()
    lines = [f"{'modality':16}{'left out':36}{'n':>6}{'plain':>8}{'centred':>9}{'chosen':>8}{'map':>6}"]
    for trial in fit.trials:
        plain, centred = ("" if value is None else f"{value:.3f}" for value in (trial.plain, trial.centred))
        row = f"{trial.modality:16}{trial.source + ' (half)' * trial.halves:36}{trial.queries:>6}"
        lines.append(f"{row}{plain:>8}{centred:>9}{trial.chosen:>8.3f}{trial.weight:>6g}")
    return lines
