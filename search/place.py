"""Where a process is, as far as locks go: processes of one place see each other's."""

import hashlib
import os
import platform
import uuid
from pathlib import Path

_BOOT = Path("/proc/sys/kernel/random/boot_id")


def place(locks: Path) -> str:
    """What processes have in common that see each other's locks in the folder `locks`: the folder, and the kernel.

    Containers of one machine may share a kernel and not the folder, machines the folder (over NFS) and not a kernel.
    """
    kernel = _BOOT.read_text() if _BOOT.exists() else platform.node()
    return hashlib.sha256(f"{kernel} {_identity(locks)}".encode()).hexdigest()[:16]


def _identity(folder: Path) -> str:
    """A random text that the folder keeps, made by whoever comes first."""
    path = folder / "identity"
    if not path.exists():
        folder.mkdir(parents=True, exist_ok=True)
        mine = folder / f"identity-{uuid.uuid4().hex}"
        mine.write_text(uuid.uuid4().hex)
        try:
            os.link(mine, path)
        except FileExistsError:
            pass
        finally:
            mine.unlink()
    return path.read_text()
