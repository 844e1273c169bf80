"""Settings of the documentation site; `make docs` builds it. Pages under `generated/` are written anew at every build."""

import os
import shutil
import sys
import tomllib
from pathlib import Path

import docutils.nodes
from docutils.utils.math.latex2mathml import tex2mathml

os.environ.setdefault("JAX_PLATFORMS", "cpu")
DOCS = Path(__file__).parent
sys.path[:0] = [str(DOCS), str(DOCS.parent / "src")]

from generator.api_pages import write_api_pages  # noqa: E402
from generator.choosing_page import write_choosing_page  # noqa: E402
from generator.command_line_page import write_command_line_page  # noqa: E402
from generator.copied_pages import with_links, write_copies  # noqa: E402
from generator.leaderboard_page import write_leaderboard_page  # noqa: E402
from generator.registry_pages import write_format_page, write_problem_pages  # noqa: E402

project, author = "surrogax", "the authors of surrogax"
copyright = "the authors of surrogax, MIT licence"
release = version = tomllib.loads((DOCS.parent / "pyproject.toml").read_text())["project"]["version"]

extensions = ["myst_nb", "sphinx_copybutton"]
exclude_patterns = ["_build", "generator", "requirements.lock"]
html_theme, html_title = "furo", f"surrogax {release}"
html_static_path, html_css_files = ["static"], ["site.css"]
html_show_sphinx = False
# The notebooks are shown as they were saved: `make notebooks` runs them.
nb_execution_mode = "off"
nb_merge_streams = True
myst_enable_extensions = ["colon_fence", "dollarmath"]
myst_dmath_double_inline = True
html_math_renderer = "mathml"
smartquotes = False  # `--option` is no dash
myst_heading_anchors = 3
# A reference to a name of this library that is no page is an error; names of others in signatures are no links.
nitpicky = True
nitpick_ignore_regex = [("py:.*", r"(?!surrogax\.).*")]
add_module_names = False
maximum_signature_line_length = 80
python_use_unqualified_type_names = True
toc_object_entries_show_parents = "hide"
copybutton_prompt_text = r">>> |\.\.\. |\$ "
copybutton_prompt_is_regexp = True


def _generate(app) -> None:
    folder = DOCS / "generated"
    shutil.rmtree(folder, ignore_errors=True)
    write_copies(folder)
    write_api_pages(folder / "api")
    write_problem_pages(folder / "problems")
    write_format_page(folder / "formats.md")
    write_command_line_page(folder / "command_line.md")
    write_choosing_page(folder / "which_surrogate.md")
    write_leaderboard_page(folder / "leaderboard.md")


def _read(app, name: str, source: list[str]) -> None:
    if not name.startswith("generated/"):
        source[0] = with_links(source[0], DOCS / Path(name).parent, DOCS / Path(name).parent)


def _mathml(translator, node) -> None:
    """Formulas as MathML, which browsers draw by themselves: no script from elsewhere."""
    block = isinstance(node, docutils.nodes.math_block)
    tree = tex2mathml(node.astext(), as_block=block)
    translator.body.append(f"<div>{tree}</div>" if block else str(tree))
    raise docutils.nodes.SkipNode


def setup(app) -> None:
    """Pages are generated before the first file is read."""
    app.add_html_math_renderer("mathml", (_mathml, None), (_mathml, None))
    app.connect("builder-inited", _generate)
    app.connect("source-read", _read)
