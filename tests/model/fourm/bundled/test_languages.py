"""The bundled model and texts in other languages, before and after `anyseek models pull languages`."""

from pathlib import Path

import numpy as np

from anyseek.model.encoders.pull import LANGUAGES, check_encoders, encoders_folder
from anyseek.model.fourm.bundled.loading import load_bundled
from anyseek.model.seam import Sample
from tests.encoders import link_encoders
from tests.model.pulled import HOME, or_skip

TEXTS = ("a dog on a beach", "ein Hund am Strand", "a red car")
SPACE = "photo_global"


def test_words_in_other_languages_get_a_note_until_they_are_read(tmp_path: Path) -> None:
    link_encoders(tmp_path)
    alone = load_bundled("4m-tiny", tmp_path)
    assert "anyseek models pull languages" in (alone.text_note("ein Hund läuft am Strand entlang") or "")
    assert alone.text_note("a dog runs along the beach") is None
    with or_skip():
        languages = check_encoders(HOME, LANGUAGES)
    encoders_folder(tmp_path, LANGUAGES).symlink_to(languages)
    both = load_bundled("4m-tiny", tmp_path)
    assert both.text_note("ein Hund läuft am Strand entlang") is None
    samples = [Sample({"caption": text}) for text in TEXTS]
    vectors, before = both.embed(samples, [SPACE])[SPACE], alone.embed(samples, [SPACE])[SPACE]
    assert np.array_equal(vectors[[0, 2]], before[[0, 2]])
    assert vectors[1] @ vectors[0] > 0.5 > vectors[1] @ vectors[2]
