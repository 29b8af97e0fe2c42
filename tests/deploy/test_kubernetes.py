"""The manifests of Kubernetes are valid, agree with each other, and use nothing that the product does not have.

They have never run on a cluster.
"""

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from anyseek.api.http.readiness import router
from anyseek.search.settings import Settings, read_settings, variables
from tests.deploy.test_dashboard import exported
from tests.test_compose import check_command

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
MANIFESTS: list[tuple[str, dict[str, Any]]] = [
    (f"{path.name}-{number}", manifest)
    for path in sorted(FOLDER.glob("*.yaml"))
    for number, manifest in enumerate(yaml.safe_load_all(path.read_text()))
]
VERSIONS = ("1.30", "1.34")


def of_kind(kind: str) -> list[dict[str, Any]]:
    return [manifest for _, manifest in MANIFESTS if manifest["kind"] == kind]


def workloads() -> list[dict[str, Any]]:
    return [*of_kind("Deployment"), *of_kind("StatefulSet")]


def containers(workload: dict[str, Any], ours: bool = False) -> Iterator[dict[str, Any]]:
    spec = workload["spec"]["template"]["spec"]
    for container in (*spec.get("initContainers", []), *spec["containers"]):
        if not ours or container["image"].startswith("anyseek:"):
            yield container


OURS = [container for workload in workloads() for container in containers(workload, ours=True)]


@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(("name", "manifest"), MANIFESTS, ids=[name for name, _ in MANIFESTS])
def test_each_is_valid(name: str, manifest: dict[str, Any], version: str) -> None:
    kubernetes_validate.validate(manifest, version, strict=True)


def test_commands_and_probes_are_the_products() -> None:
    paths = {getattr(route, "path", "") for route in router.routes}
    for container in OURS:
        check_command(container["args"])
        for probe in ("startupProbe", "readinessProbe", "livenessProbe"):
            found = container.get(probe, {})
            if "httpGet" in found:
                assert found["httpGet"]["path"] in paths
            if "exec" in found:
                assert found["exec"]["command"][0] == "anyseek"
                check_command(found["exec"]["command"][1:])


def test_variables_are_settings_with_values_that_are_understood() -> None:
    (settings,), (secret,) = of_kind("ConfigMap"), of_kind("Secret")
    given = {**settings["data"], **secret["stringData"]}
    known = {name for name, _ in variables(Settings(Path("/data")))}
    assert {name for name in given if name.startswith("ANYSEEK")} <= known
    assert read_settings(given).work.metrics_port == 9100
    assert secret["stringData"]["POSTGRES_PASSWORD"] in secret["stringData"]["ANYSEEK_DATABASE_URL"]


def test_what_is_referred_to_is_there() -> None:
    claims = {claim["metadata"]["name"] for claim in of_kind("PersistentVolumeClaim")}
    bags = {bag["metadata"]["name"] for bag in (*of_kind("ConfigMap"), *of_kind("Secret"))}
    labels = [workload["spec"]["template"]["metadata"]["labels"] for workload in workloads()]
    for workload in workloads():
        spec = workload["spec"]["template"]["spec"]
        assert workload["spec"]["selector"]["matchLabels"] == workload["spec"]["template"]["metadata"]["labels"]
        volumes = {volume["name"]: volume for volume in spec.get("volumes", [])}
        for claim in [
            volume["persistentVolumeClaim"] for volume in volumes.values() if "persistentVolumeClaim" in volume
        ]:
            assert claim["claimName"] in claims
        own = {template["metadata"]["name"] for template in workload["spec"].get("volumeClaimTemplates", [])}
        for container in containers(workload):
            assert {mount["name"] for mount in container.get("volumeMounts", [])} <= volumes.keys() | own
            for source in container.get("envFrom", []):
                assert next(iter(source.values()))["name"] in bags
    for service in of_kind("Service"):
        assert service["spec"]["selector"] in labels
    names = {service["metadata"]["name"] for service in of_kind("Service")}
    address = of_kind("Secret")[0]["stringData"]
    assert {address["ANYSEEK_DATABASE_URL"].split("@")[1].split(":")[0], "redis"} <= names


def test_every_container_has_limits_and_ours_have_no_rights() -> None:
    for workload in workloads():
        for container in containers(workload):
            assert container["resources"]["limits"]["memory"]
            assert container["resources"]["requests"]["cpu"]
    for container in OURS:
        confined = container["securityContext"]
        assert confined["readOnlyRootFilesystem"]
        assert confined["capabilities"] == {"drop": ["ALL"]}
        written = {mount["mountPath"] for mount in container["volumeMounts"] if not mount.get("readOnly")}
        assert written == {"/data", "/tmp"}


def test_the_scaler_goes_by_a_metric_that_is_exported() -> None:
    (scaler,) = of_kind("HorizontalPodAutoscaler")
    target = scaler["spec"]["scaleTargetRef"]
    assert (target["kind"], target["name"]) in {(w["kind"], w["metadata"]["name"]) for w in workloads()}
    (metric,) = [entry["external"]["metric"] for entry in scaler["spec"]["metrics"]]
    assert metric["name"] in exported()
    worker = next(w for w in workloads() if w["metadata"]["name"] == target["name"])
    assert "replicas" not in worker["spec"], "applying the manifest again would undo what the scaler decided"
