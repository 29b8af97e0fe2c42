"""One step for a sequence: its target entries token by token, then put where its input has sentinels."""

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from model.formats.spans import merge_spans
from model.generation.guidance import combine
from model.generation.prefix_decoder import PrefixDecoder
from model.generation.run import GenerationInvalid, Run
from model.generation.schedule import Step
from model.generation.state import ModalityState, State, given_sequence


@dataclass(frozen=True)
class _Wanted:
    """What a row's target entries ask for: tokens after `start`, at most `count` of them, up to and including `end`."""

    start: int
    end: int
    count: int

    def is_met(self, drawn: Sequence[int]) -> bool:
        return len(drawn) >= self.count or self.end in drawn

    def cut(self, drawn: Sequence[int]) -> list[int]:
        """What was drawn before the row was done."""
        drawn = drawn[: self.count]
        return list(drawn[: drawn.index(self.end) + 1] if self.end in drawn else drawn)


def decode_sequence(run: Run, index: int, step: Step, state: State) -> ModalityState:
    """The target's state with everything decoded: each row the sequence that input and prediction make, all input."""
    target = state[step.target]
    wanted = _wanted(run, step, target)
    longest = max(row.count for row in wanted)
    contexts = [run.views.context(place, state, step.guidance) for place in range(step.guidance.passes)]
    decoders = [PrefixDecoder(run.network, step.target, context, longest) for context in contexts]
    tokens = torch.tensor([row.start for row in wanted], device=target.values.device)
    drawn: list[list[int]] = [[] for _ in wanted]
    while not all(row.is_met(new) for row, new in zip(wanted, drawn, strict=True)):
        position = torch.full((len(wanted), 1), len(drawn[0]), device=tokens.device)
        logits = [decoder.step(tokens) for decoder in decoders]
        for seen in logits:
            run.observe(index, step, position, seen[:, None])
        tokens, _ = run.sample(step, combine(logits, step.guidance))
        for new, token in zip(drawn, tokens.tolist(), strict=True):
            new.append(token)
    return _merged(run, target, wanted, drawn)


def _wanted(run: Run, step: Step, target: ModalityState) -> list[_Wanted]:
    most = run.network.config.row(step.target).max_length
    rows = target.target_rows()
    if run.options.reference_faults:
        rows = [rows[0]] * len(rows)
    wanted = [_Wanted(row[0], row[-1], min(len(row), most)) for row in rows if row]
    if len(wanted) < len(rows):
        raise GenerationInvalid(f"a row of {step.target} has no target entry; every row of the batch needs one or more")
    return wanted


def _merged(run: Run, target: ModalityState, wanted: list[_Wanted], drawn: list[list[int]]) -> ModalityState:
    if not run.options.reference_faults:
        drawn = [row.cut(new) for row, new in zip(wanted, drawn, strict=True)]
    rows = [
        merge_spans(given, [row.start, *new], run.ids)
        for given, row, new in zip(target.input_rows(), wanted, drawn, strict=True)
    ]
    return given_sequence(rows, run.ids).to(target.values.device)
