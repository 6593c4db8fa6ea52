"""Check that links in README.md, CHANGELOG.md and docs lead somewhere, and that the menu has all pages."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterator
from pathlib import Path
from urllib.parse import unquote

ROOT = Path(__file__).parents[1]
START = "README.md"
_TABLE = re.compile(r"^\| *(?P<caption>[^|\n]+?) *\| *\|\n\|[-| ]+\|\n(?P<rows>(?:\|.*\n)+)", re.MULTILINE)
_FENCE = re.compile(r"^ *(```|~~~).*?^ *\1 *$", re.MULTILINE | re.DOTALL)
_CODE = re.compile(r"`[^`\n]*`")
_LINK = re.compile(r"\[[^\]]*\]\(([^()\s]+)\)")
_HEADING = re.compile(r"^#{1,6} +(.+?) *#* *$", re.MULTILINE)


def navigation(root: Path, start: str = START) -> dict[str, list[str]]:
    """Return the menu that a page is: the pages under each caption, from its tables.

    A table belongs to the menu when its second heading is empty; the first is the caption.
    """
    menu: dict[str, list[str]] = {}
    folder = root / Path(start).parent
    for table in _TABLE.finditer((root / start).read_text(encoding="utf-8")):
        paths = [folder / link.partition("#")[0] for link in _LINK.findall(table["rows"])]
        listed = [path.relative_to(root).as_posix() for path in paths if path.suffix == ".md"]
        if listed:
            menu[table["caption"]] = list(dict.fromkeys(listed))
    return menu


def menus(root: Path, start: str = START) -> dict[str, dict[str, list[str]]]:
    """Return the menu of the start page, and of each `README.md` in it, which stands for its folder."""
    found = {start: navigation(root, start)}
    for pages in list(found[start].values()):
        for page in (page for page in pages if Path(page).name == "README.md" and page != start):
            found |= menus(root, page)
    return found


def unreachable(root: Path) -> list[str]:
    """Return what is wrong with each page of docs that no menu leads to."""
    named = {page for menu in menus(root).values() for pages in menu.values() for page in pages}
    found = [page.relative_to(root).as_posix() for page in sorted((root / "docs").rglob("*.md"))]
    return [f"{page}: no table of {START} leads to it" for page in found if page not in named]


def pages(root: Path) -> list[Path]:
    """Return the pages whose links are checked."""
    return sorted([*root.glob("*.md"), *(root / "docs").rglob("*.md")])


def broken(root: Path) -> Iterator[str]:
    """Return what is wrong with each link that leads nowhere."""
    for page in pages(root):
        text = _FENCE.sub(lambda code: "\n" * code[0].count("\n"), page.read_text(encoding="utf-8"))
        # Code within a line goes too, but keeps its length, so that what is left keeps its place.
        text = _CODE.sub(lambda code: " " * len(code[0]), text)
        for link in _LINK.finditer(text):
            wrong = _wrong(page, unquote(link[1]), root)
            if wrong:
                line = text.count("\n", 0, link.start()) + 1
                yield f"{page.relative_to(root)}:{line}: {link[1]}: {wrong}"


def _wrong(page: Path, link: str, root: Path) -> str:
    if re.match(r"[a-z]+:", link):
        return ""  # another server's
    path, _, anchor = link.partition("#")
    target = (page.parent / path).resolve() if path else page
    if not target.is_relative_to(root.resolve()):
        return "got a path outside of the project, wanted one inside"
    if not target.exists():
        return "got a path that does not exist"
    if anchor and (target.suffix != ".md" or anchor not in anchors(target.read_text(encoding="utf-8"))):
        return f"got #{anchor}, which is no heading of {target.relative_to(root.resolve())}"
    return ""


def anchors(text: str) -> set[str]:
    """Return the anchors of a page's headings.

    Source:
        GitHub: lower case, punctuation gone, blanks to hyphens; repeated ones get -1, -2 …

    >>> sorted(anchors("# Crash safety\\n## `a_b`, the c/d\\n## Crash safety\\n"))
    ['a_b-the-cd', 'crash-safety', 'crash-safety-1']
    """
    found: dict[str, int] = {}
    names = set()
    for heading in _HEADING.findall(_FENCE.sub("", text)):
        plain = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        name = re.sub(r"[^\w\- ]", "", plain.lower()).replace(" ", "-")
        names.add(f"{name}-{found[name]}" if name in found else name)
        found[name] = found.get(name, 0) + 1
    return names


def main() -> int:
    """Print every broken link; return the exit code."""
    found = [*broken(ROOT), *unreachable(ROOT)]
    well = f"links: {len(pages(ROOT))} pages, none broken, all of docs in the menu"
    print("\n".join(found) if found else well)
    return 1 if found else 0


if __name__ == "__main__":
    sys.exit(main())
