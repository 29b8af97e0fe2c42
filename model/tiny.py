"""The shape of the bundled network `4m-tiny`, the names of its inputs and its targets."""

from model.config import EmbeddingKind, FourMConfig, ModalityConfig
from model.encoders.minilm import WIDTH
from model.feature_maps import MAP_CHANNELS
from model.formats.color_palette import LONGEST, VOCABULARY

PICTURE, DRAWING, CAPTION, PALETTE = "picture_map", "drawing_map", "caption_states", "color_palette"
VISUAL, SEMANTIC = "visual_global", "semantic_global"
LONGEST_CAPTION = 24  # tokens of a caption that the network sees; its sentence vector is made of up to 64
_GRID, _TOKEN_GRID, _CODES = (7, 7), (4, 4), 1024

_ROWS = (
    ModalityConfig(PICTURE, EmbeddingKind.PIXELS, _GRID, patch=1, channels=MAP_CHANNELS),
    ModalityConfig(DRAWING, EmbeddingKind.PIXELS, _GRID, patch=1, channels=MAP_CHANNELS),
    ModalityConfig(CAPTION, EmbeddingKind.SEQUENCE_EMBEDDING, width=WIDTH, max_length=LONGEST_CAPTION),
    ModalityConfig(PALETTE, EmbeddingKind.SEQUENCE, vocabulary=VOCABULARY, max_length=LONGEST),
    ModalityConfig(VISUAL, EmbeddingKind.IMAGE_TOKENS, _TOKEN_GRID, vocabulary=_CODES, learned_positions=True),
    ModalityConfig(SEMANTIC, EmbeddingKind.IMAGE_TOKENS, _TOKEN_GRID, vocabulary=_CODES, learned_positions=True),
)

TINY = FourMConfig(
    domains_in=(PICTURE, DRAWING, CAPTION, PALETTE),
    domains_out=(VISUAL, SEMANTIC),
    dim=208,
    encoder_depth=3,
    decoder_depth=2,
    num_heads=8,
    gated_mlp=True,
    norm_bias=False,
    qkv_bias=False,
    proj_bias=False,
    mlp_bias=False,
    share_modality_embeddings=True,
    tie_token_embeddings=True,
    modalities={row.key: row for row in _ROWS},
)
