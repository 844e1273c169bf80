"""Models, problems, formats and metrics of other packages, which register themselves when they are imported."""

import warnings
from importlib.metadata import entry_points

GROUP = "surrogax.plugins"


def load_plugins() -> None:
    """Import what installed packages declare in the entry-point group `surrogax.plugins`.

        [project.entry-points."surrogax.plugins"]
        mypackage = "mypackage.surrogax_models"

    The module calls `sx.register_model`, `sx.register_problem`, `sx.register_format` or `metrics.register_metric`. One that
    cannot be imported is named in a warning, and the others are loaded.
    """
    for point in entry_points(group=GROUP):
        try:
            point.load()
        except Exception as error:  # whatever a foreign module raises
            warnings.warn(f"surrogax: the plugin {point.name} ({point.value}) failed: {error!r}", stacklevel=2)
