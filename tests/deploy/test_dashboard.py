"""Grafana's dashboard and Prometheus's settings name only metrics, labels and services that are there."""

import json
import re
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml

from anyseek.api.http.metrics import InstallationMetrics, check_metrics
from anyseek.api.http.readiness import Check, State
from anyseek.search.catalogue.session import Database
from anyseek.search.settings import Settings
from anyseek.search.telemetry.metrics import REGISTRY
from anyseek.workers.runtime import Runtime
from tests.search.gallery import begin_catalogue

ROOT = Path(__file__).parents[2]
DASHBOARD = json.loads((ROOT / "deploy" / "grafana" / "anyseek.json").read_text())
_SUFFIXES = {"counter": ("_total",), "histogram": ("_bucket", "_sum", "_count"), "gauge": ("",)}
_WORDS = {"sum", "max", "min", "avg", "by", "rate", "increase", "histogram_quantile", "le", "clamp_min", "topk"}


@cache
def exported() -> dict[str, set[str]]:
    """The name of every sample that a service or a worker exports, with its labels; a broker is pretended."""
    import tempfile

    import anyseek.workers.metrics  # noqa: F401 (registers those of workers)

    with tempfile.TemporaryDirectory() as folder:
        begin_catalogue(Path(folder))
        with Runtime.open(Settings(Path(folder)), "hashing") as runtime:
            runtime.queue.waiting_messages = lambda: {"embed": 0}  # type: ignore[method-assign]
            installation = InstallationMetrics(runtime, Database(runtime.settings.database_url))
            installation.refresh()
            families = [*installation.collect(), check_metrics([Check("model", State.OK, "")]), *REGISTRY.collect()]
    declared = {getattr(metric, "_name", ""): metric for metric in REGISTRY._collector_to_names}
    found: dict[str, set[str]] = {}
    for family in families:
        labels = getattr(declared.get(family.name, family), "_labelnames", ())
        found.update({family.name + suffix: {*labels, "le"} for suffix in _SUFFIXES[family.type]})
    return found


def expressions() -> list[str]:
    return [target["expr"] for panel in DASHBOARD["panels"] for target in panel.get("targets", [])]


def test_the_dashboard_has_panels() -> None:
    assert len(expressions()) >= 15
    assert len({panel["id"] for panel in DASHBOARD["panels"]}) == len(DASHBOARD["panels"])
    assert all(panel["datasource"]["uid"] == "${source}" for panel in DASHBOARD["panels"])


@pytest.mark.parametrize("expression", expressions())
def test_every_metric_and_label_is_exported(expression: str) -> None:
    plain = re.sub(r'"[^"]*"|\[[^\]]*\]', "", expression)
    names = set(re.findall(r"(?:anyseek|process)_\w+", plain))
    assert names
    assert names <= exported().keys()
    labels = set().union(*(exported()[name] for name in names)) | {"instance", "job"}
    others = set(re.findall(r"[a-z_]+", plain)) - names - _WORDS
    assert others <= labels


def test_quarantine_and_queues_are_not_added_up_over_services() -> None:
    """Every service exports the same numbers of the installation."""
    of_installation = re.compile(r"anyseek_(jobs|job_inputs|quarantined|queue|leases|owners|index_lag|snapshot_age)")
    for expression in expressions():
        assert not (of_installation.search(expression) and expression.startswith("sum"))


def test_prometheus_scrapes_services_of_compose() -> None:
    settings: dict[str, Any] = yaml.safe_load((ROOT / "deploy" / "prometheus" / "prometheus.yaml").read_text())
    compose = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"]
    targets = [
        target for job in settings["scrape_configs"] for found in job["static_configs"] for target in found["targets"]
    ]
    assert {target.partition(":")[0] for target in targets} <= compose.keys()
    port = compose["worker"]["environment"]["ANYSEEK_WORK_METRICS_PORT"]
    assert {target.partition(":")[2] for target in targets if target.startswith("worker")} == {port}
    (mount,) = [volume for volume in compose["prometheus"]["volumes"] if volume.startswith("./deploy")]
    assert (ROOT / mount.partition(":")[0]).is_dir()
