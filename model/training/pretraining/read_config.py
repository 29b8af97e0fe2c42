"""A config file (YAML) to a `TrainingConfig`. `docs/training.md` lists every key. No torch.

Whatever is missing, unknown or out of range is refused in one sentence: `TrainingConfigInvalid`. Paths are relative to
the current folder.
"""

from collections.abc import Callable, Collection
from dataclasses import asdict, fields
from pathlib import Path
from typing import Any, TypeVar, get_args

import yaml

from model.config import FourMConfig, ModalityConfig
from model.formats.layout import Keep
from model.training.pretraining.check_config import check_modalities
from model.training.pretraining.config import (
    AdamWConfig,
    BatchConfig,
    ContrastConfig,
    DataConfig,
    EvaluationConfig,
    FieldKind,
    Folder,
    LossKind,
    Mixture,
    OptimiserConfig,
    Precision,
    Range,
    RecallConfig,
    RunConfig,
    Sharding,
    StartConfig,
    TextConfig,
    TrainedModality,
    TrainingConfig,
)
from model.training.pretraining.errors import TrainingConfigInvalid
from model.training.pretraining.fields import TEXTS
from model.training.pretraining.reading import Section
from model.training.pretraining.sizes import SIZES

_Config = TypeVar("_Config")
_NETWORK_FIELDS = {f.name: f.type for f in fields(FourMConfig)}
_OURS = {"domains_in", "domains_out", "modalities"}
_ROW_FIELDS = [f.name for f in fields(ModalityConfig) if f.name not in ("key", "kind")]


def read_config(path: Path) -> TrainingConfig:
    """The config in a file. Raises `TrainingConfigInvalid`."""
    return read_sections(path, _training)


def read_sections(path: Path, read: Callable[[Section], _Config]) -> _Config:
    """What `read` makes of the mapping in a YAML file. Raises `TrainingConfigInvalid` naming the file."""
    try:
        values = yaml.safe_load(path.read_text(encoding="utf-8"))
    except OSError as error:
        raise TrainingConfigInvalid(f"the config {path} cannot be read: {error.strerror}") from error
    except (yaml.YAMLError, UnicodeDecodeError) as error:
        raise TrainingConfigInvalid(f"the config {path} is no YAML: {' '.join(str(error).split())}") from error
    try:
        return read(Section("", values))
    except TrainingConfigInvalid as error:
        raise TrainingConfigInvalid(f"{path}: {error}") from error


def _training(section: Section) -> TrainingConfig:
    mixture = _mixture(section.section("masking"))
    contrast = _contrast(section.section("contrast")) if section.has("contrast") else None
    whole = () if contrast is None else contrast.targets
    modalities = tuple(_modality(key, one, mixture, whole) for key, one in section.named_sections("modalities"))
    config = TrainingConfig(
        seed=section.whole("seed", 0),
        total_tokens=section.whole("total_tokens", least=1),
        network=_network(section.section("network")),
        modalities=modalities,
        start=_start(section) if section.has("start") else None,
        contrast=contrast,
        text=_text(section.section("text")) if section.has("text") else None,
        data=read_data(section.section("data")),
        mixture=mixture,
        optimiser=_optimiser(section.section("optimiser")),
        batch=read_batch(section.section("batch")),
        precision=section.choice("precision", Precision, Precision.BFLOAT16),
        loss=section.choice("loss", LossKind, LossKind.MOD),
        average_decay=section.number("average_decay", 0.999, most=1.0),
        evaluation=_evaluation(section.section("evaluation")) if section.has("evaluation") else None,
        run=read_run(section.section("run", {})),
    )
    section.close()
    check_modalities(config)
    return config


def _network(section: Section) -> dict[str, Any]:
    size = section.take("size", None)
    if size is not None and size not in SIZES:
        raise TrainingConfigInvalid(f"network.size must be one of {', '.join(SIZES)}, not {size!r}")
    given = section.rest()
    for name, value in given.items():
        if name not in _NETWORK_FIELDS or name in _OURS:
            raise TrainingConfigInvalid(f"there is no setting {name!r} in network")
        kinds = get_args(_NETWORK_FIELDS[name]) or (_NETWORK_FIELDS[name],)
        if type(value) not in kinds and not (float in kinds and type(value) is int):
            raise TrainingConfigInvalid(f"network.{name} must be {kinds[0].__name__}, not {value!r}")
    return {**SIZES.get(size, {}), **given}


def _start(section: Section) -> StartConfig:
    """`start: NAME`, or a mapping with `from`."""
    value = section.take("start")
    below = Section("start", {"from": value} if isinstance(value, str) else value)
    start = StartConfig(below.text("from"), below.whole("frozen_tokens", 0))
    below.close()
    return start


def _mixture(section: Section) -> Mixture:
    mixture = Mixture(
        section.numbers("weights", 1.0), _range(section, "input_tokens"), _range(section, "target_tokens")
    )
    section.close()
    if not any(mixture.weights):
        raise TrainingConfigInvalid("masking.weights must have a number above 0")
    return mixture


def _range(section: Section, key: str) -> Range:
    ends = section.whole_numbers(key, least=1)
    if len(ends) not in (1, 2) or ends[0] > ends[-1]:
        raise TrainingConfigInvalid(f"{section.name(key)} must be a number or a rising pair, not {list(ends)}")
    return Range(ends[0], ends[-1])


def _contrast(section: Section) -> ContrastConfig:
    own = section.section("own", {})
    targets = section.texts("targets")
    contrast = ContrastConfig(
        targets=targets,
        code_weight=section.number("code_weight", 0.25),
        negatives=section.whole("negatives", 2048),
        other_share=section.number("other_share", 0.0, most=1.0),
        own={key: own.texts(key) for key in own.names()},
        ranks=_ranks(section, targets),
        train_maps=section.flag("train_maps", True),
    )
    section.close()
    return contrast


def _ranks(section: Section, targets: Collection[str]) -> dict[str, int]:
    """The ranks of the shortcuts to each target: one number, or one for each."""
    ranks = section.whole_numbers("rank", 96, least=1)
    if len(ranks) not in (1, len(targets)):
        raise TrainingConfigInvalid(
            f"{section.name('rank')} must be one number, or one for each of {', '.join(targets)}, not {list(ranks)}"
        )
    return dict(zip(targets, ranks if len(ranks) > 1 else ranks * len(targets), strict=True))


def _modality(key: str, section: Section, mixture: Mixture, whole: Collection[str]) -> TrainedModality:
    kind = section.choice("kind", FieldKind)
    components = len(mixture.weights)
    keep = tuple(Keep(value) for value in section.texts("keep", "random") if _is_keep(section, value))
    modality = TrainedModality(
        key=key,
        fields=section.texts("field", key),
        kind=kind,
        format=_format(key, section) if kind is FieldKind.TEXT else "",
        row={name: section.take(name) for name in _ROW_FIELDS if section.has(name)},
        input=_spread(section, "input", section.numbers("input", ()), components),
        target=_spread(section, "target", section.numbers("target", ()), components),
        keep=_spread(section, "keep", keep, components),
        max_tokens=section.whole("max_tokens", least=1) if section.has("max_tokens") else None,
        loss_weight=section.number("loss_weight", 1.0),
        tokenizer=_tokenizer(section, kind),
        lengths=section.text("lengths") if kind is FieldKind.STATES and section.has("lengths") else None,
    )
    section.close()
    if modality.target and not kind.can_be_predicted:
        raise TrainingConfigInvalid(f"{section.path}.target cannot be: a {kind} can only be an input")
    if key in whole and (modality.target or kind is not FieldKind.VECTOR):
        raise TrainingConfigInvalid(f"{section.path} is in contrast.targets; it must be of kind vector, without target")
    if not modality.input and not modality.target and key not in whole:
        raise TrainingConfigInvalid(f"{section.path} must be an input or a target; give it one of the two")
    return modality


def _tokenizer(section: Section, kind: FieldKind) -> Path | None:
    """Vectors need one; of tokens it may be told which one made them."""
    told = kind is FieldKind.VECTOR or (kind is FieldKind.TOKENS and section.has("tokenizer"))
    return Path(section.text("tokenizer")) if told else None


def _is_keep(section: Section, value: str) -> bool:
    if value not in list(Keep):
        raise TrainingConfigInvalid(f"{section.name('keep')} must be one of {', '.join(Keep)}, not {value!r}")
    return True


def _format(key: str, section: Section) -> str:
    chosen = section.text("format", key if key in TEXTS else "caption")
    if chosen not in TEXTS:
        raise TrainingConfigInvalid(f"{section.name('format')} must be one of {', '.join(TEXTS)}, not {chosen!r}")
    return chosen


def _spread(section: Section, key: str, values: tuple[Any, ...], components: int) -> tuple[Any, ...]:
    """One value a component: a value alone is that of all."""
    if len(values) in (0, components):
        return values
    if len(values) != 1:
        raise TrainingConfigInvalid(
            f"{section.name(key)} has {len(values)} entries; masking.weights has {components} components"
        )
    return values * components


def _text(section: Section) -> TextConfig:
    vocabulary = section.text("vocabulary") if section.has("vocabulary") else None
    words = section.whole("words", least=1) if section.has("words") else 0
    section.close()
    if (vocabulary is None) == (words == 0):
        raise TrainingConfigInvalid("text must have either a vocabulary file or a number of words")
    return TextConfig(None if vocabulary is None else Path(vocabulary), words)


def read_data(section: Section) -> DataConfig:
    """The data sets of a run."""
    folders = []
    for one in section.sections("folders"):
        folders.append(Folder(Path(one.text("folder")), one.number("weight", 1.0)))
        one.close()
    window = section.whole("window", 64, least=1)
    section.close()
    if not any(folder.weight for folder in folders):
        raise TrainingConfigInvalid("data.folders must have a folder with a weight above 0")
    return DataConfig(tuple(folders), window)


def _optimiser(section: Section) -> OptimiserConfig:
    warm_up = section.whole("warm_up_tokens", 0)
    return OptimiserConfig(**asdict(read_adamw(section, (0.9, 0.95))), warm_up_tokens=warm_up)


def read_adamw(section: Section, usual_betas: tuple[float, float]) -> AdamWConfig:
    """AdamW and its rate; nothing else may be left in the section."""
    betas = section.numbers("betas", usual_betas)
    if len(betas) != 2 or max(betas) >= 1:
        raise TrainingConfigInvalid(f"optimiser.betas must be two numbers below 1, not {list(betas)}")
    clip = section.take("clip", None)
    config = AdamWConfig(
        base_rate=section.number("base_rate"),
        betas=(betas[0], betas[1]),
        epsilon=section.number("epsilon", 1e-8),
        weight_decay=section.number("weight_decay", 0.05),
        clip=None if clip is None else Section("optimiser", {"clip": clip}).number("clip", least=1e-12),
        final_share=section.number("final_share", 0.0, most=1.0),
    )
    section.close()
    return config


def read_batch(section: Section) -> BatchConfig:
    """How many samples make a step."""
    batch = BatchConfig(section.whole("size", least=1), section.whole("accumulation", 1, least=1))
    section.close()
    if batch.size % batch.accumulation:
        raise TrainingConfigInvalid(f"batch.size {batch.size} must be a multiple of accumulation {batch.accumulation}")
    return batch


def _evaluation(section: Section) -> EvaluationConfig:
    recall = []
    for one in section.sections("recall", []):
        queries = one.take("queries")
        if not isinstance(queries, list) or not queries:
            raise TrainingConfigInvalid(f"{one.name('queries')} must be a list of lists of modalities")
        sets = [Section(one.path, {"queries": query}).texts("queries") for query in queries]
        recall.append(RecallConfig(one.text("target"), tuple(sets)))
        one.close()
    config = EvaluationConfig(section.whole("every", least=1), section.whole("samples", 512, least=1), tuple(recall))
    section.close()
    return config


def read_run(section: Section) -> RunConfig:
    """What changes nothing about the result."""
    run = RunConfig(
        checkpoint_every=section.whole("checkpoint_every", 500, least=1),
        keep=section.whole("keep", 2, least=1),
        report_every=section.whole("report_every", 20, least=1),
        workers=section.whole("workers", 1, most=256),
        sharding=section.choice("sharding", Sharding, Sharding.NONE),
        activation_checkpointing=section.flag("activation_checkpointing", False),
    )
    section.close()
    return run
