"""all-MiniLM-L6-v2: takes texts and returns hidden states and sentence vectors. Six plain BERT blocks of width 384.

BERT is Devlin et al. (2019), MiniLM is Wang et al. (2020); the sentence vector is the mean of the last hidden states,
normalised. Tensor names are those of the published `model.safetensors`.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
import torch.nn.functional as F
from safetensors.torch import load_file
from tokenizers import Tokenizer
from torch import Tensor, nn

from anyseek.model.checkpoints.files import shapes_only

WIDTH = 384
_BLOCKS, _HEADS, _WIDE = 6, 12, 1536
_VOCABULARY, _POSITIONS = 30522, 512
_EPSILON = 1e-12
MAX_TEXT_LENGTH = 64  # tokens; longer texts are cut
# What BERT calls the parts of a block.
BERT_NAMES: Mapping[str, str] = {
    "attention.query": "attention.self.query",
    "attention.key": "attention.self.key",
    "attention.value": "attention.self.value",
    "attention.dense": "attention.output.dense",
    "attention.norm": "attention.output.LayerNorm",
    "wide": "intermediate.dense",
    "narrow": "output.dense",
    "norm": "output.LayerNorm",
}


@dataclass(frozen=True)
class TextStates:
    """The encoder's output for B texts: `states` float32 (B, n, 384), `unused` bool (B, n), `pooled` unit (B, 384).

    `lengths` says how many states each text has, from the first on.
    """

    states: Tensor
    unused: Tensor
    pooled: Tensor
    lengths: tuple[int, ...]


class _Attention(nn.Module):
    """Multi-head self-attention with the residual and norm that BERT puts after it."""

    def __init__(self) -> None:
        super().__init__()
        self.query, self.key, self.value = (nn.Linear(WIDTH, WIDTH) for _ in range(3))
        self.dense = nn.Linear(WIDTH, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)

    def forward(self, x: Tensor, used: Tensor) -> Tensor:
        """x (B, n, 384), used bool (B, 1, 1, n) -> (B, n, 384)."""
        # (B, n, 384) -> (B, heads, n, 32)
        q, k, v = (f(x).unflatten(2, (_HEADS, -1)).transpose(1, 2) for f in (self.query, self.key, self.value))
        mixed = F.scaled_dot_product_attention(q, k, v, attn_mask=used).transpose(1, 2).flatten(2)
        return self.norm(x + self.dense(mixed))  # type: ignore[no-any-return]


class Block(nn.Module):
    """Attention, then a feed-forward with a residual and norm after it."""

    def __init__(self) -> None:
        super().__init__()
        self.attention = _Attention()
        self.wide = nn.Linear(WIDTH, _WIDE)
        self.narrow = nn.Linear(_WIDE, WIDTH)
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)

    def forward(self, x: Tensor, used: Tensor) -> Tensor:
        """x (B, n, 384), used bool (B, 1, 1, n) -> (B, n, 384)."""
        x = self.attention(x, used)
        return self.norm(x + self.narrow(F.gelu(self.wide(x))))  # type: ignore[no-any-return]


class MiniLM(nn.Module):
    """The text encoder; 22.7 M parameters. `tokenizer` is its own lower-casing WordPiece."""

    def __init__(self, tokenizer: Tokenizer) -> None:
        super().__init__()
        self.tokenizer = tokenizer
        self.tokenizer.enable_truncation(MAX_TEXT_LENGTH)
        self.tokenizer.enable_padding(pad_id=0, pad_token="[PAD]")
        self.words = nn.Embedding(_VOCABULARY, WIDTH)
        self.positions = nn.Embedding(_POSITIONS, WIDTH)
        self.segment = nn.Parameter(torch.zeros(WIDTH))
        self.norm = nn.LayerNorm(WIDTH, eps=_EPSILON)
        self.blocks = nn.ModuleList(Block() for _ in range(_BLOCKS))

    @property
    def device(self) -> torch.device:
        """The device of its weights."""
        return self.segment.device

    def forward(self, texts: Sequence[str]) -> TextStates:
        """Encode B texts (B >= 1), each cut to 64 tokens."""
        encoded = self.tokenizer.encode_batch(list(texts))
        ids = torch.tensor([text.ids for text in encoded], device=self.device)
        used = torch.tensor([text.attention_mask for text in encoded], device=self.device).bool()
        x = self.words(ids) + self.positions.weight[: ids.shape[1]] + self.segment
        x = self.norm(x)
        for block in self.blocks:
            x = block(x, used[:, None, None, :])
        return TextStates(x, ~used, sentence_vectors(x, used), tuple(sum(text.attention_mask) for text in encoded))


def sentence_vectors(states: Tensor, used: Tensor) -> Tensor:
    """Unit vectors (B, d): the means of the states (B, n, d) of `used` tokens, bool (B, n)."""
    return F.normalize((states * used[..., None]).sum(dim=1) / used.sum(dim=1, keepdim=True), dim=1)


def convert(published: dict[str, Tensor]) -> dict[str, Tensor]:
    """The published tensors under our names, in bfloat16. Raises `KeyError` if one is missing."""
    tensors = {
        "words.weight": published["embeddings.word_embeddings.weight"],
        "positions.weight": published["embeddings.position_embeddings.weight"],
        "segment": published["embeddings.token_type_embeddings.weight"][0],
        "norm.weight": published["embeddings.LayerNorm.weight"],
        "norm.bias": published["embeddings.LayerNorm.bias"],
    }
    for index in range(_BLOCKS):
        for ours, theirs in BERT_NAMES.items():
            for kind in ("weight", "bias"):
                tensors[f"blocks.{index}.{ours}.{kind}"] = published[f"encoder.layer.{index}.{theirs}.{kind}"]
    return {name: tensor.to(torch.bfloat16).contiguous() for name, tensor in tensors.items()}


def load_minilm(weights: Path, vocabulary: Path) -> MiniLM:
    """The encoder with the converted weights and the tokenizer file, in evaluation mode and float32."""
    with shapes_only():  # drawing random numbers for what the file replaces takes longer than reading it
        network = MiniLM(Tokenizer.from_file(str(vocabulary)))
    network.load_state_dict({name: tensor.float() for name, tensor in load_file(weights).items()}, assign=True)
    return network.eval().requires_grad_(False)
