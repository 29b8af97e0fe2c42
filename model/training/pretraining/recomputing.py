"""Activation checkpointing: blocks keep what comes in and compute the rest once more for gradients."""

from functools import partial

from torch.utils.checkpoint import checkpoint

from model.transformer import FourM


def recompute_blocks(network: FourM) -> None:
    """Let every block of a network keep nothing but its inputs. Names of parameters and results stay as they are.

    A training step takes a third more time (each block forwards twice), and memory for one block's activations rather
    than for all of them.
    """
    for block in (*network.encoder, *network.decoder):
        # No layer draws random numbers, so their state need not be kept.
        again = partial(checkpoint, block.forward, use_reentrant=False, preserve_rng_state=False)
        block.forward = again
