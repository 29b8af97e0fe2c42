"""The indexing benchmark embeds every file in full batches; its timings are not tested."""

from pathlib import Path

from anyseek.model.hashing import HashingEmbedder
from anyseek.search.settings import Settings, Work
from benchmarks.ingest.rates import bare_loop, indexer, make_photos


def test_no_two_files_are_equal(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 40, (64, 48))
    assert len({path.read_bytes() for path in photos}) == 40


def test_the_bare_loop_embeds_what_the_indexer_does(tmp_path: Path) -> None:
    photos = make_photos(tmp_path / "photos", 12, (64, 48))
    seen: list[int] = []

    class Counting(HashingEmbedder):
        def embed_gallery(self, samples, spaces):  # type: ignore[no-untyped-def]
            seen.append(len(samples))
            return super().embed_gallery(samples, spaces)

    work = Work(inputs_per_batch=8)
    assert bare_loop(photos, Counting(), work)().inputs_per_second > 0
    assert seen == [8, 4]
    assert indexer(photos, Counting(), Settings(tmp_path, work=work))().inputs_per_second > 0
    assert seen[2:] == [8, 4]
