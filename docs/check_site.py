"""Look through the built site: every public name has an anchor and is found by the search, no link is dead; and where there is a
Chromium, that it shows pages without an error and that its search finds a name.

python docs/check_site.py docs/_build/html
"""

import functools
import http.server
import json
import re
import shutil
import subprocess
import sys
import threading
from html.parser import HTMLParser
from pathlib import Path
from urllib.parse import unquote

DOCS = Path(__file__).parent


class _Page(HTMLParser):
    """The targets and the links of a page."""

    def __init__(self, text: str):
        super().__init__()
        self.ids: set[str] = set()
        self.links: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag, attrs):
        found = dict(attrs)
        self.ids |= {found[name] for name in ("id", "name") if found.get(name)}
        self.links += [found[name] for name in ("href", "src") if found.get(name)]


def dead_links(site: Path) -> list[str]:
    """Links inside the site that lead nowhere, each with its page."""
    pages = {path: _Page(path.read_text()) for path in site.rglob("*.html")}
    dead = []
    for path, page in pages.items():
        for link in page.links:
            if re.match(r"[a-z]+:|//", link):
                continue
            file, _, part = unquote(link).partition("#")
            target = (path.parent / file.split("?")[0]).resolve() if file else path
            if not target.exists():
                dead.append(f"{path.relative_to(site)}: {link}")
            elif part and target in pages and part not in pages[target].ids:
                dead.append(f"{path.relative_to(site)}: {link} (no such part)")
    return dead


def names_not_found(site: Path) -> list[str]:
    """Public names without an anchor on their page, or unknown to the search."""
    text = (site / "searchindex.js").read_text()
    index = json.loads(text[text.index("(") + 1 : text.rindex(")")])
    known = {f"{prefix}.{entry[4]}".lstrip(".") for prefix, entries in index["objects"].items() for entry in entries}
    missing = []
    for name, page in json.loads((DOCS / "generated" / "api" / "names.json").read_text()).items():
        if f"surrogax.{name}" not in known:
            missing.append(f"{name}: not in the search index")
        if f'id="surrogax.{name}"' not in (site / "generated" / "api" / f"{page}.html").read_text():
            missing.append(f"{name}: no anchor on {page}.html")
    return missing


PAGES = (
    "index.html",
    "generated/api/krylov.html",
    "generated/problems/darcy.html",
    "generated/notebooks/deep_conjugate_directions.html",
    "search.html?q=GalerkinRB",
)


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_):
        pass


def errors_in_browser(site: Path, browser: str) -> list[str]:
    """Errors on the console of a browser that loads some pages, and a search without the right answer."""
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    wrong = []
    try:
        for page in PAGES:
            options = [
                "--headless=new",
                "--no-sandbox",
                "--disable-gpu",
                "--enable-logging=stderr",
                "--virtual-time-budget=8000",
            ]
            address = f"http://127.0.0.1:{server.server_port}/{page}"
            done = subprocess.run(
                [browser, *options, "--dump-dom", address], capture_output=True, text=True, timeout=120
            )
            said = [line for line in done.stderr.splitlines() if "CONSOLE" in line]
            wrong += [f"{page}: {line}" for line in said]
            if "</html>" not in done.stdout:
                wrong.append(f"{page}: not shown by {browser}")
            if "?q=" in page and "generated/api/reduced.html#surrogax.GalerkinRB" not in done.stdout:
                wrong.append(f"{page}: the search does not find the name")
    finally:
        server.shutdown()
    return wrong


def main(site: Path) -> int:
    """Print what is wrong; the number of faults."""
    wrong = [*dead_links(site), *names_not_found(site)]
    browser = shutil.which("chromium") or shutil.which("google-chrome")
    wrong += errors_in_browser(site, browser) if browser else []
    seen = f", {len(PAGES)} pages without errors in {browser}" if browser else ""
    print("\n".join(wrong) if wrong else f"{site}: no dead link, every public name is found{seen}")
    return len(wrong)


if __name__ == "__main__":
    sys.exit(1 if main(Path(sys.argv[1])) else 0)
