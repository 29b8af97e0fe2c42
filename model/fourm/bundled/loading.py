"""Load a bundled 4M network with its specialist encoders, its vocabulary and the tokenizers of its targets."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import cast

import torch

from anyseek.model.colours.space import COLOURS, PALETTE, colour_space
from anyseek.model.compute.devices import CPU
from anyseek.model.compute.placement import torch_device
from anyseek.model.encoders.efficientnet import EfficientNetLite0, Features, load_efficientnet
from anyseek.model.encoders.fused import load_fastest
from anyseek.model.encoders.languages import load_any_language
from anyseek.model.encoders.minilm import load_minilm
from anyseek.model.encoders.pull import check_encoders
from anyseek.model.fourm.bundled.bundle import Bundle, load_bundle
from anyseek.model.fourm.bundled.images import DenseImageDecoder
from anyseek.model.fourm.bundled.layout import DENSE, INPUTS, TEXTS
from anyseek.model.fourm.codecs import InputForm, TargetForm, TextCodec
from anyseek.model.fourm.inputs import FourMParts
from anyseek.model.fourm.model import FourMModel
from anyseek.model.fourm.spaces import Embedding, GlobalSpace
from anyseek.model.fourm.specialists import Specialist, Specialists
from anyseek.model.lazy import Lazy
from anyseek.model.modalities.registry import MODALITIES, Content
from anyseek.model.network.config import EmbeddingKind, FourMConfig
from anyseek.model.network.packing import pack, pack_linears
from anyseek.model.tokenizers.text import TextTokenizer
from anyseek.model.tokenizers.vqvae import VQVAE
from anyseek.model.towers.captions import Captioner

_WINDOW = 16  # samples whose inputs are made together, which is what the network sees together


def load_bundled(name: str, home: Path, folder: Path | None = None, device: str = CPU) -> FourMModel:
    """Load the bundled model `name` with the encoders pulled below `home`; `folder` as for `load_bundle`.

    All of it is on `device`, one that `anyseek.model.compute.devices` offers. Raises `BadDevice`, `UnknownModel`,
    `WeightsMissing` (also for encoders not pulled yet, naming the command), `WeightsCorrupt`, `ConfigInvalid` and
    `CheckpointMismatch`.
    """
    where = torch_device(device)
    bundle = load_bundle(name, folder)
    encoders = check_encoders(home)
    # Loaded with the first picture: queries by words need none.
    image_encoder = Lazy(lambda: _image_encoder(encoders / "efficientnet-lite0.safetensors", where))
    english = load_minilm(encoders / "minilm-l6.safetensors", encoders / "minilm-l6.tokenizer.json")
    text_encoder = load_any_language(english, bundle.language_map, home)
    if where.type == CPU:
        pack_linears(text_encoder)
    else:
        for module in (*bundle.modules(), text_encoder):
            module.to(where)
    pack(bundle.network, tuple(bundle.spaces))
    see = None if bundle.towers_space is None else bundle.towers_space.towers.tower_input
    specialists = Specialists(
        lambda pixels: cast(Features, image_encoder()(pixels)),
        text_encoder,
        bundle.projection,
        see,
        lambda pixels: image_encoder().levels(pixels),
    )
    embedding = _embedding(bundle)
    parts = bundled_parts(bundle, specialists)
    captioner = None
    if bundle.towers_space is not None:
        features, sentences = specialists.image_features, specialists.sentence_vectors
        captioner = Captioner(bundle.towers_space.towers, features, sentences, bundle.certainty, bundle.answers)
    vectors = [name for name, row in MODALITIES.items() if row.content is Content.VECTOR and name in bundle.spaces]
    return FourMModel(parts, frozenset(bundle.inputs), lambda: embedding, vectors, captioner)


def _image_encoder(path: Path, device: torch.device) -> EfficientNetLite0:
    """On a CPU with fused operations; a card takes torch's own layers."""
    return load_fastest(path) if device.type == CPU else load_efficientnet(path).to(device)


def bundled_parts(bundle: Bundle, specialists: Specialists) -> FourMParts:
    """A bundle's network together with its codecs."""
    config = bundle.network.config
    return FourMParts(
        bundle.name,
        bundle.network,
        {name: _input_form(name, config) for name in bundle.inputs},
        target_forms(bundle),
        BundledTokenizers(bundle.text, bundle.tokenizers),
        specialists,
        feeds_values=True,
        dense_images=None if bundle.decoder is None else DenseImageDecoder(bundle.decoder, bundle.dense, specialists),
    )


@dataclass(frozen=True)
class BundledTokenizers:
    """Implements `anyseek.model.fourm.codecs.Tokenizers` with a bundle's tokenizers."""

    text: TextTokenizer
    of_spaces: Mapping[str, VQVAE]

    def tokenizer(self, name: str) -> VQVAE:
        """The tokenizer of the vectors of a space."""
        return self.of_spaces[name]


def _input_form(name: str, config: FourMConfig) -> InputForm:
    """The form in which a modality enters the network: as the output of a specialist encoder, or as a text."""
    row = INPUTS[name]
    specialist = Specialist.IMAGE if row.is_seen else None
    match config.row(row.key).kind:
        case EmbeddingKind.SEQUENCE:
            return InputForm(row.key, TextCodec(name, row.ending), specialist)
        case EmbeddingKind.SEQUENCE_EMBEDDING:
            return InputForm(row.key, None, Specialist.TEXT)
        case _:
            return InputForm(row.key, None, specialist)


def target_forms(bundle: Bundle) -> dict[str, TargetForm]:
    """The targets that the network writes or draws. Embedding predicts the vectors of its spaces."""
    forms = {name: TargetForm(name, TextCodec(name)) for name in TEXTS if name in bundle.network.config.domains_out}
    forms |= {name: TargetForm(DENSE[name], target, crops_inputs=True) for name, target in bundle.dense.items()}
    return {name: forms[name] for name in MODALITIES if name in forms}


def _embedding(bundle: Bundle) -> Embedding:
    config, spaces = bundle.network.config, {}
    for name, about in bundle.spaces.items():
        grid = config.row(name).grid or (1, config.row(name).tokens)
        stored = bundle.gallery[name] == "exact"
        spaces[name] = GlobalSpace(about, name, grid, bundle.tokenizers[name], exact_gallery=stored)
    defaults = dict(bundle.default_spaces)
    colours = colour_space(instead=defaults[PALETTE]) if PALETTE in bundle.inputs else None
    return Embedding(
        bundle.fingerprint,
        spaces,
        defaults if colours is None else {**defaults, PALETTE: COLOURS},
        _WINDOW,
        bundle.fusion,
        residual=bundle.shortcuts,
        towers_space=bundle.towers_space,
        colours=colours,
    )
