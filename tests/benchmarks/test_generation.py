"""The counts are those of what is run; how long anything takes is not a test's matter."""

from dataclasses import replace

import torch
from torch.utils.flop_counter import FlopCounterMode

from anyseek.model.generation.decoding import PrefixDecoder
from anyseek.model.generation.generate import generate
from anyseek.model.generation.schedule import Scheme, TargetPlan, chain
from anyseek.model.generation.state import empty_target, given_sequence
from anyseek.model.network.tokens import ModalityInput
from anyseek.model.network.transformer import Context, FourM
from benchmarks.generation.counting import IDS, Counter, Passes, schedules
from benchmarks.generation.ways import KEYS, rounding, timed
from benchmarks.model.networks import SMALL, Networks
from benchmarks.model.timing import UNCOUNTED

TINY_ALL = replace(SMALL, dim=16, num_heads=1, encoder_depth=1, decoder_depth=1)
TINY = replace(
    SMALL, dim=16, num_heads=1, encoder_depth=1, decoder_depth=2, domains_in=("caption", "tok_dinov2_global")
)


def test_guided_schedules_take_less_the_second_time() -> None:
    rows = {(row["from"], row["target"]): row for row in schedules(TINY_ALL, ["depth", "caption"])}
    depth, words = rows["rgb", "depth"], rows["rgb", "caption"]
    assert [depth[way][:2] for way in ("plain", "later", "ideal")] == [(2, 2), (1, 1), (1, 1)]
    assert depth["plain"][2] > depth["later"][2] == depth["ideal"][2] > 0
    assert words["later"][:2] == (1, 256)
    imagined = rows["caption", "depth"]
    assert [imagined[way][:2] for way in ("plain", "later", "ideal")] == [(16, 16), (15, 15), (8, 8)]


def test_what_is_counted_is_what_torch_counts() -> None:
    network = FourM(replace(TINY, domains_out=("tok_dinov2_global", "metadata"))).eval()
    network.initialise(seed=0)
    counter = Counter(network.config)
    state = {
        "caption": given_sequence([[7, 8, 9]], IDS),
        "tok_dinov2_global": empty_target(TINY.row("tok_dinov2_global"), IDS),
    }
    steps = chain([TargetPlan("tok_dinov2_global", Scheme.ROAR, tokens=16)], ["caption"])
    with FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as truly:
        generate(network, state, steps, IDS)
    counted = counter.gflop(Passes([3], [(16, 3)]), "tok_dinov2_global")
    assert round(counted * 1e9) == truly.get_total_flops()
    with torch.inference_mode(), FlopCounterMode(display=False, custom_mapping=UNCOUNTED) as truly:
        context = network.encode({"caption": ModalityInput(state["caption"].values, state["caption"].input_mask)})
        decoder = PrefixDecoder(network, "metadata", Context(context.states, None), 5)
        for token in range(5):
            decoder.step(torch.tensor([token]))
    assert round(counter.sequence("metadata", 5, 3) * 1e9) == truly.get_total_flops()


def test_all_ways_run_and_are_told_of() -> None:
    networks = Networks(SMALL, KEYS)
    with torch.inference_mode():
        told, ways = rounding(networks, 1), timed(networks, (1, 2), (1, 2), 1)
    assert {row["how"] for row in ways} >= {"float32", "bfloat16", "int8 weights, bfloat16", "in one batch"}
    assert all(0 < row["least"] <= row["seconds"] <= row["most"] for row in ways)
    assert all(row["sure_and_same"] <= row["sure"] <= row["tokens"] == 8 for row in told.values())
