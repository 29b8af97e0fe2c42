"""The text tokenizer of a run, and the network's own config: each modality's row and largest number of tokens."""

import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from anyseek.model.files import write_file
from anyseek.model.modalities.formats.spans import MAX_LENGTH
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
from anyseek.model.training.run.data_sets import FolderShards, texts_of
from anyseek.model.training.run.errors import TrainingConfigInvalid
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.run.processes import Processes

_SENTINELS, _AXES, _BINS = 200, 4, 1000
_UNKNOWN = "[UNK]"
SPECIAL_TOKENS = (
    *("[PAD]", _UNKNOWN, "[SOS]", "[EOS]"),
    *(f"[S_{number}]" for number in range(_SENTINELS)),
    *(f"v{axis}={value}" for axis in range(_AXES) for value in range(_BINS)),
)
# Words of the formats, which captions need not hold.
_STRUCTURAL = ("none", "human", "pose", "global", "camera", "shape", "point", "polygon")


def make_vocabulary(texts: Iterable[str], words: int) -> Tokenizer:
    """A WordPiece tokenizer whose whole words are the `words` most frequent ones, ties in alphabetical order.

    Other words are spelled with the characters that the texts have; a character that they lack is unknown.
    """
    normaliser, splitter = BertNormalizer(lowercase=True), BertPreTokenizer()
    counts: Counter[str] = Counter()
    for text in texts:
        counts.update(word for word, _ in splitter.pre_tokenize_str(normaliser.normalize_str(text)))
    counts.update(_STRUCTURAL)
    characters = sorted({character for word in counts for character in word if unicodedata.category(character) != "Cc"})
    ranked = sorted(counts, key=lambda word: (-counts[word], word))[:words]
    pieces = dict.fromkeys((*SPECIAL_TOKENS, *characters, *(f"##{c}" for c in characters), *ranked))
    vocabulary = {piece: number for number, piece in enumerate(pieces)}
    tokenizer = Tokenizer(WordPiece(vocabulary, unk_token=_UNKNOWN, max_input_chars_per_word=100))
    tokenizer.normalizer, tokenizer.pre_tokenizer = normaliser, splitter
    tokenizer.decoder = WordPieceDecoder(prefix="##", cleanup=True)
    tokenizer.add_tokens([AddedToken(token, single_word=True, normalized=False) for token in SPECIAL_TOKENS])
    return tokenizer


def save_vocabulary(tokenizer: Tokenizer, path: Path) -> None:
    """Write the file that `TextTokenizer.from_file` reads; it appears whole or not at all."""
    write_file(path, tokenizer.to_str(pretty=False))


def open_vocabulary(
    config: TrainingConfig, folder: RunFolder, data: tuple[FolderShards, ...], processes: Processes
) -> TextTokenizer | None:
    """The text tokenizer of a run, kept in its folder: a copy of the config's, or made of the training captions."""
    if config.text is None:
        return None
    with processes.main_process_first():
        if processes.is_main:
            if config.text.vocabulary is not None:
                TextTokenizer.from_file(config.text.vocabulary)  # refuses what is none
                shutil.copyfile(config.text.vocabulary, folder.vocabulary)
            else:
                texts = [m for m in config.modalities if m.kind is FieldKind.TEXT and m.format == "caption"]
                fields = [field for m in texts for field in m.fields]
                save_vocabulary(make_vocabulary(texts_of(data, fields), config.text.words), folder.vocabulary)
    return TextTokenizer.from_file(folder.vocabulary)


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
        largest = MAX_LENGTH if settings.kind is FieldKind.STATES else SEQUENCE_POSITIONS
    wanted = settings.max_tokens or (row.tokens if row.is_image else row.longest)
    if wanted > largest:
        raise TrainingConfigInvalid(f"{where} can have at most {largest} tokens, not {wanted}")
    return PlannedModality(settings, row, wanted, 0 if tokenizer is None else tokenizer.n_channels)
