"""Generating any modalities from any others with a 4M network.

    ids = SpecialIds.of(text_tokenizer)
    state = {
        "caption": given_sequence([text_tokenizer.encode("a red bus")], ids),
        "tok_clip@224": image_target(batch=1, tokens=196),
        "tok_rgb@224": image_target(batch=1, tokens=196),
    }
    plans = [
        TargetPlan("tok_clip@224", Scheme.ROAR, tokens=196, steps=50, temperature=5.0, guidance=3.0),
        TargetPlan("tok_rgb@224", Scheme.MASKGIT, tokens=196, steps=25, token_schedule="cosine", temperature=3.0),
    ]
    state = generate(fourm, state, chain(plans, ["caption"], grow=True), ids, Options(top_p=0.8, seed=0))
    state["tok_rgb@224"].values  # int64 (1, 196)

Generated modalities become inputs of the steps that follow, even in another network. For super-resolution, pass the
state to the network for 448 pixels and add empty targets, such as `image_target(1, 784)` for `tok_rgb@448`. A network
ignores modalities that it does not take.

`schedule.py` decides what is decoded when, `guidance.py` which passes a step makes, `run.py` what each pass sees,
`decoding.py` how a step decodes, and `sampling.py` how a token is drawn.
ROAR and chained generation: 4M (arXiv 2312.06647), MaskGIT: arXiv 2202.04200.
"""

from collections.abc import Sequence

import torch

from anyseek.model.generation.decoding import decode_image_tokens, decode_sequence
from anyseek.model.generation.run import GenerationInvalid, Observer, Options, Run
from anyseek.model.generation.schedule import Scheme, Step
from anyseek.model.generation.state import ModalityState, State
from anyseek.model.generation.unconditional import Unconditional
from anyseek.model.modalities.formats.spans import SpecialIds
from anyseek.model.network.transformer import FourM


@torch.inference_mode()
def generate(
    network: FourM,
    state: State,
    steps: Sequence[Step],
    ids: SpecialIds,
    options: Options | None = None,
    observe: Observer | None = None,
    unconditional: Unconditional | None = None,
) -> dict[str, ModalityState]:
    """Run the steps of a schedule and return the final state: every target is decoded and has become an input.

    `state` holds the inputs and the still empty targets by checkpoint key (`state.py` makes both); it
    stays as it is. `steps` come from `schedule.chain`, `ids` are the vocabulary's special ids. `observe` is told
    of every run of the decoder, which also serves to show progress. The encoder runs only where its input changed, and
    `unconditional` keeps what is alike in every call for the network.

    Raises `GenerationInvalid` where a step's target or condition is not in the state or has nothing left to decode,
    `UnsupportedModality` where the network does not predict it that way, `SamplingInvalid` for a filter out of range.
    """
    for step in steps:
        for key in (step.target, *step.guidance.conditions):
            if key not in state:
                raise GenerationInvalid(f"the schedule needs {key!r}; the state holds {', '.join(state)}")
    options = options or Options()
    if uneven := [key for key, entry in state.items() if len(entry.input_mask) % options.samples]:
        rows = len(state[uneven[0]].input_mask)
        raise GenerationInvalid(
            f"{uneven[0]} has {rows} rows, which are not as many for each of {options.samples} samples"
        )
    run = Run(network, ids, options, observe, unconditional or Unconditional())
    result = {key: entry.to(network.mask_token.device) for key, entry in state.items()}
    for index, step in enumerate(steps):
        decode = decode_sequence if step.scheme is Scheme.AUTOREGRESSIVE else decode_image_tokens
        run.begin(index, step)
        result[step.target] = decode(run, index, step, result)
    return result
