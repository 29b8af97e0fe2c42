"""Kind `schedules`: token and temperature schedules, filters of logits, diffusion schedules, identifiers, metadata."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import torch

from anyseek.model.generation.run import filter_logits
from anyseek.model.generation.schedule import cosine_counts, linear_counts, temperatures
from anyseek.model.network.config import EmbeddingKind, ModalityConfig, parse_metadata
from anyseek.model.tokenizers.diffusion import TimestepSpacing, alphas_cumprod, timesteps
from tests.golden.cases import Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison
from tests.golden.weights import normal

_TEMPERATURE_TOLERANCE = 1e-9
_ALPHA_TOLERANCE = 1e-5


class SchedulesChecker:
    """Compares every section of the document."""

    def accepts(self, case: Case) -> bool:
        """A JSON object with one of the sections known here."""
        return bool(_SECTIONS.keys() & case.document.keys())

    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare each section; one that nothing here checks is a failure."""
        result = Comparison()
        for section, recorded in case.document.items():
            check = _SECTIONS.get(section)
            result.agree(section, check is not None, "nothing checks this section")
            if check is not None:
                check(result, recorded)
        return result


def _cosine(result: Comparison, recorded: list[dict[str, Any]]) -> None:
    for entry in recorded:
        result.equal(f"cosine {entry['steps']}", np.array(cosine_counts(entry["steps"], entry["total"])), entry["out"])


def _linear(result: Comparison, recorded: list[dict[str, Any]]) -> None:
    for entry in recorded:
        result.equal(f"linear {entry['steps']}", np.array(linear_counts(entry["steps"], entry["total"])), entry["out"])


def _temp_linear(result: Comparison, recorded: dict[str, Any] | list[dict[str, Any]]) -> None:
    for entry in recorded if isinstance(recorded, list) else [recorded]:
        ours = temperatures("linear", entry["temp"], entry["tokens"])
        result.close("temp_linear", np.array(ours), entry["out"], _TEMPERATURE_TOLERANCE)


def _temp_onex(result: Comparison, recorded: list[dict[str, Any]]) -> None:
    for entry in recorded:
        ours = temperatures(f"onex:{entry['min_t']}:{entry['power']}", entry["max_t"], entry["tokens"])
        result.close("temp_onex", np.array(ours), entry["out"], _TEMPERATURE_TOLERANCE)


def _filter(result: Comparison, recorded: dict[str, Any]) -> None:
    logits = torch.from_numpy(recorded["scale"] * normal(recorded["logits_name"], recorded["shape"]))
    for entry in recorded["cases"]:
        kept = filter_logits(logits, entry["top_k"], entry["top_p"]).isfinite()
        result.equal(f"filter top_k {entry['top_k']} top_p {entry['top_p']}", kept.int(), entry["kept"])


def _alphas_cumprod(result: Comparison, recorded: Mapping[str, Mapping[str, float]]) -> None:
    """By `<schedule>|zsnr=<True or False>`, the values at some of 1,000 timesteps."""
    for name, values in recorded.items():
        schedule, _, zero = name.partition("|zsnr=")
        table = alphas_cumprod(schedule, zero_terminal_snr=zero == "True")
        places = [int(place) for place in values]
        result.close(f"alphas_cumprod {name}", table[places], np.array(list(values.values())), _ALPHA_TOLERANCE)


def _timesteps(result: Comparison, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    """By `<sampler>|<steps>|<spacing>`; DDPM's are leading, whatever spacing is named."""
    for name, entry in recorded.items():
        sampler, count, spacing = name.split("|")
        ours = timesteps(int(count), TimestepSpacing.LEADING if sampler == "ddpm" else TimestepSpacing(spacing))
        wanted = (entry["n"], entry["first"], entry["last"])
        found = (len(ours), ours[: len(entry["first"])], ours[-len(entry["last"]) :])
        result.agree(f"timesteps {name}", found == wanted, f"{found} are not {wanted}")


def _modality_ids(result: Comparison, recorded: Mapping[str, int]) -> None:
    for key, identifier in recorded.items():
        ours = ModalityConfig(key, EmbeddingKind.IMAGE_TOKENS).identifier
        result.agree(f"modality_ids {key}", ours == identifier, f"{ours} is not {identifier}")


def _metadata_parse(result: Comparison, recorded: Mapping[str, Mapping[str, Any]]) -> None:
    parsed = parse_metadata(recorded["raw"])
    for key, value in recorded["parsed"].items():
        same = parsed[key] == value and type(parsed[key]) is type(value)
        result.agree(f"metadata_parse {key}", same, f"{parsed[key]!r} is not {value!r}")


_SECTIONS: Mapping[str, Callable[[Comparison, Any], None]] = {
    "cosine": _cosine,
    "linear": _linear,
    "temp_linear": _temp_linear,
    "temp_onex": _temp_onex,
    "filter": _filter,
    "alphas_cumprod": _alphas_cumprod,
    "timesteps": _timesteps,
    "modality_ids": _modality_ids,
    "metadata_parse": _metadata_parse,
}

CHECKER = SchedulesChecker()
