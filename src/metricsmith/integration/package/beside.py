"""Code that looks for files beside itself: in a package there are none but those that the project names."""

from __future__ import annotations

import ast
from collections.abc import Iterator, Mapping

from metricsmith.integration.kinds import Kind
from metricsmith.integration.package import payload
from metricsmith.integration.package.layout import Entry
from metricsmith.integration.project import DECLARATION, Project

ADVICE = (
    f"name it under `files` in {DECLARATION} if it shall come along, and take the place of what is elsewhere"
    " from a setting"
)


def looks_beside_itself(project: Project) -> list[str]:
    """Return a remark for each place of a packed program that looks for a file it will not find beside it.

    Files that the project names are unpacked with the program, and are found so.

    Raises:
        PackageError: the project cannot be packed.
    """
    own = payload.project_files(project)
    script = payload.script_of(project, own)
    if project.kind is not Kind.PYTHON and (script is None or not payload.needs_of(project)):
        return []
    code = {name: entry for name, entry in own.items() if name.endswith(".py") or name == script}
    remarks = []
    for name, entry in code.items():
        try:
            tree = ast.parse(entry.data)
        except (SyntaxError, ValueError):  # which the build tells
            continue
        for line, wanted in _places(tree):
            if wanted is None and len(code) < len(own):
                continue  # it may be one of those that come along
            if wanted is None or not _is_there(wanted, own):
                what = "a file" if wanted is None else f'"{wanted}"'
                told = f"looks for {what} beside itself (__file__), which the package does not have"
                remarks.append(f"{name}:{line}: {told}; {ADVICE}")
    return remarks


def _is_there(wanted: str, own: Mapping[str, Entry]) -> bool:
    path = wanted.strip("/").removeprefix("./")
    return any(name == path or name.endswith(f"/{path}") or f"/{path}/" in f"/{name}" for name in own)


def _places(tree: ast.Module) -> Iterator[tuple[int, str | None]]:
    """Yield the line and the file that is joined to the place of the code; None where it is no plain text."""
    names = {"__file__"}
    for node in tree.body:
        if isinstance(node, ast.Assign) and _mentions(node.value, names):
            names |= {target.id for target in node.targets if isinstance(target, ast.Name)}
    found: dict[int, str | None] = {}
    for each in ast.walk(tree):
        if isinstance(each, ast.Name) and each.id == "__file__":
            found.setdefault(each.lineno, None)
        if isinstance(each, ast.expr) and (text := _joined(each, names)) is not None:
            found[each.lineno] = text
    if any(text is not None for text in found.values()):  # these say more than where the place was asked for
        found = {line: text for line, text in found.items() if text is not None}
    yield from sorted(found.items())


def _joined(node: ast.expr, names: set[str]) -> str | None:
    """Return a text that is joined to a place, as by `HERE / "x"`, `joinpath` or `os.path.join`."""
    last: ast.expr | None = None
    if isinstance(node, ast.BinOp) and isinstance(node.op, ast.Div) and _mentions(node.left, names):
        last = node.right
    elif isinstance(node, ast.Call) and _joins(node.func) and node.args and _mentions(node, names):
        last = node.args[-1]
    return last.value if isinstance(last, ast.Constant) and isinstance(last.value, str) else None


def _joins(function: ast.expr) -> bool:
    return isinstance(function, ast.Attribute) and function.attr in ("join", "joinpath")


def _mentions(node: ast.AST, names: set[str]) -> bool:
    return any(isinstance(each, ast.Name) and each.id in names for each in ast.walk(node))
