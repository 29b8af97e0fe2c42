"""The stand-in for CLIP weights is the two encoders as a model of open_clip."""

from pathlib import Path

import numpy as np
import pytest
from click.testing import CliRunner

from anyseek.model.encoders.baselines import Encoders
from anyseek.model.errors import WeightsMissing
from anyseek.model.home import default_home
from anyseek.model.loading import load_embedder
from anyseek.model.openclip.embedder import SPACE
from anyseek.model.seam import Sample
from benchmarks.open_clip_stand_in import main
from tests.model.data.sources.packs_kit import about, picture, write_shard
from tests.model.openclip.making import open_clip_or_skip


@pytest.mark.slow
def test_its_words_are_those_of_minilm(tmp_path: Path) -> None:
    open_clip_or_skip()
    try:
        encoders = Encoders(default_home())
    except WeightsMissing as error:
        pytest.skip(str(error))
    samples = [(about(captions=[f"thing {number}"]), {"webp": picture()}) for number in range(3)]
    write_shard(tmp_path / "captions" / "captions-open-000000.tar", samples)
    done = CliRunner().invoke(main, [str(tmp_path), "--to", str(tmp_path / "made"), "--photos", "2"])
    assert done.exit_code == 0, done.output
    embedder = load_embedder(f"openclip:local-dir:{tmp_path / 'made'}", tmp_path)
    texts = ["a dog running on grass", "two houses"]
    found = embedder.embed([Sample({"caption": text}) for text in texts], [SPACE])[SPACE]
    np.testing.assert_allclose(found, encoders.sentences(texts), atol=1e-4)
