from pathlib import Path

from anyseek.model.training.run.folder import Records, read_records


def _row(step: int, **more: float) -> dict[str, float | int | None]:
    return {"step": step, "time": 1_700_000_000 + step, "loss": 1 / step, **more}


def test_rows_are_appended_and_read_back(tmp_path: Path) -> None:
    records = Records(tmp_path, "metrics", ["loss", "loss/a"], 0)
    records.add(_row(1))
    records.add(_row(2, **{"loss/a": 0.25}))
    records.close()
    assert (tmp_path / "metrics.csv").read_text().splitlines() == [
        "step,time,loss,loss/a",
        "1,1700000001,1,",
        "2,1700000002,0.5,0.25",
    ]
    assert read_records(tmp_path / "metrics.csv")[0] == {"step": 1, "time": 1_700_000_001, "loss": 1, "loss/a": None}


def test_rows_after_the_checkpoint_and_half_a_row_are_cut_off(tmp_path: Path) -> None:
    records = Records(tmp_path, "metrics", ["loss"], 0)
    for step in (5, 10, 15):
        records.add(_row(step))
    records.close()
    with (tmp_path / "metrics.csv").open("a") as file:
        file.write("20,17000")
    resumed = Records(tmp_path, "metrics", ["loss"], 10)
    assert [row["step"] for row in read_records(tmp_path / "metrics.csv")] == [5, 10]
    resumed.add(_row(15))
    resumed.close()
    assert [row["step"] for row in read_records(tmp_path / "metrics.csv")] == [5, 10, 15]


def test_columns_may_change_between_runs(tmp_path: Path) -> None:
    records = Records(tmp_path, "evaluation", ["loss"], 0)
    records.add(_row(5))
    records.close()
    resumed = Records(tmp_path, "evaluation", ["loss", "recall"], 5)
    resumed.add(_row(10, recall=0.5))
    resumed.close()
    assert read_records(tmp_path / "evaluation.csv") == [
        {"step": 5, "time": 1_700_000_005, "loss": 0.2, "recall": None},
        {"step": 10, "time": 1_700_000_010, "loss": 0.1, "recall": 0.5},
    ]
