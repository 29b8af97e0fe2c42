"""Embedding spaces of a 4M network: how token logits become a vector, and the residual added to it.

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
from anyseek.model.fourm.inputs import EncodedBatch
from anyseek.model.seam import Decoding, EmbeddingSpace, Fusion
from anyseek.model.tokenizers.image_vqvae import ImageVQVAE
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.towers.space import CAPTION, Towers


@dataclass(frozen=True)
class GlobalSpace:
    """A space that the network predicts as target `key`, with its token grid (rows, columns) and its tokenizer.

    With `exact_gallery` a gallery stores the specialist encoder's vector of a picture.
    """

    space: EmbeddingSpace
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
    """The space of the towers, whose inputs are the specialist encoders' outputs.

    A sample without an input for the towers, such as metadata alone, is represented by the sentence vector that the
    network predicts in its space `sentence_space`.
    """

    space: EmbeddingSpace
    towers: Towers
    sentence_space: str

    def lacks_inputs(self, batch: EncodedBatch) -> list[bool]:
        """Mask of the samples of a batch without an input for the towers."""
        return [not names & self.towers.weights.keys() for names in batch.encoded_modalities]

    def vectors(self, batch: EncodedBatch, sentence_vectors: Tensor | None, gallery: bool) -> Tensor:
        """Unit vectors float32 (B, d); the network's `sentence_vectors` (B, 384) serve samples without tower inputs."""
        texts = batch.own_vectors.get(CAPTION)
        if sentence_vectors is not None:
            mask = torch.tensor(self.lacks_inputs(batch), device=sentence_vectors.device)[:, None]
            texts = torch.where(mask, sentence_vectors, 0.0 if texts is None else texts)
        inputs = {name: entry for name, entry in batch.tower_inputs.items() if name in self.towers.weights}
        return self.towers.vectors(inputs, texts, gallery)


@dataclass(frozen=True)
class Embedding:
    """The embedding spaces of a 4M network, and its embedding options.

    `default_spaces` maps modalities to spaces. At most `token_budget` tokens of each image-like input are encoded, or
    all if it is None. Inputs of `window` samples are prepared together; rows of similar length then pass the network
    together. `residual` maps the inputs' own vectors to a residual added to the network's vector. `towers_space` is an
    additional space that needs no pass of the network, `colours` one that needs no encoder either.
    """

    fingerprint: str
    spaces: Mapping[str, GlobalSpace]
    default_spaces: Mapping[str, str]
    window: int
    fusion: Fusion = Fusion.LATE
    decoding: Decoding = Decoding.SOFT
    token_budget: int | None = None
    residual: Shortcuts | None = None
    towers_space: TowersSpace | None = None
    colours: ColourSpace | None = None

    @property
    def embedding_spaces(self) -> Mapping[str, EmbeddingSpace]:
        """All spaces by name, the towers' first and the colours' last."""
        towers_space = {} if self.towers_space is None else {self.towers_space.space.name: self.towers_space.space}
        colours = {} if self.colours is None else {self.colours.space.name: self.colours.space}
        return towers_space | {name: space.space for name, space in self.spaces.items()} | colours

    def add_residual(self, predicted: Tensor, own_vectors: Mapping[str, Tensor], space: str, gallery: bool) -> Tensor:
        """Unit vectors (B, d) of a space: the network's (B, d) plus the residual of the inputs' own vectors.

        For a gallery, pictures keep the encoder's own vector if the space's gallery is exact.
        """
        vectors, residual = predicted, self.residual_of(own_vectors, space)
        if residual is not None:
            vectors = F.normalize(vectors + residual, dim=1)
        if gallery and self.spaces[space].exact_gallery and "rgb" in own_vectors:
            exact = own_vectors["rgb"]
            vectors = torch.where(exact.any(dim=1, keepdim=True), exact, vectors)
        return vectors

    def exact_gallery_vectors(self, batch: EncodedBatch, spaces: Sequence[str]) -> dict[str, Tensor]:
        """Vectors (B, d) by space, for the spaces with an exact gallery; none unless every sample has a picture."""
        if not all("rgb" in names for names in batch.encoded_modalities):
            return {}
        return {space: batch.own_vectors["rgb"] for space in spaces if self.spaces[space].exact_gallery}

    def residual_of(self, own_vectors: Mapping[str, Tensor], space: str) -> Tensor | None:
        """The residual (B, d) of the inputs' own vectors; None without residual maps or vectors."""
        return self.residual(own_vectors, space) if self.residual is not None and own_vectors else None
