"""Reports of a run: one HTML file with text, tables and figures, which loads nothing from elsewhere."""

import abc
import base64
import html
import io
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from ...core.files import atomic_write
from .table import Table

_STYLE = """
body { font: 15px/1.5 system-ui, sans-serif; max-width: 60rem; margin: 2rem auto; padding: 0 1rem; color: #222 }
table { border-collapse: collapse } td, th { padding: .25rem .7rem; border-bottom: 1px solid #ddd; text-align: right }
td:first-child, th:first-child { text-align: left } img { max-width: 100% } figcaption { color: #555; font-size: 13px }
pre { background: #f6f6f6; padding: .7rem; overflow-x: auto; font-size: 12px } figure { margin: 1.5rem 0 }
"""


class AbstractPart(abc.ABC):
    """A part of a report.

    **Example:**

        >>> isinstance(sx.report.Heading("Data"), sx.report.AbstractPart)
        True
    """

    @abc.abstractmethod
    def to_html(self) -> str:
        """The part as HTML."""


@dataclass(frozen=True)
class Heading(AbstractPart):
    """A heading.

    **Example:**

        >>> sx.report.Heading("Data").text
        'Data'
    """

    text: str

    def to_html(self) -> str:
        return f"<h2>{html.escape(self.text)}</h2>"


@dataclass(frozen=True)
class Paragraph(AbstractPart):
    """A paragraph of plain text.

    **Example:**

        >>> sx.report.Paragraph("Solved at 113².").text
        'Solved at 113².'
    """

    text: str

    def to_html(self) -> str:
        return f"<p>{html.escape(self.text)}</p>"


@dataclass(frozen=True)
class Results(AbstractPart):
    """A table of `evaluate` with its notes.

    **Example:**

        >>> table = sx.evaluate({"mean": sx.MeanField(task)}, ds, timing=False)
        >>> type(sx.report.Results(table).table).__name__
        'Table'
    """

    table: Table

    def to_html(self) -> str:
        notes = "".join(f"<p>{html.escape(note)}</p>" for note in self.table.notes())
        return Cells(*self.table.cells()).to_html() + notes


@dataclass(frozen=True)
class Cells(AbstractPart):
    """A table of texts: the heads of its columns, and its rows.

    **Example:**

        >>> sx.report.Cells(["surrogate", "s"], [["FNO", "12"]]).to_html().count("<td>")
        2
    """

    heads: Sequence[str]
    rows: Sequence[Sequence[str]]

    def to_html(self) -> str:
        head = "<tr>" + "".join(f"<th>{html.escape(cell)}</th>" for cell in self.heads) + "</tr>"
        body = "".join("<tr>" + "".join(f"<td>{html.escape(cell)}</td>" for cell in row) + "</tr>" for row in self.rows)
        return f"<table>{head}{body}</table>"


@dataclass(frozen=True)
class Picture(AbstractPart):
    """A matplotlib figure with a caption.

    **Example:**

        >>> from matplotlib.figure import Figure
        >>> sx.report.Picture("Nothing yet.", Figure()).to_html()[:13]
        '<figure><img '
    """

    caption: str
    figure: Any

    def to_html(self) -> str:
        buffer = io.BytesIO()
        self.figure.savefig(buffer, format="png", dpi=110)
        image = base64.b64encode(buffer.getvalue()).decode()
        caption = html.escape(self.caption)
        return f'<figure><img alt="{caption}" src="data:image/png;base64,{image}"><figcaption>{caption}</figcaption></figure>'


@dataclass(frozen=True)
class Settings(AbstractPart):
    """Names and values, one per line.

    **Example:**

        >>> sx.report.Settings({"epochs": 5}).values
        {'epochs': 5}
    """

    values: Mapping[str, Any]

    def to_html(self) -> str:
        return "<pre>" + html.escape("\n".join(f"{k}: {v}" for k, v in self.values.items())) + "</pre>"


def write_report(path: str | os.PathLike, title: str, parts: Sequence[AbstractPart]) -> None:
    """Write the parts in order to one HTML file. An existing file is replaced in one step.

    **Example:**

        >>> with tempfile.TemporaryDirectory() as folder:
        ...     sx.report.write_report(f"{folder}/report.html", "Title",
        ...                            [sx.report.Heading("First"), sx.report.Paragraph("Words.")])
        ...     print(open(f"{folder}/report.html").read().count("<h"))
        3
    """
    body = "\n".join(part.to_html() for part in parts)
    page = (
        f"<!doctype html><html lang=en><meta charset=utf-8><title>{html.escape(title)}</title><style>{_STYLE}</style>"
        f"<body><h1>{html.escape(title)}</h1>\n{body}\n</body></html>\n"
    )
    with atomic_write(path) as temporary:
        temporary.write_text(page, encoding="utf-8")
