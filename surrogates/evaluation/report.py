"""One HTML file with everything a person wants to see of a run; pictures inside, nothing loaded from elsewhere."""

import base64
import html
import io
import os
from collections.abc import Sequence

from ...core.files import atomic_write

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } img { max-width: 100% } figcaption { color: #555; font-size: 13px }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: 12px } figure { margin: 1.5rem 0 }
"""


def write_report(path: str | os.PathLike, title: str, parts: Sequence) -> None:
    """Write `parts` in order: a paragraph of text, a heading (text that starts with `#`), a Markdown table (text that starts
    with `|`), a picture `(caption, figure)`, or a dict of names and values."""
    body = "\n".join(_render(part) for part in parts)
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")


def _render(part) -> str:
    if isinstance(part, tuple):
        caption, figure = part
        return f"<figure>{_image(figure)}<figcaption>{html.escape(caption)}</figcaption></figure>"
    if isinstance(part, dict):
        return "<pre>" + html.escape("\n".join(f"{k}: {v}" for k, v in part.items())) + "</pre>"
    if part.startswith("#"):
        return f"<h2>{html.escape(part.lstrip('# '))}</h2>"
    if part.startswith("|"):
        return _table(part)
    return f"<p>{html.escape(part)}</p>"


def _image(figure) -> str:
    buffer = io.BytesIO()
    figure.savefig(buffer, format="png", dpi=110)
    data = base64.b64encode(buffer.getvalue()).decode()
    return f'<img alt="" src="data:image/png;base64,{data}">'


def _table(markdown: str) -> str:
    lines = markdown.splitlines()
    rows = [line for line in lines if line.startswith("|")]
    cells = [[html.escape(cell.strip()) for cell in row.strip("|").split("|")] for row in rows]
    head = "<tr>" + "".join(f"<th>{c}</th>" for c in cells[0]) + "</tr>"
    body = "".join("<tr>" + "".join(f"<td>{c}</td>" for c in row) + "</tr>" for row in cells[2:])
    notes = "".join(f"<p>{html.escape(line)}</p>" for line in lines if line and not line.startswith("|"))
    return f"<table>{head}{body}</table>{notes}"
