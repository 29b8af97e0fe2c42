"""Tables and figures of the documents are those of the stored results."""

import re
from collections import defaultdict
from pathlib import Path

import numpy as np
import pytest

from anyseek.model.fourm.bundled.bundle import load_bundle
from benchmarks.conditions.__main__ import negative_table, together_table
from benchmarks.languages import table as languages_table
from benchmarks.relevance.__main__ import MIN_AUROC
from benchmarks.relevance.__main__ import table as relevance_table
from benchmarks.reporting import MEASUREMENTS, read_result
from benchmarks.rooms import output_table, recall_table
from benchmarks.sources.__main__ import WORST_GAIN, size_table, source_table
from benchmarks.teaching import table as teaching_table

ROOT = Path(__file__).parents[2]
WEIGHTS = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
SOURCES, ROOMS = read_result("sources"), read_result("rooms")
TRANSFER = (ROOT / "docs" / "transfer.md").read_text(encoding="utf-8")


def _recalls(model: str) -> dict[int, str]:
    """R@10 by the size of the gallery, as a document writes it."""
    return {row["photos"]: f"{row['models'][model]['value']:.2f}" for row in SOURCES["sizes"]}


@pytest.mark.parametrize("path", sorted(MEASUREMENTS.glob("*.json")), ids=lambda path: path.name)
def test_a_stored_result_names_its_command_and_commit(path: Path) -> None:
    stored = read_result(path.stem)
    assert stored["command"]
    assert re.fullmatch(r"[0-9a-f]{8}", stored["commit"]), "measured in a clean checkout"


def test_the_tables_of_sources_are_those_of_the_last_measurement() -> None:
    assert f"of commit {SOURCES['commit']}" in TRANSFER
    assert source_table(SOURCES) in TRANSFER
    assert size_table(SOURCES) in TRANSFER


def test_the_tables_of_rooms_are_those_of_the_last_measurement() -> None:
    assert f"of commit {ROOMS['commit']}" in WEIGHTS
    assert recall_table(ROOMS) in WEIGHTS
    assert output_table(ROOMS) in WEIGHTS


def test_the_table_of_languages_is_that_of_the_last_measurement() -> None:
    result, models = read_result("languages"), (ROOT / "docs" / "models.md").read_text(encoding="utf-8")
    assert f"of commit {result['commit']}" in models
    assert languages_table(result) in models
    kept = [f"{result['models'][name]['english_kept']:,}" for name in ("4m-tiny", "4m-tiny-open")]
    assert f"{kept[0]} of {result['models']['4m-tiny']['english']:,} English captions ({kept[1]} with" in models


def test_the_table_of_teaching_is_that_of_the_last_measurement() -> None:
    result, living = read_result("teaching"), (ROOT / "docs" / "living.md").read_text(encoding="utf-8")
    assert f"of commit {result['commit']}" in living
    assert teaching_table(result) in living


def test_the_tables_of_conditions_are_those_of_the_last_measurement() -> None:
    result, before = read_result("conditions"), read_result("conditions-before")
    weights = (ROOT / "docs" / "weights.md").read_text(encoding="utf-8")
    assert f"of commit {result['commit']}" in weights
    assert together_table(result, before) in weights
    assert negative_table(result, before) in weights


def test_the_page_says_where_the_rule_is_broken() -> None:
    broken = [row for row in SOURCES["rows"] if row["models"]["4m-tiny"]["gain"]["low"] < WORST_GAIN]
    assert ("**Rows with \\* break the rule.**" in TRANSFER) == bool(broken)


def test_the_readme_and_the_weights_quote_the_recall_of_captions() -> None:
    default, free = _recalls("4m-tiny"), _recalls("4m-tiny-open")
    readme, weights = (" ".join(page.split()) for page in ((ROOT / "README.md").read_text(encoding="utf-8"), WEIGHTS))
    percent = {size: f"{float(value) * 100:.0f}%" for size, value in default.items()}
    assert f"in {percent[1_000]} of cases ({float(free[1_000]) * 100:.0f}% with `4m-tiny-open`)" in readme
    assert f"among 100 in {percent[100]}" in readme
    assert (
        f"{default[1_000]} of human captions find theirs in the first ten, {free[1_000]} with the open set" in weights
    )


def test_what_was_judged_by_eye_is_counted_from_its_labels() -> None:
    grades = defaultdict(list)
    for pair in read_result("caption-judgements")["pairs"]:
        grades[pair["source"]].append([grade > 0 for grade in pair["grades"]])
    first = [f"{sum(hits[0] for hits in several)} of {len(several)}" for several in grades.values()]
    five = [f"{sum(map(sum, several))} of {sum(map(len, several))}" for several in grades.values()]
    page = " ".join(TRANSFER.split())
    assert "{} are right in Flickr8k, {} in COCO and {} in the archive".format(*first) in page
    assert "of the first five, {}, {} and {}".format(*five) in page


def test_what_probabilities_are_worth_is_what_was_measured() -> None:
    relevance, page = read_result("relevance"), (ROOT / "docs" / "querying.md").read_text(encoding="utf-8")
    assert relevance_table(relevance) in page
    assert f"of commit\n{relevance['commit']}; three seeds" in page
    assert f"that of sentences is {relevance['kinds']['sentences']['auroc']:.2f}" in " ".join(page.split())


@pytest.mark.parametrize("model", ["4m-tiny", "4m-tiny-open"])
def test_only_kinds_whose_hits_can_be_told_apart_have_a_curve(model: str) -> None:
    kinds = read_result("relevance" if model == "4m-tiny" else f"relevance-{model}")["kinds"]
    measured = {"caption": kinds["names"], "rgb": kinds["pictures"]}
    told_apart = {modality for modality, seeds in measured.items() if min(seed["auroc"] for seed in seeds) >= MIN_AUROC}
    towers_space = load_bundle(model).towers_space
    assert towers_space is not None
    assert set(towers_space.space.relevance) == told_apart
    assert set(towers_space.space.typical_queries) == {"caption", "canny_edge"}


def test_what_was_stated_of_common_and_absent_names_is_counted_from_the_labels() -> None:
    names = read_result("name-judgements")["names"]
    common, absent = ([each for each in names if any(each["right"]) == shown] for shown in (True, False))
    page = " ".join((ROOT / "docs" / "querying.md").read_text(encoding="utf-8").split())

    def mean(several: list[dict[str, list[float]]], member: str) -> str:
        return f"{np.mean([each[member] for each in several]):.2f}"

    assert not any(each["nothing_good"] for each in names)
    stated = f"{len(common)} common names {mean(common, 'right')} were right, stated at {mean(common, 'stated')}"
    assert stated in page
    assert f"The {len(absent)} absent names got {mean(absent, 'stated')}" in page
    assert f"{sum(each['stated'][0] < 0.5 for each in absent)} of them stayed below 0.5" in page
    hits = [hit for each in names for hit in zip(each["stated"], each["right"], strict=True)]
    assert f"stated at 0.5 or more {np.mean([right for stated, right in hits if stated >= 0.5]):.2f} were right" in page
