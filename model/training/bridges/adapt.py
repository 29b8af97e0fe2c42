"""Make a bridge to an open_clip model: encode, fit, and write it below the data directory."""

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from anyseek.model.bridges.files import NUMBERS_FILE, RECORD_FILE, Record, folder_of
from anyseek.model.bridges.space import Bridge, bridge_bytes, fingerprint_of
from anyseek.model.data.errors import SourceUnavailable
from anyseek.model.errors import BadInput
from anyseek.model.files import whole_folder
from anyseek.model.openclip.embedder import SPACE, OpenCLIPEmbedder, load_openclip_embedder
from anyseek.model.training.bridges.fitting import Fit, fit_bridge, plain_bridge
from anyseek.model.training.bridges.material import Say, read_material
from anyseek.model.training.bridges.recipes import gallery_workshops, own_workshop

DEFAULT_LIMIT = 1_000


@dataclass(frozen=True)
class Wanted:
    """What to make: `name` is that of the bridge, `base` that of the open_clip model.

    `data` are paths of the user's own data (`anyseek.model.training.bridges.recipes.own_workshop`), of which, and of
    the galleries that come with Anyseek, at most `limit` samples a source are used. If it is `plain`, nothing is
    fitted. With `replaces`, a bridge of that name may be there already.
    """

    name: str
    base: str
    data: tuple[Path, ...] = ()
    limit: int = DEFAULT_LIMIT
    plain: bool = False
    replaces: bool = False


def adapt(wanted: Wanted, home: Path, say: Say) -> tuple[Record, Fit]:
    """Make a bridge; it appears whole or not at all.

    Raises `UnknownModel`, `BadInput` if there is one of that name already, what loading the base raises, and
    `RecipeInvalid` and `SourceUnavailable` for data that cannot be used.
    """
    if folder_of(wanted.name, home).exists() and not wanted.replaces:
        raise BadInput(
            f"{wanted.name} is there already, and collections may use it; pass --replace to make it anew, or choose "
            "another name with --as"
        )
    workshops = [own_workshop(path, home) for path in wanted.data]
    base = load_openclip_embedder(wanted.base, home)
    if wanted.plain:
        fit, licences = Fit(plain_bridge(base.spaces[SPACE].dimension), ()), {}
    else:
        material = read_material(base, [*gallery_workshops(home, say), *workshops], wanted.limit, say)
        if not material.photos:
            raise SourceUnavailable("the data has no photos to fit a bridge to")
        fit, licences = fit_bridge(material), dict(material.licences)
    return write_bridge(wanted.name, home, base, fit.bridge, licences), fit


def write_bridge(name: str, home: Path, base: OpenCLIPEmbedder, bridge: Bridge, fitted_on: dict[str, str]) -> Record:
    """Write a bridge to `base` below `home`, fitted on sources with these licences."""
    numbers = bridge_bytes(bridge)
    weights = {modality: way.weight for modality, way in bridge.ways.items()}
    fingerprint = fingerprint_of(base.fingerprint, numbers, weights)
    record = Record(base.name, base.fingerprint, fingerprint, weights, fitted_on)
    with whole_folder(folder_of(name, home)) as made:
        (made / NUMBERS_FILE).write_bytes(numbers)
        (made / RECORD_FILE).write_text(record.to_json(), encoding="utf-8")
    return record


def trial_lines(fit: Fit) -> Sequence[str]:
    """A table of what was measured on sources that were left out, for people."""
    if not fit.trials:
        return ()
    lines = [f"{'modality':16}{'left out':36}{'n':>6}{'plain':>8}{'centred':>9}{'chosen':>8}{'map':>6}"]
    for trial in fit.trials:
        before = [
            f"{'' if value is None else f'{value:.3f}':>{width}}"
            for value, width in ((trial.plain, 8), (trial.centred, 9))
        ]
        name = f"{trial.source}{' (half)' if trial.halves else ''}"
        lines.append(
            f"{trial.modality:16}{name:36}{trial.queries:>6}{''.join(before)}{trial.chosen:>8.3f}{trial.weight:>6g}"
        )
    return lines
