"""Derive the network's own config from a training config: each modality's row and its largest number of tokens."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from typing import Any

from anyseek.model.modalities.formats.spans import LONGEST
from anyseek.model.network.config import (
    PUBLISHED_MODALITIES,
    SEQUENCE_POSITIONS,
    ConfigInvalid,
    EmbeddingKind,
    FourMConfig,
)
from anyseek.model.network.config import ModalityConfig as Row
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.inputs import pixel_fields
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import FieldKind, TrainedModality, TrainingConfig
from anyseek.model.training.run.errors import TrainingConfigInvalid

_KINDS = {
    FieldKind.PICTURE: EmbeddingKind.PIXELS,
    FieldKind.MAP: EmbeddingKind.PIXELS,
    FieldKind.STATES: EmbeddingKind.SEQUENCE_EMBEDDING,
    FieldKind.TOKENS: EmbeddingKind.IMAGE_TOKENS,
    FieldKind.VECTOR: EmbeddingKind.IMAGE_TOKENS,
    FieldKind.TEXT: EmbeddingKind.SEQUENCE,
}


@dataclass(frozen=True)
class PlannedModality:
    """A modality's settings, its row in the network, and the most tokens a sample can have of it.

    `vector_length` is how many numbers the vector of a modality has that is one, 0 for all others. `own` names, beside
    each of the modality's fields, the array with its own encoder vector; it is empty where nothing is made of these.
    """

    settings: TrainedModality
    row: Row
    max_tokens: int
    vector_length: int = 0
    own: tuple[str, ...] = ()


@dataclass(frozen=True)
class Plan:
    """Everything needed to make batches and the network; plain data, of which worker processes get a copy.

    With `contrast`, a sample is useful even without a target of the mixture.
    """

    network: FourMConfig
    modalities: tuple[PlannedModality, ...]
    text: TextTokenizer | None
    contrast: bool = False


def make_plan(config: TrainingConfig, text: TextTokenizer | None, tokenizers: Mapping[str, TokenizerConfig]) -> Plan:
    """The plan of a config; `tokenizers` are those of vectors by checkpoint key. Raises `TrainingConfigInvalid`."""
    rows = {m.key: _row(m, text, tokenizers.get(m.key)) for m in config.modalities}
    own = {key: row for key, row in rows.items() if row != PUBLISHED_MODALITIES.get(key)}
    inputs = tuple(m.key for m in config.modalities if m.input)
    whole = () if config.contrast is None else config.contrast.targets
    targets = tuple(m.key for m in config.modalities if m.target or m.key in whole)
    own_vectors = {} if config.contrast is None else config.contrast.own
    try:
        network = FourMConfig(inputs, targets, modalities=own, **config.network)
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"network: {error}") from error
    planned = [
        replace(_planned(m, network.row(m.key), tokenizers.get(m.key)), own=tuple(own_vectors.get(m.key, ())))
        for m in config.modalities
    ]
    return Plan(network, tuple(planned), text, config.contrast is not None)


def _row(settings: TrainedModality, text: TextTokenizer | None, tokenizer: TokenizerConfig | None) -> Row:
    """The row as the config gives it; what it leaves out comes from the published row or the tokenizer."""
    published = PUBLISHED_MODALITIES.get(settings.key)
    values: dict[str, Any] = {}
    if published is not None and published.kind is _KINDS[settings.kind]:
        values = {name: value for name, value in asdict(published).items() if name != "key"}
    values["kind"] = _KINDS[settings.kind]
    if settings.kind is FieldKind.TEXT and text is not None:
        values["vocabulary"] = text.vocabulary_size
    elif settings.kind is FieldKind.MAP:
        values["patch"] = 1
    elif settings.kind is FieldKind.PICTURE:
        values["channels"] = _picture_channels(settings)
    elif tokenizer is not None:
        values |= {"grid": (1, tokenizer.num_codebooks), "vocabulary": tokenizer.codebook_size}
        values["learned_positions"] = True
    try:
        return Row.from_fields(settings.key, {**values, **settings.row})
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"modalities.{settings.key}: {error}") from error


def _picture_channels(settings: TrainedModality) -> int:
    channels_of = pixel_fields()
    if odd := [field for field in settings.fields if field not in channels_of]:
        known = ", ".join(channels_of)
        raise TrainingConfigInvalid(
            f"modalities.{settings.key} cannot take {odd[0]!r} as a picture; {known} are pictures"
        )
    channels = {channels_of[field] for field in settings.fields}
    if len(channels) > 1:
        raise TrainingConfigInvalid(f"modalities.{settings.key} mixes pictures of one and three channels in its fields")
    return channels.pop()


def _planned(settings: TrainedModality, row: Row, tokenizer: TokenizerConfig | None) -> PlannedModality:
    where = f"modalities.{settings.key}"
    if row.is_image and row.grid is not None:
        if settings.kind is FieldKind.PICTURE and row.grid[0] != row.grid[1]:
            raise TrainingConfigInvalid(f"{where}.grid must be square for a picture, not {row.grid}")
        largest = row.tokens
    else:
        largest = LONGEST if settings.kind is FieldKind.STATES else SEQUENCE_POSITIONS
    wanted = settings.max_tokens or (row.tokens if row.is_image else row.longest)
    if wanted > largest:
        raise TrainingConfigInvalid(f"{where} can have at most {largest} tokens, not {wanted}")
    return PlannedModality(settings, row, wanted, 0 if tokenizer is None else tokenizer.n_channels)
