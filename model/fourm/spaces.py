"""The spaces that a 4M network predicts vectors in: how token logits become a vector, and what is added to it.

A global target such as `dinov2_global` has 16 tokens, decoded by an MLP tokenizer. No token stands for a whole CLIP
vector: the space `clip` is the mean of the predicted 14 x 14 map of CLIP features.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import torch
import torch.nn.functional as F
from torch import Tensor

from anyseek.model.colours.space import ColourSpace
from anyseek.model.fourm.bundled.shortcuts import Shortcuts
from anyseek.model.fourm.inputs import Encoded
from anyseek.model.seam import Decoding, EmbeddingSpace, Fusion
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.towers.space import CAPTION, Towers


@dataclass(frozen=True)
class GlobalSpace:
    """The space `about`: target `key` of a network, with token grid (rows, columns), and its tokenizer.

    With `exact_gallery` a gallery stores the own vector that the specialist encoder makes of a picture.
    """

    about: EmbeddingSpace
    key: str
    grid: tuple[int, int]
    tokenizer: VQVAE | ImageVQVAE
    exact_gallery: bool = False

    def vectors(self, logits: Tensor, decoding: Decoding) -> Tensor:
        """Unit vectors float32 (B, d) of logits (B, n, V) of all its tokens."""
        if isinstance(self.tokenizer, ImageVQVAE):
            # (B, n, V) -> (B, rows, columns, V)
            logits = logits.reshape(len(logits), *self.grid, logits.shape[2])
        if decoding is Decoding.HARD:
            decoded = self.tokenizer.decode_tokens(logits.argmax(dim=-1))
        else:
            decoded = self.tokenizer.decode_probabilities(logits.float().softmax(dim=-1))
        # (B, d, rows, columns) -> (B, d); vectors already are (B, d)
        return F.normalize(decoded.flatten(2).mean(dim=2) if decoded.ndim > 2 else decoded, dim=1)


@dataclass(frozen=True)
class TowersSpace:
    """The space `about` of towers, which see what the specialist encoders make of a sample.

    A sample with nothing that towers take, such as metadata alone, has the words of the network's space `told_by`, of
    sentence vectors.
    """

    about: EmbeddingSpace
    towers: Towers
    told_by: str

    def lacking(self, batch: Encoded) -> list[bool]:
        """Which samples of a batch have nothing that the towers take."""
        return [not names & self.towers.weights.keys() for names in batch.read]

    def vectors(self, batch: Encoded, told: Tensor | None, gallery: bool) -> Tensor:
        """Unit vectors float32 (B, d); `told` (B, 384) are the network's sentence vectors where samples need them."""
        texts = batch.own.get(CAPTION)
        if told is not None:
            lacking = torch.tensor(self.lacking(batch), device=told.device)[:, None]
            texts = torch.where(lacking, told, 0.0 if texts is None else texts)
        seen = {name: found for name, found in batch.seen.items() if name in self.towers.weights}
        return self.towers.vectors(seen, texts, gallery)


@dataclass(frozen=True)
class Embedding:
    """The spaces of a 4M network, and its options of embedding.

    `default_spaces` maps modalities to spaces. At most `token_budget` tokens of each image-like input are encoded, or
    all if it is None. Inputs of `window` samples are prepared together; rows of similar length then pass the network
    together. `residual` maps the inputs' own vectors to a contribution that is added to the network's vector. `joint`
    is a space beside `spaces` that needs no pass of the network, `colours` one that needs no encoder either.
    """

    fingerprint: str
    spaces: Mapping[str, GlobalSpace]
    default_spaces: Mapping[str, str]
    window: int
    fusion: Fusion = Fusion.LATE
    decoding: Decoding = Decoding.SOFT
    token_budget: int | None = None
    residual: Shortcuts | None = None
    joint: TowersSpace | None = None
    colours: ColourSpace | None = None

    @property
    def about(self) -> Mapping[str, EmbeddingSpace]:
        """All spaces by name, the joint one first and the colours last."""
        joint = {} if self.joint is None else {self.joint.about.name: self.joint.about}
        colours = {} if self.colours is None else {self.colours.about.name: self.colours.about}
        return joint | {name: space.about for name, space in self.spaces.items()} | colours

    def completed(self, predicted: Tensor, own: Mapping[str, Tensor], space: str, gallery: bool) -> Tensor:
        """Unit vectors (B, d) of a space from the network's (B, d) and the inputs' own vectors by modality.

        For a gallery they are exact ones where the space stores these and the sample has a picture.
        """
        global_space, vectors = self.spaces[space], predicted
        added = self.added(own, space)
        if added is not None:
            vectors = F.normalize(vectors + added, dim=1)
        if gallery and global_space.exact_gallery and "rgb" in own:
            vectors = torch.where(own["rgb"].any(dim=1, keepdim=True), own["rgb"], vectors)
        return vectors

    def stored_as_they_are(self, batch: Encoded, spaces: Sequence[str]) -> dict[str, Tensor]:
        """The vectors (B, d) of those spaces whose gallery is exact, if every sample of a batch has a picture."""
        if not all("rgb" in names for names in batch.read):
            return {}
        return {space: batch.own["rgb"] for space in spaces if self.spaces[space].exact_gallery}

    def added(self, own: Mapping[str, Tensor], space: str) -> Tensor | None:
        """What the inputs' own vectors add to a network's vectors: (B, d); None where there is no residual."""
        return self.residual(own, space) if self.residual is not None and own else None
