"""What packages are made for: an operating system and a machine, and the wheels that run there."""

from __future__ import annotations

import platform
from dataclasses import dataclass
from enum import StrEnum

_GLIBC = (28, 27, 26, 24, 17, 12, 5)
"""Minor versions of glibc 2 whose wheels run on what has 2.28: distributions of 2019 and later."""
_MACOS = 13
"""pip takes wheels of older ones as well."""


class Form(StrEnum):
    """What `--target` may be: four machines, and two forms for other ways to install."""

    LINUX_AMD64 = "linux-amd64"
    LINUX_ARM64 = "linux-arm64"
    DARWIN_AMD64 = "darwin-amd64"
    DARWIN_ARM64 = "darwin-arm64"
    OCI_IMAGE = "oci-image"
    WHEEL = "wheel"


@dataclass(frozen=True, slots=True)
class Target:
    """A machine that a package runs on; `platforms` are pip's words for its wheels."""

    form: Form
    system: str
    machines: tuple[str, ...]
    platforms: tuple[str, ...]


def _linux(form: Form, machine: str, *others: str) -> Target:
    platforms = tuple(f"manylinux_2_{minor}_{machine}" for minor in _GLIBC)
    aliases = tuple(f"{old}_{machine}" for old in ("manylinux2014", "manylinux2010", "manylinux1"))
    return Target(form, "Linux", (machine, *others), (*platforms, *aliases, f"linux_{machine}"))


TARGETS = {
    target.form: target
    for target in (
        _linux(Form.LINUX_AMD64, "x86_64", "amd64"),
        _linux(Form.LINUX_ARM64, "aarch64", "arm64"),
        Target(Form.DARWIN_AMD64, "Darwin", ("x86_64",), (f"macosx_{_MACOS}_0_x86_64",)),
        Target(Form.DARWIN_ARM64, "Darwin", ("arm64",), (f"macosx_{_MACOS}_0_arm64",)),
    )
}


def here() -> Form | None:
    """Return the target that this machine is, None for one that there are no packages for."""
    system, machine = platform.system(), platform.machine().lower()
    found = (t.form for t in TARGETS.values() if t.system == system and machine in t.machines)
    return next(found, None)
