"""Packs: rules, dashboards and words that belong to one subject, as files that people can read and change."""

from __future__ import annotations

from pathlib import Path

FOLDER = Path(__file__).parent


def pack_names() -> list[str]:
    """Return the names of all packs, sorted."""
    return sorted(path.name for path in FOLDER.iterdir() if (path / "README.md").is_file())


def rule_file(pack: str, name: str = "rules.yml") -> Path:
    """Return the path of a rule file of a pack.

    Raises:
        KeyError: no such pack or file; the message names what there is.
    """
    known = {f"{p}/{path.name}": path for p in pack_names() for path in sorted((FOLDER / p).glob("*.yml"))}
    try:
        return known[f"{pack}/{name}"]
    except KeyError:
        raise KeyError(f"got {pack}/{name}, wanted one of {', '.join(known)}") from None


def dashboards(pack: str) -> list[Path]:
    """Return the paths of a pack's dashboards for Grafana, sorted."""
    return sorted((FOLDER / pack / "dashboards").glob("*.json"))
