"""What is measured: an input, and a way of running the network on it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Variant:
    """A way of running the network.

    `packed`: weights in oneDNN's layout (`model.packing`). `folding`: cross-attention as `model.layers` chooses, or
    always with keys and values of the whole context. `token_budget`: patches of 196 that are encoded.
    """

    dtype: str = "float32"
    packed: bool = True
    folding: bool = True
    token_budget: int | None = None

    @property
    def name(self) -> str:
        """In words."""
        said = [self.dtype, "" if self.packed else "not packed", "" if self.folding else "not folded"]
        said.append("" if self.token_budget is None else f"{self.token_budget} patches")
        return ", ".join(filter(None, said))


@dataclass(frozen=True)
class Case:
    """`batch` pictures (`rgb`, 196 patches) or captions of 8 tokens to 16 tokens of `tok_dinov2_global`."""

    modality: str
    batch: int
    variant: Variant


# As the reference computes: ordinary weights, keys and values of every context token.
PLAIN = Variant(packed=False, folding=False)
_PICTURES = (
    PLAIN,
    Variant(packed=False),
    Variant(folding=False),
    Variant(),
    Variant(token_budget=98),
    Variant("bfloat16", packed=False, folding=False),
    Variant("bfloat16", folding=False),
    Variant("bfloat16"),
    Variant("bfloat16", token_budget=98),
)
_CAPTIONS = (PLAIN, Variant(), Variant("bfloat16"))

CASES = tuple(
    Case(modality, batch, variant)
    for modality, variants in (("rgb", _PICTURES), ("caption", _CAPTIONS))
    for batch in (1, 16)
    for variant in variants
)
