"""`model` imports with torch, numpy, tokenizers, safetensors, pillow, pydantic, yaml, and what these need."""

import subprocess
import sys

import pytest

# Modules that use another package, which is said where it is missing.
EXCEPTIONS = ("anyseek.model.openclip",)

_PROGRAM = """
import importlib, importlib.metadata, pkgutil, re, sys

def closure(names):
    found, waiting = set(), list(names)
    while waiting:
        name = re.sub(r"[-_.]+", "-", waiting.pop()).lower()
        try:
            needs = importlib.metadata.requires(name) or []
        except importlib.metadata.PackageNotFoundError:
            continue
        if name not in found:
            found.add(name)
            waiting += [re.match(r"[A-Za-z0-9._-]+", need)[0] for need in needs if "extra ==" not in need]
    return found

wanted = closure(["torch", "numpy", "tokenizers", "safetensors", "pillow", "pydantic", "pyyaml", "setuptools"])
owners = importlib.metadata.packages_distributions()
normal = lambda name: re.sub(r"[-_.]+", "-", name).lower()
blocked = {top for top, dists in owners.items() if not any(normal(dist) in wanted for dist in dists)}
blocked -= {"anyseek"}

class Blocker:
    def find_spec(self, name, path=None, target=None):
        if name.partition(".")[0] in blocked:
            raise ModuleNotFoundError(f"{name} is no package that model may import", name=name)
        return None

sys.meta_path.insert(0, Blocker())
import anyseek.model
failed = []
for module in sorted(m.name for m in pkgutil.walk_packages(anyseek.model.__path__, "anyseek.model.")):
    if module.startswith(tuple(sys.argv[1:])) or module.endswith("__main__"):
        continue
    try:
        importlib.import_module(module)
    except ModuleNotFoundError as error:
        failed.append(f"{module}: {error}")
print("\\n".join(failed))
print(len(blocked), "blocked", "fastapi" in blocked, "sqlalchemy" in blocked, "faiss" in blocked)
"""


@pytest.mark.slow
def test_every_module_imports_with_the_seven_packages_alone() -> None:
    command = [sys.executable, "-c", _PROGRAM, *EXCEPTIONS]
    done = subprocess.run(command, capture_output=True, text=True, timeout=300, check=False)
    assert done.returncode == 0, done.stderr
    *failed, blocked = done.stdout.strip().splitlines()
    assert blocked.endswith("True True True")
    assert not [line for line in failed if line], "\n".join(failed)
