"""Trains a tokenizer from its config file to its finished weights: `anyseek train tokenizer CONFIG`."""

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import Tensor, nn

from anyseek.model.checkpoints.files import load_tokenizer, save_checkpoint, weights_digest
from anyseek.model.data.samples import Split
from anyseek.model.network.config import ConfigInvalid
from anyseek.model.tokenizers.build import Tokenizer, build_tokenizer, initialise_image_tokenizer
from anyseek.model.tokenizers.config import TokenizerConfig
from anyseek.model.tokenizers.vqvae import VQVAE, parse_mlp
from anyseek.model.training.run.data_sets import FolderShards, Progress, entries_of, open_split
from anyseek.model.training.run.errors import TrainingConfigInvalid, TrainingDataInvalid
from anyseek.model.training.run.folder import RunFolder, flatten_settings
from anyseek.model.training.run.loop import Trainer, run_training
from anyseek.model.training.run.processes import choose_device
from anyseek.model.training.run.state import TrainingState
from anyseek.model.training.tokenizing.batches import InputSource, read_input
from anyseek.model.training.tokenizing.config import Reconstruction, TokenizerTraining, read_config
from anyseek.model.training.tokenizing.evaluation import TokenizerEvaluation
from anyseek.model.training.tokenizing.objective import TokenizerObjective

_FIT_VECTORS, _FIT_ROUNDS = 12_000, 12


@torch.no_grad()
def product_quantizer(config: TokenizerConfig, vectors: Tensor, seed: int) -> VQVAE:
    """A memcodes tokenizer fitted to `vectors` float32 (n, C) without gradients; `check_shape` accepts its config.

    Training memcodes from random codes with Gumbel noise took hours on a CPU and gave worse results. Here, principal
    components are assigned to the heads so that each has a similar share of the variance, k-means finds each head's
    codes (Ge et al., "Optimized Product Quantization", 2013), and the result becomes the tokenizer's own parameters.
    A head's slice has one more number than components, 1 in latents and -|c|^2 / 2 in codes c, so that the largest
    product is the nearest code.
    """
    _, width, _ = parse_mlp(config.enc_type)
    heads = config.num_codebooks
    generator = torch.Generator().manual_seed(seed)
    subset = vectors[torch.randperm(len(vectors), generator=generator)[:_FIT_VECTORS]]
    mean = subset.mean(dim=0)
    variances, axes = torch.linalg.eigh(torch.cov((subset - mean).T))
    axes = axes.flip(1)[:, :width]
    assignment = assign_components(variances.flip(0)[:width], heads)
    tokenizer = VQVAE(config)
    tokenizer.initialise(seed)
    for mlp in (tokenizer.encoder, tokenizer.decoder):
        for block in mlp.blocks:
            nn.init.zeros_(block.block[2].weight)  # type: ignore[union-attr,index]
    unchanged = (torch.eye(width), torch.zeros(width))
    for linear, (weight, bias) in (
        (tokenizer.encoder.linear_in, (axes.T, -axes.T @ mean)),
        (tokenizer.encoder.linear_out, unchanged),
        (tokenizer.decoder.linear_in, unchanged),
        (tokenizer.decoder.linear_out, (axes, mean)),
    ):
        linear.weight.copy_(weight)
        linear.bias.copy_(bias)
    _set_slices(tokenizer, assignment)
    parts = ((subset - mean) @ axes)[:, assignment]  # (n, heads, W / h)
    codes = torch.stack([k_means(parts[:, head], config.codebook_size, generator) for head in range(heads)])
    lengths = codes.square().sum(dim=2, keepdim=True)
    tokenizer.quantize.codes.copy_(torch.cat((codes, -lengths / 2), dim=2))
    identity = torch.eye(codes.shape[2] + 1).expand(heads, -1, -1)
    tokenizer.quantize.to_k.weight.copy_(identity)
    tokenizer.quantize.to_v.weight.copy_(identity)
    tokenizer.quantize.to_v.weight[:, -1] = 0.0
    return tokenizer.eval()


def assign_components(variances: Tensor, heads: int) -> Tensor:
    """Components int64 (heads, W / h) by head: each, largest first, goes to the head with the smallest product."""
    assignment: list[list[int]] = [[] for _ in range(heads)]
    logs = [0.0] * heads
    for component, size in enumerate((variances / variances[-1].clamp_min(1e-12)).log().tolist()):
        free = (head for head in range(heads) if len(assignment[head]) < len(variances) // heads)
        head = min(free, key=lambda head: logs[head])
        assignment[head].append(component)
        logs[head] += size
    return torch.tensor(assignment)


def k_means(points: Tensor, count: int, generator: torch.Generator) -> Tensor:
    """`count` centres float32 (K, d) of points (n, d); a centre without points is reset to a random point."""
    centres = points[torch.randint(len(points), (count,), generator=generator)]
    for _ in range(_FIT_ROUNDS):
        nearest = (points @ centres.T - centres.square().sum(dim=1) / 2).argmax(dim=1)
        counts = nearest.bincount(minlength=count)[:, None]
        sums = torch.zeros_like(centres).index_add_(0, nearest, points)
        fresh = points[torch.randint(len(points), (count,), generator=generator)]
        centres = torch.where(counts > 0, sums / counts.clamp_min(1), fresh)
    return centres


def _set_slices(tokenizer: VQVAE, assignment: Tensor) -> None:
    """Set the 1x1 convolutions from components to the heads' slices, scaled as the search undoes it, and back."""
    heads, components = assignment.shape
    scale = (components + 1) ** 0.5
    into, back = tokenizer.quant_proj, tokenizer.post_quant_proj
    for convolution in (into, back):
        nn.init.zeros_(convolution.weight)
    for head in range(heads):
        for offset, component in enumerate(assignment[head].tolist()):
            into.weight[head * (components + 1) + offset, component] = scale
            back.weight[component, head * (components + 1) + offset] = 1.0
        into.bias[head * (components + 1) + components] = scale  # type: ignore[index]


def train_tokenizer(
    config_path: Path, out: Path, *, resume: bool, device: str | None, say: Callable[[str], None]
) -> bool:
    """Train by a config, writing everything to the folder `out`; True if finished, False if stopped.

    With `resume`, a killed run continues from its last checkpoint to the same result. The finished tokenizer is
    `out`/tokenizer.safetensors: averaged weights, as `load_tokenizer` reads them. `device` is a torch device name; None
    means a GPU if there is one. Raises `TrainingError`, `DataError` and the errors of reading weights.
    """
    config, folder = read_config(config_path), RunFolder(out)
    with folder.lock():
        checkpoint = folder.checkpoint(resume)
        trainer = prepare(config, folder, choose_device(device), say)
        is_finished = run_training(trainer, checkpoint, config_path)
        if is_finished:
            with trainer.state.averages.applied(trainer.state.parameters):
                save_checkpoint(trainer.network, folder.tokenizer)
            say(f"made {folder.tokenizer}")
        return is_finished


def prepare(
    config: TokenizerTraining, folder: RunFolder, device: torch.device, say: Callable[[str], None]
) -> Trainer[Tokenizer, TokenizerObjective]:
    """The trainer of a run before its first step."""
    data = open_split(config.data, Split.TRAIN)
    settings = (config.modality, config.kind, config.tokenizer)
    source = InputSource(*settings, data, config.data.window, config.batch.part, config.seed)
    centred = config.loss.reconstruction is Reconstruction.CENTRED_COSINE
    vectors = read_vectors(source, say) if config.codes.fitted or centred else None
    network = begin(config, vectors)
    if isinstance(network, VQVAE) and config.start is None and not config.codes.fitted:
        maker = source.maker()
        spread_latents(network, maker.training_batch(0).values)
        maker.close()
    network.to(device)
    trained = sum(parameter.numel() for parameter in network.parameters() if parameter.requires_grad)
    samples = sum(folder.samples for folder in data)
    say(
        f"{type(network).__name__} of {trained / 1e6:.2f} M parameters, {samples:,} samples, "
        f"{config.steps:,} steps of {config.batch.size} samples"
    )
    fixed = {name: parameter.data for name, parameter in network.named_parameters() if not parameter.requires_grad}
    buffers = {**dict(network.named_buffers()), **fixed}
    state = TrainingState.fresh(network, config.optimiser, config.average_decay, buffers)
    mean = F.normalize(vectors, dim=1).mean(dim=0).to(device) if vectors is not None and centred else None
    objective = TokenizerObjective(config, device, mean)
    evaluation = None
    if config.evaluation is not None:
        unseen = replace(source, folders=open_split(config.data, Split.VAL))
        evaluation = TokenizerEvaluation(config.evaluation, unseen, objective, folder, state)
    made_with = _made_with(config, data)
    return Trainer(config, network, state, objective, source, evaluation, folder, made_with, say)


def _made_with(config: TokenizerTraining, data: tuple[FolderShards, ...]) -> dict[str, str]:
    """Everything that the result depends on: settings by their path, files by their digest."""
    settings = config.model_dump()
    settings["modality"]["kind"] = config.kind
    for name in ("run", "evaluation"):
        del settings[name]
    settings["data"] = {
        "folders": [[folder.digest, folder.weight, folder.source_weights] for folder in data],
        "window": config.data.window,
    }
    settings["start"] = weights_digest(config.start) if config.start is not None else ""
    return flatten_settings(settings)


# Of the latents of memcodes: scores then spread more than twice as far as the noise that codes are sampled with.
_DEVIATION = 3.0
_EPSILON = 1e-6
_VECTOR_DRAWS = 9  # a seed stream; those of batches and their noise end at 8


@torch.no_grad()
def read_vectors(source: InputSource, say: Callable[[str], None]) -> Tensor:
    """The vectors of all samples that have them, with a random one of several views: float32 (n, C).

    Raises `TrainingDataInvalid` if no sample has any.
    """
    draws = np.random.default_rng([source.seed, _VECTOR_DRAWS])
    fields = source.modality.fields
    progress = Progress("read the vectors", sum(folder.samples for folder in source.folders), say)
    vectors = []
    for _, entry in entries_of(source.folders, fields):
        files = {name: content for name, content in entry.files.items() if name.partition(".")[0] in fields}
        for name, content in files.items():
            vectors.append(read_input(source, name.partition(".")[0], {name: content}, 0, draws))
        progress.add(1)
    if not vectors:
        raise TrainingDataInvalid(f"no sample has {' or '.join(fields)}; build the data set with it")
    return torch.from_numpy(np.stack([vector for vector in vectors if vector is not None]))


def begin(config: TokenizerTraining, vectors: Tensor | None = None) -> Tokenizer:
    """The network before its first step; fitted codes are fitted to `vectors` float32 (n, C).

    It has the tensors of `config.start`, if given. Raises `TrainingConfigInvalid` for an invalid shape, or one that
    differs from the start's.
    """
    if config.codes.fitted and vectors is not None:
        fitted = product_quantizer(config.tokenizer, vectors, config.seed)
        for module in (fitted.encoder, fitted.quant_proj, fitted.quantize):
            module.requires_grad_(False)
        return fitted
    try:
        network = build_tokenizer(config.tokenizer)
    except ConfigInvalid as error:
        raise TrainingConfigInvalid(f"tokenizer: {error}") from error
    if isinstance(network, VQVAE):
        network.initialise(config.seed)
    else:
        initialise_image_tokenizer(network, config.seed)
    if config.start is not None:
        _load_start(network, config.start)
    return network


@torch.no_grad()
def _load_start(network: Tokenizer, path: Path) -> None:
    """Load the tensors of a tokenizer's file, except positions, which depend on the network's image size."""
    tensors = load_tokenizer(path).state_dict()
    for name, tensor in network.state_dict().items():
        if name.endswith("pos_emb"):
            continue
        if name not in tensors or tensors[name].shape != tensor.shape:
            raise TrainingConfigInvalid(f"start: {path} has no {name} of the shape {tuple(tensor.shape)}")
        tensor.copy_(tensors[name])


@torch.no_grad()
def spread_latents(network: VQVAE, vectors: Tensor) -> None:
    """Scale the latents of a first batch of vectors float (B, C) so that they differ, however similar the vectors are.

    Codes are sampled by scores plus noise. If latents are similar, as for vectors with a large mean, noise decides, the
    decoder learns to ignore the codes, and the encoder never gets a gradient to use them.
    """
    latents = network.latents(vectors)
    scale = _DEVIATION / latents.std(dim=0).clamp_min(_EPSILON)
    projection = network.quant_proj
    projection.weight.mul_(scale[:, None, None, None])
    if projection.bias is not None:
        projection.bias.copy_((projection.bias - latents.mean(dim=0)) * scale)
