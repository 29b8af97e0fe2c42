"""The 4M network: retrieval passes, training passes, initialisation."""

from collections.abc import Callable

import pytest
import torch

from anyseek.model.errors import UnsupportedModality
from anyseek.model.network.config import FourMConfig
from anyseek.model.network.tokens import ModalityInput, ModalityTarget
from anyseek.model.network.transformer import FourM, Losses

Make = Callable[..., FourM]
Inputs = dict[str, ModalityInput]
Targets = dict[str, ModalityTarget]
GLOBALS = ("tok_visual", "tok_semantic")

VARIANTS: list[dict[str, object]] = [
    {},
    {"num_register_tokens": 2, "qk_norm": True},
    {"gated_mlp": False, "act_layer": "GELU", "norm_bias": True, "share_modality_embeddings": False},
]


def _row(inputs: Inputs, row: int) -> Inputs:
    """One row of a batch, the unused entries of its sequences cut off."""
    single = {}
    for key, given in inputs.items():
        values, mask = given.values[row : row + 1], given.mask[row : row + 1]
        if key in ("states", "palette"):
            values, mask = values[:, ~mask[0]], mask[:, ~mask[0]]
        single[key] = ModalityInput(values, mask)
    return single


@pytest.mark.parametrize("changes", VARIANTS)
@torch.inference_mode()
def test_results_of_a_row_do_not_depend_on_its_batch(
    make_fourm: Make, small_inputs: Inputs, changes: dict[str, object]
) -> None:
    network = make_fourm(**changes)
    together = network.decode_global(network.encode(small_inputs), GLOBALS)
    for row in range(3):
        alone = network.decode_global(network.encode(_row(small_inputs, row)), GLOBALS)
        for key in GLOBALS:
            torch.testing.assert_close(together[key][row], alone[key][0], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_targets_decoded_together_do_not_see_each_other(make_fourm: Make, small_inputs: Inputs) -> None:
    network = make_fourm()
    context = network.encode(small_inputs)
    together = network.decode_global(context, GLOBALS)
    assert [together[key].shape for key in GLOBALS] == [(3, 16, 24), (3, 16, 20)]
    for key in GLOBALS:
        torch.testing.assert_close(together[key], network.decode_global(context, [key])[key], atol=1e-5, rtol=0)


@torch.inference_mode()
def test_only_used_tokens_are_encoded(make_fourm: Make, small_inputs: Inputs) -> None:
    network = make_fourm(num_register_tokens=2)
    used = sum((~given.mask).sum(dim=1) for given in small_inputs.values())
    assert network.encode(small_inputs).states.shape == (3, 2 + int(used.max()), 16)


@torch.inference_mode()
def test_values_of_masked_tokens_do_not_matter(make_fourm: Make, small_inputs: Inputs) -> None:
    network = make_fourm()
    expected = network.decode_global(network.encode(small_inputs), GLOBALS)
    states = small_inputs["states"]
    noisy = ModalityInput(states.values + 100 * states.mask[..., None], states.mask)
    changed = network.decode_global(network.encode(small_inputs | {"states": noisy}), GLOBALS)
    for key in GLOBALS:
        assert torch.equal(expected[key], changed[key])


@torch.inference_mode()
def test_an_emptied_condition_still_decodes(make_fourm: Make, small_inputs: Inputs) -> None:
    network = make_fourm()
    given = small_inputs["map"]
    context = network.encode({"map": ModalityInput(given.values, torch.ones_like(given.mask))})
    assert context.states.shape == (3, 0, 16)
    assert network.decode_global(context, ["tok_visual"])["tok_visual"].isfinite().all()


@torch.inference_mode()
def test_an_unused_row_is_finite_in_a_batch_with_a_used_one(make_fourm: Make, small_inputs: Inputs) -> None:
    network = make_fourm()
    given = small_inputs["map"]
    mask = given.mask.clone()
    mask[1] = True
    logits = network.decode_global(network.encode({"map": ModalityInput(given.values, mask)}), GLOBALS)
    assert all(values.isfinite().all() for values in logits.values())


def test_modalities_outside_the_network_are_named(make_fourm: Make, small_inputs: Inputs) -> None:
    network = make_fourm()
    with pytest.raises(UnsupportedModality, match="'depth'"):
        network.encode({"depth": small_inputs["map"]})
    context = network.encode(small_inputs)
    with pytest.raises(UnsupportedModality, match="'tok_smell'"):
        network.decode_global(context, ["tok_smell"])
    with pytest.raises(UnsupportedModality, match="'palette' is a sequence"):
        network.decode_global(context, ["palette"])


def test_the_training_forward_of_an_image_target_is_the_retrieval_pass(
    make_fourm: Make, small_inputs: Inputs, small_targets: Targets
) -> None:
    network = make_fourm()
    target = small_targets["tok_visual"]
    loss = network(small_inputs, {"tok_visual": target}).per_modality["tok_visual"]
    logits = network.decode_global(network.encode(small_inputs), ["tok_visual"])["tok_visual"]
    expected = torch.nn.functional.cross_entropy(logits.flatten(0, 1), target.ids.flatten())
    torch.testing.assert_close(loss, expected)


def test_a_modality_without_targets_counts_as_zero(
    make_fourm: Make, small_inputs: Inputs, small_targets: Targets
) -> None:
    ids = small_targets["palette"].ids
    targets = small_targets | {"palette": ModalityTarget(ids, torch.ones_like(ids, dtype=torch.bool))}
    losses = make_fourm()(small_inputs, targets)
    rest = losses.per_modality["tok_visual"] + losses.per_modality["tok_semantic"]
    assert losses.per_modality["palette"].item() == 0.0
    torch.testing.assert_close(losses.mean_over_modalities(), rest / 3)


def test_the_token_loss_is_weighted_by_logit_elements() -> None:
    losses = Losses({"a": torch.tensor(1.0), "b": torch.tensor(4.0)}, {"a": 30, "b": 10})
    assert losses.mean_over_tokens().item() == pytest.approx(1.75)
    assert losses.mean_over_modalities().item() == pytest.approx(2.5)


@pytest.mark.parametrize("changes", VARIANTS)
def test_every_parameter_in_use_gets_a_gradient(
    make_fourm: Make, small_inputs: Inputs, small_targets: Targets, changes: dict[str, object]
) -> None:
    network = make_fourm(**changes)
    picture = ModalityInput(torch.randn(3, 3, 8, 8), torch.zeros(3, 4, dtype=torch.bool))
    codes = ModalityInput(torch.zeros(3, 16, dtype=torch.long), torch.zeros(3, 16, dtype=torch.bool))
    inputs = small_inputs | {"picture": picture, "tok_visual": codes}
    network(inputs, small_targets).mean_over_modalities().backward()
    without = {name for name, p in network.named_parameters() if p.grad is None or not p.grad.any()}
    # image targets enter as the mask token, so their decoder tables of codes are stored but not read
    assert without == {f"decoder_embeddings.{key}.token_emb.weight" for key in GLOBALS}


def test_initialisation_is_reproducible_for_a_seed(small_config: FourMConfig) -> None:
    first, second, other = (FourM(small_config) for _ in range(3))
    first.initialise(seed=3)
    second.initialise(seed=3)
    other.initialise(seed=4)
    for name, tensor in first.state_dict().items():
        assert torch.equal(tensor, second.state_dict()[name]), name
    assert not torch.equal(first.mask_token, other.mask_token)


def test_queries_keys_and_values_are_initialised_separately(make_fourm: Make) -> None:
    weight = make_fourm(dim=64).encoder[0].attn.qkv.weight
    bound = (6 / (64 + 64)) ** 0.5
    assert 0.95 * bound < weight.abs().max().item() <= bound
