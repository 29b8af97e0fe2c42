"""The text tokenizer of a run: read from a file, or made from the words of the training captions. Imports no torch.

A made vocabulary has the published layout: `[PAD]`, `[UNK]`, `[SOS]`, `[EOS]`, 200 sentinels, 4 x 1000 bins, then
characters (also as continuations `##c`) and words. The same captions give the same file.
"""

import shutil
import unicodedata
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from tokenizers import AddedToken, Tokenizer
from tokenizers.decoders import WordPiece as WordPieceDecoder
from tokenizers.models import WordPiece
from tokenizers.normalizers import BertNormalizer
from tokenizers.pre_tokenizers import BertPreTokenizer

from anyseek.model.files import write_file
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.training.pretraining.config import FieldKind, TextConfig, TrainingConfig
from anyseek.model.training.run.data_sets import FolderShards, texts_of
from anyseek.model.training.run.folder import RunFolder
from anyseek.model.training.run.processes import (
    Processes,
)

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
    with processes.first_alone():
        if processes.is_first:
            _write_vocabulary(config, config.text, folder, data)
    return TextTokenizer.from_file(folder.vocabulary)


def _write_vocabulary(
    config: TrainingConfig, text: TextConfig, folder: RunFolder, data: tuple[FolderShards, ...]
) -> None:
    if text.vocabulary is not None:
        TextTokenizer.from_file(text.vocabulary)  # refuses what is none
        shutil.copyfile(text.vocabulary, folder.vocabulary)
    else:
        texts = [m for m in config.modalities if m.kind is FieldKind.TEXT and m.format == "caption"]
        fields = [field for m in texts for field in m.fields]
        save_vocabulary(make_vocabulary(texts_of(data, fields), text.words), folder.vocabulary)
