import numpy as np
import torch

from model.training.batches import Sampler
from model.training.masking import BUDGETS, MAP_TOKENS, choose_inputs, map_mask
from model.training.store import Store, Texts


def test_a_batch_depends_on_seed_and_step_alone(store: Store, texts: Texts) -> None:
    first, again = Sampler(store, texts, 0), Sampler(store, texts, 0)
    for step in (0, 7):
        for name, tensor in vars(first.batch(step, 8)).items():
            torch.testing.assert_close(tensor, getattr(again.batch(step, 8), name), rtol=0, atol=0)
    assert not torch.equal(first.batch(0, 8).target, first.batch(1, 8).target) or not torch.equal(
        first.batch(0, 8).picture_mask, first.batch(1, 8).picture_mask
    )


def test_every_sample_shows_something_and_masks_what_it_does_not(store: Store, texts: Texts) -> None:
    batch = Sampler(store, texts, 0).batch(3, 64)
    masks = (batch.picture_mask, batch.drawing_mask, batch.caption_mask, batch.palette_mask)
    assert torch.stack([(~mask).any(dim=1) for mask in masks]).any(dim=0).all()
    for mask, values in ((batch.picture_mask, batch.picture), (batch.drawing_mask, batch.drawing)):
        assert not values[mask.all(dim=1)].any()
        assert values[~mask.all(dim=1)].flatten(1).any(dim=1).all()


def test_targets_are_training_pictures_of_the_same_concept(store: Store, texts: Texts) -> None:
    sampler = Sampler(store, texts, 0)
    names = {number: group for group, number in sampler.groups.items()}
    batch = sampler.batch(0, 64)
    for target, group in zip(batch.target.tolist(), batch.group.tolist(), strict=True):
        assert store.rows[target].recipe == "plain"
        assert store.rows[target].group == names[group]
        assert store.rows[target].split == "train"


def test_the_development_concept_is_no_semantic_target(store: Store, texts: Texts) -> None:
    sampler = Sampler(store, texts, 0)
    assert sampler.groups["2615"] not in sampler.semantic_group.tolist()


def test_a_plain_picture_alone_looks_for_another_vendors(store: Store, texts: Texts) -> None:
    batch = Sampler(store, texts, 0).batch(5, 128)
    alone = (~batch.picture_mask).any(dim=1) & batch.drawing_mask.all(dim=1)
    pizza = [n for n, row in enumerate(store.rows) if row.key == "1F355" and row.recipe == "plain"]
    for place in torch.nonzero(alone)[:, 0].tolist():
        target = int(batch.target[place])
        if target in pizza:
            own = torch.from_numpy(store.pooled[target])
            assert not torch.equal(batch.own_visual[place, 0], own)


def test_choices_keep_to_the_budget_and_to_what_there_is() -> None:
    generator = np.random.default_rng(0)
    for budget in BUDGETS:
        for _ in range(100):
            chosen = choose_inputs(np.array([True, False, True, False]), budget, generator)
            assert chosen.drawing == 0
            assert not chosen.palette
            assert chosen.picture <= min(budget, MAP_TOKENS)
            assert chosen.picture or chosen.caption


def test_a_map_mask_uses_as_many_tokens_as_asked() -> None:
    assert (~map_mask(13, np.random.default_rng(0))).sum() == 13
