"""Kind `text_formats`: the strings and ids of every sequence format, and how sequences are masked and laid out."""

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from anyseek.model.errors import WeightsMissing
from anyseek.model.generation.state import ModalityState, image_target, sequence_target, text_target
from anyseek.model.modalities.formats.boxes import Box, LabelledBox, boxes_to_text
from anyseek.model.modalities.formats.color_palette import palette_to_text
from anyseek.model.modalities.formats.human_poses import HumanPose, poses_to_text
from anyseek.model.modalities.formats.layout import Budgets, lay_out
from anyseek.model.modalities.formats.metadata import (
    FIELD_NUMBERS,
    FIELDS,
    Count,
    Metadata,
    Range,
    Steps,
    metadata_chunks,
    metadata_to_text,
)
from anyseek.model.modalities.formats.sam_instances import MaskInstance, QueryPoint, instances_to_text, query_grid
from anyseek.model.modalities.formats.spans import SpecialIds, mask_spans, merge_spans
from anyseek.model.tokenizers.text import TextTokenizer
from tests.golden.cases import Case
from tests.golden.checkers import CheckOptions
from tests.golden.comparison import Comparison

_FIRST_KEEP = 0.5  # the keep probability that recorded layouts began with


class TextFormatsChecker:
    """Compares every section of the document with what the vocabulary makes of it."""

    def accepts(self, case: Case) -> bool:
        """A JSON object with one of the sections known here."""
        return bool(_SECTIONS.keys() & case.document.keys())

    def check(self, case: Case, options: CheckOptions) -> Comparison:
        """Compare each section; one that nothing here checks is a failure. Needs the vocabulary."""
        if options.vocabulary is None:
            raise WeightsMissing(f"{case.name} needs the text tokenizer's file; name it with --vocabulary")
        tokenizer, result = TextTokenizer.from_file(options.vocabulary), Comparison()
        for section, recorded in case.document.items():
            check = _SECTIONS.get(section)
            result.agree(section, check is not None, "nothing checks this section")
            if check is not None:
                check(result, tokenizer, recorded)
        return result


def _same_text(result: Comparison, tokenizer: TextTokenizer, place: str, text: str, entry: Mapping[str, Any]) -> None:
    """A text must be the recorded one and have the recorded ids."""
    result.agree(f"{place} text", text == entry["text"], f"{text!r} is not {entry['text']!r}")
    result.agree(f"{place} ids", tokenizer.encode(text) == entry["ids"], f"the ids of {text!r} differ")


def _caption(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(recorded):
        place = f"caption {number}"
        _same_text(result, tokenizer, place, entry["text"], entry)
        ids = [tokenizer.id_of(token) for token in entry["tokens"]]
        result.agree(f"{place} tokens", ids == entry["ids"], "the tokens are not those of the ids")
        decoded = tokenizer.decode(entry["ids"])
        result.agree(f"{place} decoded", decoded == entry["decoded"], f"{decoded!r} is not {entry['decoded']!r}")


def _metadata(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(recorded):
        metadata = Metadata(entry["input"])
        result.agree(f"metadata {number}", metadata_chunks(metadata) == entry["chunks"], "the pairs differ")
        _same_text(result, tokenizer, f"metadata {number}", metadata_to_text(metadata), entry)


def _field_numbers(result: Comparison, tokenizer: TextTokenizer, recorded: Mapping[str, str]) -> None:
    ours = {name: f"v1={number}" for name, number in FIELD_NUMBERS.items()}
    result.agree("metadata_id_map", ours == recorded, f"{ours} is not {recorded}")


def _ranges(result: Comparison, tokenizer: TextTokenizer, recorded: Mapping[str, list[float]]) -> None:
    ours = {name: [kind.low, kind.high, kind.bins] for name, kind in FIELDS.items() if isinstance(kind, Range)}
    result.agree("metadata_min_max_bins", ours == recorded, f"{ours} is not {recorded}")


def _steps(result: Comparison, tokenizer: TextTokenizer, recorded: Mapping[str, list[float]]) -> None:
    ours = {name: list(kind.boundaries) for name, kind in FIELDS.items() if isinstance(kind, Steps)}
    result.agree("metadata_manual_bins", ours == recorded, f"{ours} is not {recorded}")


def _counts(result: Comparison, tokenizer: TextTokenizer, recorded: list[str]) -> None:
    ours = {name for name, kind in FIELDS.items() if kind == Count()}
    result.agree("metadata_int", ours == set(recorded), f"{sorted(ours)} is not {recorded}")


def _det(result: Comparison, tokenizer: TextTokenizer, recorded: dict[str, Any] | list[dict[str, Any]]) -> None:
    for entry in recorded if isinstance(recorded, list) else [recorded]:
        boxes = [LabelledBox(Box(*corners), label, score) for *corners, label, score in entry["boxes_xyxy_label_score"]]
        _same_text(result, tokenizer, "det", boxes_to_text(boxes), entry)


def _color_palette(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(recorded):
        palette = np.array(entry["rgb_values"], np.uint8).reshape(-1, 3)
        _same_text(result, tokenizer, f"color_palette {number}", palette_to_text(palette), entry)


def _human_poses(result: Comparison, tokenizer: TextTokenizer, recorded: dict[str, Any]) -> None:
    for entry in recorded if isinstance(recorded, list) else [recorded]:
        people = [_person(entry["instance"], entry["group_names"])] * entry["n_instances"]
        orders = [[entry["group_names"][place] for place in order] for order in entry["permutations"]]
        _same_text(result, tokenizer, "human_poses", poses_to_text(people, orders), entry)
        nobody = {"text": entry["empty_text"], "ids": entry["empty_ids"]}
        _same_text(result, tokenizer, "human_poses of nobody", poses_to_text([]), nobody)


def _person(words: list[Any], groups: list[str]) -> HumanPose:
    """A person from a flat list: `human`, four numbers, then each group's word and its numbers."""
    starts = {word: place for place, word in enumerate(words) if word in ("human", *groups)}
    ends = [*sorted(starts.values())[1:], len(words)]
    numbers = {word: words[start + 1 : min(e for e in ends if e > start)] for word, start in starts.items()}
    return HumanPose(
        Box(*numbers["human"]),
        tuple(numbers["pose"]),
        tuple(numbers["global"]),
        tuple(numbers["camera"]),
        tuple(numbers["shape"]),
    )


def _sam_instance(result: Comparison, tokenizer: TextTokenizer, recorded: dict[str, Any]) -> None:
    points = [
        QueryPoint(point["point_y"], point["point_x"], tuple(_mask(instance) for instance in point["instances"]))
        for point in recorded["points"]
    ]
    _same_text(result, tokenizer, "sam_instance", instances_to_text(points), recorded)
    for name, grid in recorded.items():
        if name.startswith("grid_points_"):
            ours = [list(place) for place in query_grid(int(name.removeprefix("grid_points_")))]
            result.agree(name, ours == grid, f"{ours} are not {grid}")


def _mask(instance: Mapping[str, Any]) -> MaskInstance:
    ymin, xmin, ymax, xmax = instance["bbox_ymin_xmin_ymax_xmax"]
    return MaskInstance(Box(xmin, ymin, xmax, ymax), tuple(instance["token_ids"]))


def _span_masking(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    _chunk_span_masking(
        result, tokenizer, [entry | {"chunks": [[token] for token in entry["sequence"]]} for entry in recorded]
    )


def _chunk_span_masking(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    ids = SpecialIds.of(tokenizer)
    for number, entry in enumerate(recorded):
        spans = mask_spans(entry["chunks"], [bool(masked) for masked in entry["masked"]], ids)
        merged = merge_spans(entry["input"], entry["target"], ids)
        whole = entry.get("merged", [token for chunk in entry["chunks"] for token in chunk])
        result.agree(f"span masking {number} input", list(spans.input) == entry["input"], f"{spans.input}")
        result.agree(f"span masking {number} target", list(spans.target) == entry["target"], f"{spans.target}")
        result.agree(f"span masking {number} merged", merged == whole, f"{merged} is not {whole}")


class _RecordedDraws:
    """The draws of a recorded layout: its uniform numbers again and again, and NumPy's old generator with seed 0."""

    def __init__(self, masked: list[int] | None) -> None:
        self._uniform = np.array(masked or [], np.float64) * 0.999 + 0.0005
        self._legacy = np.random.RandomState(0)

    def random(self, size: int, /) -> npt.NDArray[np.float64]:
        return self._uniform[:size]

    def integers(self, high: int, /) -> int:
        return int(self._legacy.randint(high))


def _sequence_layout(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(recorded):
        chunks = [(token,) for token in [*tokenizer.encode(entry["text"]), tokenizer.end_id]]
        budgets = Budgets(entry["max_tokens"], entry["input_budget"], entry["target_budget"])
        layout = lay_out(chunks, budgets, _FIRST_KEEP, SpecialIds.of(tokenizer), _RecordedDraws(entry["masked"]))
        place = f"sequence_layout {number}"
        result.equal(f"{place} tensor", layout.ids, entry["tensor"])
        result.equal(f"{place} input_mask", layout.input_mask, np.array(entry["input_mask"], bool))
        result.equal(f"{place} target_mask", layout.target_mask, np.array(entry["target_mask"], bool))
        reach = np.array(entry["decoder_attention_mask"], bool)  # our decoder derives it from the targets
        result.equal(f"{place} decoder_attention_mask", ~layout.target_mask, reach)


def _custom_text(result: Comparison, tokenizer: TextTokenizer, recorded: list[dict[str, Any]]) -> None:
    for number, entry in enumerate(recorded):
        rows = [tokenizer.encode(entry["text"])]
        state = text_target(rows, entry["target_max_len"], SpecialIds.of(tokenizer))
        _same_state(result, f"custom_text {number}", state, entry)


def _empty_target_seq(result: Comparison, tokenizer: TextTokenizer, recorded: dict[str, Any]) -> None:
    state = sequence_target(1, len(recorded["tensor"]), SpecialIds.of(tokenizer))
    _same_state(result, "empty_target_seq", state, recorded)


def _empty_target_img(result: Comparison, tokenizer: TextTokenizer, recorded: dict[str, Any]) -> None:
    _same_state(result, "empty_target_img", image_target(1, len(recorded["tensor"])), recorded)


def _same_state(result: Comparison, place: str, state: ModalityState, entry: Mapping[str, Any]) -> None:
    result.equal(f"{place} tensor", state.values[0], entry["tensor"])
    result.equal(f"{place} input_mask", state.input_mask[0].int(), entry["input_mask"])
    result.equal(f"{place} target_mask", state.target_mask[0].int(), entry["target_mask"])


_SECTIONS: Mapping[str, Callable[[Comparison, TextTokenizer, Any], None]] = {
    "caption": _caption,
    "metadata": _metadata,
    "metadata_id_map": _field_numbers,
    "metadata_min_max_bins": _ranges,
    "metadata_manual_bins": _steps,
    "metadata_int": _counts,
    "det": _det,
    "color_palette": _color_palette,
    "human_poses": _human_poses,
    "sam_instance": _sam_instance,
    "span_masking": _span_masking,
    "chunk_span_masking": _chunk_span_masking,
    "sequence_layout": _sequence_layout,
    "custom_text": _custom_text,
    "empty_target_seq": _empty_target_seq,
    "empty_target_img": _empty_target_img,
}

CHECKER = TextFormatsChecker()
