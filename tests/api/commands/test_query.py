"""`anyseek query`, over a running service and without one."""

import json
from pathlib import Path

import click
import pytest
from PIL import Image

from anyseek import Client
from anyseek.api.commands.inputs import with_forms
from anyseek.search.query.query import Part
from tests.api.commands.conftest import Imported, Run, unrecorded
from tests.api.conftest import picture

pytestmark = pytest.mark.usefixtures("gallery")


def test_a_query_asks_the_recorded_service_and_imports_little(imported: Imported) -> None:
    shown, heavy = imported("query", "--collection", "shapes", "red disc", "-k", "2", "--json")
    assert heavy == "imported ['pydantic', 'httpx', 'httpcore']\n"
    answer = json.loads(shown)
    assert shown.count("\n") == 1
    assert [hit["rank"] for hit in answer["hits"]] == [1, 2]
    assert answer["hits"][0]["key"] == "red disc"
    assert answer["hits"][0]["caption"] == "a red disc"
    assert answer["space"] == "hashing"


def test_a_query_prints_a_table(run: Run) -> None:
    done = run("query", "--collection", "shapes", "--item", "blue bar:0.7", "--palette", "#2f6fed:-0.1")
    assert done.returncode == 0, done.stderr
    first = done.stdout.splitlines()[0].split()
    assert first[0] == "1"
    assert first[2] == "-"
    assert first[3:5] == ["blue", "bar"]


def test_a_box_applies_to_pictures_or_else_to_items(run: Run, serving: str, home: Path, tmp_path: Path) -> None:
    query = ("query", "--collection", "pictures", "--item", "one", "--box", "0", "0", "1", "1", "--json")
    mask = ("--mask", str(tmp_path / "mask.png"))
    Image.new("L", (96, 96), 255).save(mask[1])
    with Client(serving, patience=30) as client:
        client.create_collection("pictures")
        client.put_item("pictures", "one", {"rgb": picture("red", "disc")})
        outputs = [run(*query)]
        masked = run("query", "--collection", "pictures", "--item", "one", *mask, "--json")
        with unrecorded(home):
            outputs.append(run(*query))
        client.delete_collection("pictures")
    for done in outputs:
        assert done.returncode == 0, done.stderr
        (understood,) = json.loads(done.stdout)["understood"]
        assert understood["sentence"].startswith("only the box 0, 0, 1, 1 of the picture of 'one' is used")
    (understood,) = json.loads(masked.stdout)["understood"]
    assert understood["sentence"] == "only 100.0% of the picture of 'one' is used, where its mask is not 0"
    box = ("--box", *"0011")
    assert "--mask selects a region" in run("query", "--collection", "shapes", "disc", *mask).stderr
    assert "give --box or --mask, not both" in run("query", "--item", "red disc", *mask, *box).stderr
    assert "'red disc' has no picture" in run("query", "--collection", "shapes", "--item", "red disc", *box).stderr
    assert "give a picture or an item, too" in run("query", "--collection", "shapes", "disc", *box).stderr


def test_fusion_is_the_same_over_the_service_and_in_process(run: Run, home: Path, tmp_path: Path) -> None:
    batch = tmp_path / "queries.jsonl"
    parts = '[{"modality": "caption", "text": "a red disc"}, {"item": "red disc"}]'
    lines = [f'{{"id": 1, "parts": {parts}}}', f'{{"id": 2, "parts": {parts}, "fusion": "late"}}']
    batch.write_text("\n".join(lines), encoding="utf-8")
    commands = (("a red disc", "--palette", "#d92d2d", "--json"), ("--batch", str(batch)))
    outputs = [run("query", "--collection", "shapes", *command, "--fusion", "joint").stdout for command in commands]
    assert json.loads(outputs[0])["fusion"] == "joint"
    refused, answered = (json.loads(line) for line in outputs[1].splitlines())
    assert "stored vector" in refused["error"]
    assert answered["hits"][0]["key"] == "red disc"
    with unrecorded(home):
        again = [run("query", "--collection", "shapes", *command, "--fusion", "joint").stdout for command in commands]
    assert again == outputs


def test_anyseek_url_has_precedence_and_an_unreachable_one_is_one_line(run: Run) -> None:
    done = run("query", "--collection", "shapes", "x", ANYSEEK_URL="http://127.0.0.1:9")
    assert done.returncode == 1
    assert done.stderr.count("\n") == 1
    assert "127.0.0.1:9" in done.stderr


def test_a_file_with_a_weight_and_a_file_with_such_a_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("red", "disc"))
    (tmp_path / "b.png:0.7").write_bytes(picture("red", "disc"))
    plain = run("query", "--collection", "shapes", "box", "--image", f"{tmp_path}/a.png", "--json")
    weighted = run("query", "--collection", "shapes", "box", "--image", f"{tmp_path}/a.png:0.7", "--json")
    named = run("query", "--collection", "shapes", "box", "--image", f"{tmp_path}/b.png:0.7", "--json")
    assert plain.returncode == weighted.returncode == named.returncode == 0
    assert named.stdout == plain.stdout
    assert weighted.stdout != plain.stdout


def test_a_batch_over_the_service_and_without_one_is_the_same(run: Run, home: Path, tmp_path: Path) -> None:
    lines = [
        '{"id": "a", "parts": [{"modality": "caption", "text": "red disc"}], "k": 1}',
        "broken",
        f'{{"id": {2**70}, "parts": [{{"item": "blue bar"}}]}}',
        '{"id": 1.5, "parts": [{"item": "nobody"}]}',
        '{"id": 2, "parts": [{"modality": "rgb", "file": "gone.png"}]}',
    ]
    batch = tmp_path / "queries.jsonl"
    batch.write_text("\n".join(lines), encoding="utf-8")
    over_service = run("query", "--collection", "shapes", "--batch", str(batch), "--json", "-k", "2")
    assert over_service.returncode == 0, over_service.stderr
    answers = [json.loads(line) for line in over_service.stdout.splitlines()]
    assert [answer["id"] for answer in answers] == ["a", None, 2**70, 1.5, 2]
    assert [len(answer.get("hits", [])) for answer in answers] == [1, 0, 2, 0, 0]
    with unrecorded(home):
        without = run("query", "--collection", "shapes", "--batch", str(batch), "--json", "-k", "2")
    assert without.returncode == 0, without.stderr
    assert without.stdout == over_service.stdout


def test_a_filter_on_the_command_line_and_in_a_batch(run: Run, tmp_path: Path) -> None:
    done = run("query", "--collection", "shapes", "a disc", "--where", "@key starts with blue", "--json")
    assert {hit["key"].split()[0] for hit in json.loads(done.stdout)["hits"]} == {"blue"}
    batch = tmp_path / "queries.jsonl"
    own = {"id": 1, "parts": [{"modality": "caption", "text": "a disc"}], "where": "@key = 'red disc'"}
    batch.write_text(f"{json.dumps(own)}\n{json.dumps({**own, 'id': 2, 'where': None})}\n")
    done = run("query", "--collection", "shapes", "--batch", str(batch), "--where", "@key starts with blue", "--json")
    first, second = (json.loads(line) for line in done.stdout.splitlines())
    assert [hit["key"] for hit in first["hits"]] == ["red disc"]
    assert {hit["key"].split()[0] for hit in second["hits"]} == {"blue"}


def test_any_modality_may_be_given_by_its_name(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(picture("red", "disc"))
    ask = ("query", "--collection", "shapes", "--json")
    by_option = run(*ask, "--image", f"{tmp_path / 'a.png'}:0.5", "--palette", "#2f6fed")
    by_name = run(*ask, "--input", f"image={tmp_path / 'a.png'}:0.5", "--input", "palette=#2f6fed")
    assert by_name.returncode == 0, by_name.stderr
    assert json.loads(by_name.stdout)["hits"] == json.loads(by_option.stdout)["hits"]
    refused = run("query", "--collection", "shapes", "--input", 'boxes=[{"box": [0, 0, 1, 1], "label": "dog"}]')
    assert refused.returncode == 2
    assert "does not take bounding_boxes" in refused.stderr


def test_pages_scores_and_vectors(run: Run, tmp_path: Path) -> None:
    ask = ("query", "--collection", "shapes", "a red disc", "--json", "-k")
    every = json.loads(run(*ask, "9").stdout)["hits"]
    assert json.loads(run(*ask, "2", "--offset", "3").stdout)["hits"] == every[3:5]
    least = str(every[1]["score"] - 1e-9)
    assert json.loads(run(*ask, "9", "--min-score", least).stdout)["hits"] == every[:2]
    vector = json.loads(run(*ask, "1", "--vectors").stdout)["hits"][0]["vector"]
    (tmp_path / "v.json").write_text(json.dumps(vector))
    found = run("query", "--collection", "shapes", "--vector", str(tmp_path / "v.json"), "--json", "-k", "1")
    assert json.loads(found.stdout)["hits"][0]["key"] == every[0]["key"]
    away = run("query", "--collection", "shapes", "a red disc", "--json", "--text-weight", "-1", "--min-score", "0")
    assert all(hit["score"] >= 0 for hit in json.loads(away.stdout)["hits"])
    assert len(json.loads(away.stdout)["hits"]) < len(every)
    (tmp_path / "v.json").write_text('{"a": 1}')
    refused = run("query", "--collection", "shapes", "--vector", str(tmp_path / "v.json"))
    assert (refused.returncode, "is not a vector" in refused.stderr) == (2, True)
    assert run("query", "--collection", "shapes", "a", "--vectors").returncode == 2


def test_the_best_of_each_group_is_marked_with_it(run: Run) -> None:
    done = run("query", "--collection", "shapes", "a red disc", "--group-by", "shape", "--where", "shape exists")
    assert "no item has the attribute 'shape'" in done.stderr
    done = run("query", "--collection", "shapes", "a red disc", "--group-by", "n", "-k", "2", "--group-size", "2")
    rows = [line.split() for line in done.stdout.splitlines()]
    assert [(row[0], row[5]) for row in rows] == [("1", "[1]"), ("1", "[1]")]


def test_words_match_the_text_of_captions(run: Run) -> None:
    done = run("query", "--collection", "shapes", "--words", "green", "--words", "blue:0.5", "--json")
    answer = json.loads(done.stdout)
    assert [hit["key"] for hit in answer["hits"]] == ["green box", "blue bar"]
    assert answer["space"] is None


def test_facets_follow_the_hits(run: Run) -> None:
    done = run("query", "--collection", "shapes", "red disc", "-k", "1", "--facet", "n", "--facet", "format")
    hit, by_n, by_format = done.stdout.splitlines()
    assert "red disc" in hit
    assert (by_n, by_format) == ("n (3 items): 1.0 to 1.0", "format (0 items)")
    assert "no item has the attribute 'format'" in done.stderr
    counted = run("collections", "facets", "shapes", "--where", "@key != 'red disc'").stdout.splitlines()
    assert counted == ["n (2 items): 1.0 to 1.0"]
    assert run("query", "--collection", "shapes", "red disc", "--paths", "--facet", "n").returncode == 2


def test_several_collections_are_asked(run: Run, serving: str, tmp_path: Path) -> None:
    with Client(serving, patience=30) as client:
        client.create_collection("more")
        client.put_item("more", "red disc", caption="a red disc")
    try:
        among = ("--collection", "shapes", "--collection", "more")
        done = run("query", *among, "a red disc", "-k", "2")
        assert {tuple(line.split()[3:6]) for line in done.stdout.splitlines()} == {
            ("red", "disc", "shapes"),
            ("red", "disc", "more"),
        }
        sheet = run("query", *among, "a red disc", "-k", "2", "--contact-sheet", str(tmp_path / "a.png"))
        assert sheet.returncode == 0, sheet.stderr
        (tmp_path / "q.jsonl").write_text('{"id": 1, "parts": [{"text": "a"}]}')
        assert run("query", *among, "--batch", str(tmp_path / "q.jsonl")).returncode == 2
        assert "'gone'" in run("query", *among, "--collection", "gone", "a").stderr
    finally:
        with Client(serving) as client:
            client.delete_collection("more")


def test_explanations_are_the_same_over_the_service_and_in_process(run: Run, home: Path) -> None:
    command = ("query", "--collection", "shapes", "a red disc", "--palette", "#2f6fed:0.5", "-k", "2", "--explain")
    done = run(*command)
    assert done.returncode == 0, done.stderr
    lines = [line.strip() for line in done.stdout.splitlines()]
    assert lines[0].startswith("1 ")
    assert lines[1].startswith('caption "a red disc": similarity ')
    assert ", alone rank 1; adds +" in lines[1]
    assert lines[2] == "in common: red (key, caption), disc (key, caption)"
    assert lines[3].startswith("color_palette (weight 0.5): similarity ")
    other = run(*command[:-3], "-k", "1", "--explain-key", "green box", "--fusion", "ranks")
    assert "green box: 0." in other.stdout
    assert "the score is the sum of +" in other.stdout
    with unrecorded(home):
        assert run(*command).stdout == done.stdout


def test_explanations_are_in_the_json_and_not_for_batches(run: Run, tmp_path: Path) -> None:
    done = run("query", "--collection", "shapes", "a red disc", "-k", "1", "--explain", "--json")
    assert [one["key"] for one in json.loads(done.stdout)["explanations"]] == ["red disc"]
    batch = tmp_path / "queries.jsonl"
    batch.write_text('{"id": 1, "parts": [{"text": "a"}]}\n', encoding="utf-8")
    refused = run("query", "--collection", "shapes", "--batch", str(batch), "--explain")
    assert refused.returncode == 2
    assert "not for --batch" in refused.stderr
    assert "--paths prints paths alone" in run("query", "--collection", "shapes", "a", "--paths", "--explain").stderr
    unknown = run("query", "--collection", "shapes", "a", "--explain-key", "unicorn")
    assert (unknown.returncode, "no item 'unicorn' to explain" in unknown.stderr) == (1, True)


def test_forms_go_to_the_files_of_their_modality() -> None:
    parts = [Part("depth", file=Path("d.png")), Part("sketch", file=Path("s.png")), Part("caption", text="a room")]
    assert [part.form for part in with_forms(parts, ["depth=near-bright"])] == ["near-bright", None, None]
    assert with_forms(parts, []) == parts
    for wrong, says in (
        ("near-bright", "write a form as MODALITY=FORM"),
        ("depth=", "write a form as MODALITY=FORM"),
        ("dept=far-bright", "'dept' is not a modality"),
        ("semseg=coco", "--form names semseg, but no file of that modality is given"),
    ):
        with pytest.raises(click.UsageError, match=says):
            with_forms(parts, [wrong])


def test_too_few_items_have_no_probability_and_stay(run: Run) -> None:
    ask = ("query", "--collection", "shapes", "a red disc", "--json")
    every = json.loads(run(*ask).stdout)["hits"]
    assert {hit["probability"] for hit in every} == {None}
    assert json.loads(run(*ask, "--min-probability", "1").stdout)["hits"] == every
    assert run("query", "--collection", "shapes", "a", "--min-probability", "1.5").returncode == 2
