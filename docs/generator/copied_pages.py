"""Files that lie elsewhere in the repository and are pages of the site too, with links that lead to pages."""

import re
import shutil
from pathlib import Path

ROOT = Path(__file__).parents[2]
DOCS = ROOT / "docs"


def write_copies(folder: Path) -> None:
    """Copy the notebooks, with the outputs that are saved in them, and the pages of the root."""
    (folder / "notebooks").mkdir(parents=True, exist_ok=True)
    for notebook in sorted((ROOT / "notebooks").glob("*.ipynb")):
        shutil.copy(notebook, folder / "notebooks")
    for name in ("CONTRIBUTING", "CHANGELOG"):
        text = (ROOT / f"{name}.md").read_text()
        (folder / f"{name.lower()}.md").write_text(with_links(text, ROOT, folder))


def with_links(text: str, home: Path, page: Path) -> str:
    """The text of a file in `home` as a page in the folder `page`: links to files that are pages lead to those pages."""

    def moved(found: re.Match) -> str:
        to, _, part = found[1].partition("#")
        target = (home / to).resolve()
        if not to or not target.exists():
            return found[0]
        if target.is_relative_to(ROOT / "notebooks"):
            target = DOCS / "generated" / "notebooks" / target.name
        elif target in (ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"):
            target = DOCS / "generated" / target.name.lower()
        link = (
            Path(*[".."] * len(page.relative_to(DOCS).parts), target.relative_to(DOCS))
            if DOCS in target.parents
            else None
        )
        return found[0] if link is None else f"]({link}{'#' + part if part else ''})"

    return re.sub(r"\]\((?!\w+:)([^)\s]*)\)", moved, text)
