"""compose.yaml and the Dockerfile use nothing that the product does not have."""

import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import pytest
import yaml

from anyseek.api.cli import COMMANDS, cli
from anyseek.api.http import readiness
from anyseek.search.settings import Settings, variables

ROOT = Path(__file__).parent.parent
COMPOSE = yaml.safe_load((ROOT / "compose.yaml").read_text())
SERVICES: dict[str, dict[str, Any]] = COMPOSE["services"]
DOCKERFILE = (ROOT / "Dockerfile").read_text().replace("\\\n", " ")
OURS = sorted(name for name, service in SERVICES.items() if str(service["image"]).startswith("anyseek:"))
EXTRAS = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["optional-dependencies"]


def instructions(word: str) -> list[str]:
    return re.findall(rf"^{word} +(.+)$", DOCKERFILE, re.MULTILINE)


def check_command(arguments: list[str]) -> None:
    """The product has this command with these options; it is not run."""
    command: click.Command = cli
    context = click.Context(command, info_name="anyseek")
    rest = list(arguments)
    while isinstance(command, click.Group):
        name = rest.pop(0)
        found = command.get_command(context, name)
        assert found, f"there is no command {name}"
        command = found
    command.make_context(name, rest, parent=context)


def texts(node: object) -> Iterator[str]:
    if isinstance(node, dict):
        for key, value in node.items():
            yield from texts(key)
            yield from texts(value)
    elif isinstance(node, list):
        for value in node:
            yield from texts(value)
    else:
        yield str(node)


@pytest.mark.parametrize("name", OURS)
def test_every_command_and_variable_is_known(name: str) -> None:
    service = SERVICES[name]
    check_command(service["command"])
    known = {variable for variable, _ in variables(Settings(home=Path("/data")))}
    assert {variable for variable in service["environment"] if variable.startswith("ANYSEEK_")} <= known
    probe = service.get("healthcheck", {}).get("test")
    if probe:
        assert probe[:2] == ["CMD", "anyseek"]
        check_command(probe[2:])


@pytest.mark.parametrize("profile", ["cpu", "gpu"])
def test_each_profile_takes_from_every_queue(profile: str) -> None:
    app = pytest.importorskip("anyseek.workers.app")
    taken: set[str] = set()
    for service in SERVICES.values():
        if profile in service.get("profiles", []) and service["command"][0] == "worker":
            options = dict(zip(service["command"][1::2], service["command"][2::2], strict=True))
            taken.update(options["--queues"].split(",") if "--queues" in options else app.QUEUES)
    assert taken == set(app.QUEUES)


def test_services_and_volumes_that_are_named_are_there() -> None:
    for name, service in SERVICES.items():
        assert set(service.get("depends_on", {})) <= SERVICES.keys() - {name}
        for volume in service.get("volumes", []):
            source = volume.rpartition(":")[0] if volume.endswith(":ro") else volume
            source = source.rpartition(":")[0]
            assert source.startswith(("$", "/", ".")) or source in COMPOSE["volumes"]


def test_the_settings_of_the_services_are_understood() -> None:
    for name in OURS:
        environment = SERVICES[name]["environment"]
        Settings(
            home=Path(environment["ANYSEEK_HOME"]),
            database_url=environment["ANYSEEK_DATABASE_URL"],
            broker_url=environment["ANYSEEK_BROKER_URL"],
        )


def test_the_example_of_env_names_every_variable() -> None:
    lines = (ROOT / ".env.example").read_text().splitlines()
    offered = {line.partition("=")[0] for line in lines if line and not line.startswith("#")}
    used = {name for text in texts(COMPOSE) for name in re.findall(r"\$\{(\w+)", text)}
    assert used == offered


def test_the_image_is_built_in_stages_and_runs_as_nobody_special() -> None:
    stages = instructions("FROM")
    assert len(stages) == 2
    assert instructions("USER") == ["anyseek"]
    assert len(instructions("HEALTHCHECK")) == 1
    assert DOCKERFILE.index("\nUSER") > DOCKERFILE.index(stages[1])


def test_what_the_image_is_built_of_is_there() -> None:
    for line in instructions("COPY"):
        *sources, _ = shlex.split(line)
        if not sources[0].startswith("--from"):
            assert all((ROOT / source).exists() for source in sources), line
    ignored = (ROOT / ".dockerignore").read_text().splitlines()
    packages = tomllib.loads((ROOT / "pyproject.toml").read_text())["tool"]["hatch"]["build"]["targets"]["wheel"]
    assert {f"!{package}" for package in packages["packages"]} <= set(ignored)
    assert set(packages["packages"]) <= {line.split()[0] for line in instructions("COPY")}


def test_the_extras_of_the_images_exist() -> None:
    wanted = [line.partition("=")[2] for line in instructions("ARG") if line.startswith("EXTRAS=")]
    wanted += [service["build"].get("args", {}).get("EXTRAS", "") for service in (SERVICES[name] for name in OURS)]
    assert {extra for line in wanted for extra in line.split(",") if extra} <= EXTRAS.keys()


def test_the_image_starts_the_product_and_asks_a_route_that_is_there() -> None:
    scripts = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]["scripts"]
    assert instructions("ENTRYPOINT") == ['["anyseek"]']
    assert "anyseek" in scripts
    assert set(yaml.safe_load(instructions("CMD")[-1])[:1]) <= COMMANDS.keys()
    check_command(yaml.safe_load(instructions("CMD")[-1]))
    asked = re.findall(r"127\.0\.0\.1:8765(/\w+)", DOCKERFILE)
    assert asked == ["/readyz"]
    assert set(asked) <= {getattr(route, "path", "") for route in readiness.router.routes}
