"""The public names of the library, found by looking into it, and the page on which each is described."""

import importlib
import inspect
import types
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

import surrogax

FLOORS = ("core", "solvers", "datasets", "surrogates", "cli")
# Packages below the face from which docstrings tell to import.
DEEPER = ("datasets", "surrogates.operators", "surrogates.baselines")


@dataclass(frozen=True)
class Page:
    """A page of the reference: the names that are defined in some modules, given by the beginnings of their names."""

    slug: str
    title: str
    modules: tuple[str, ...]


@dataclass(frozen=True)
class Family:
    """Pages that belong together. `namespace` is the public module whose docstring introduces them."""

    title: str
    pages: tuple[Page, ...]
    namespace: str = ""

    @property
    def slug(self) -> str:
        """The file of its introduction, or of its only page."""
        return self.pages[0].slug if len(self.pages) == 1 else "family_" + self.title.lower().replace(" ", "_")


def _family(title: str, *pages: tuple[str, str, str], namespace: str = "", of: str = "") -> Family:
    def modules(text: str) -> tuple[str, ...]:
        return tuple(f"surrogax.{of}{word}".rstrip(".") for word in text.split() or [""])

    return Family(title, tuple(Page(slug, name, modules(text)) for slug, name, text in pages), namespace)


# The longest beginning counts, so that what is added to the library falls into the family of its folder by itself.
FAMILIES = (
    _family(
        "Data",
        ("domains", "Domains", "core.domains"),
        ("datasets", "Datasets", "datasets"),
        ("formats", "Formats of your own", "datasets.formats"),
    ),
    _family(
        "Problems",
        ("problems", "Declaring a problem", "solvers.pde solvers.kernels.periodic_resampling"),
        ("random", "Laws of random inputs", "solvers.random"),
        namespace="pde",
    ),
    _family(
        "Surrogates",
        ("task", "The learning problem", "surrogates.task surrogates.batching"),
        ("surrogates", "What every surrogate can do", "surrogates core"),
        ("baselines", "Baselines", "surrogates.baselines"),
        ("uncertainty", "Calibrated uncertainty", "surrogates.conformal surrogates.ensemble surrogates.evaluation.calibration"),
    ),
    _family(
        "Operators and networks",
        ("operators", "Neural operators", "surrogates.operators"),
        ("networks", "Networks of your own", "surrogates.networks"),
    ),
    _family(
        "Reduced bases",
        ("reduced", "Surrogates on a basis", ""),
        ("pod", "Proper orthogonal decomposition", "basis"),
        ("clustering", "Clusters of snapshots", "clustering"),
        ("local", "Local bases", "local"),
        ("interpolation", "Interpolation and cubature", "interpolation"),
        ("certified", "Certified bases", "certified"),
        ("regression", "Regression of coefficients", "regression"),
        namespace="reduced", of="surrogates.reduced.",
    ),
    _family("Physics-informed", ("physics", "Training without data", "surrogates.physics")),
    _family(
        "Linear solvers",
        ("solve", "Solving", ""),
        ("linear_operators", "Operators", "operators"),
        ("krylov", "Krylov methods", "krylov"),
        ("direct", "Direct methods and refinement", "direct"),
        ("stationary", "Stationary iterations", "stationary"),
        ("preconditioners", "Preconditioners", "preconditioners preconditioning"),
        ("tuning", "Tuning over sequences", "tuning"),
        namespace="linear", of="solvers.linear.",
    ),
    _family(
        "Diffusion samplers",
        ("sampling", "Sampling", ""),
        (
            "diffusion_solvers", "Solvers",
            "multistep exponential_adams noise_multistep single_step unipc dpm_solver_v3 solver table model_statistics "
            "in_spectrum triangular_form automatic",
        ),
        ("schedules", "Schedules and time grids", "schedule times tuned_times mean_reverting student_noise diffusers_config"),
        ("denoisers", "Networks as denoisers", "denoiser flow_map"),
        ("guidance", "Observations and guidance", "guidance observation"),
        ("constraints", "Constraints", "constraint conditions divergence_free projection"),
        ("noise", "Noise of fields", "coloured_noise field_noise"),
        ("transport", "Transport between distributions", "interpolant light_bridge"),
        ("likelihood", "Likelihood", "likelihood variational_bound trajectory_curvature"),
        namespace="diffusion", of="solvers.diffusion.",
    ),
    _family(
        "Generative models of fields",
        ("generative", "Priors, posteriors, refiners", "surrogates.generative"),
        namespace="generative",
    ),
    _family(
        "Learned solvers",
        ("learned_solvers", "Directions, preconditioners, samplers", "surrogates.learned_solvers"),
        namespace="learned_solvers",
    ),
    _family(
        "Training",
        ("fit", "Fitting", "surrogates.training surrogates.trainable"),
        ("losses", "Losses", "surrogates.training.losses"),
        (
            "optimizers", "Optimisers",
            "surrogates.training.steps surrogates.training.gauss_newton surrogates.training.levenberg_marquardt "
            "surrogates.training.quasi_newton surrogates.training.sketched surrogates.training.soap surrogates.training.spring",
        ),
    ),
    _family(
        "Evaluation",
        ("evaluation", "Tables", "surrogates.evaluation"),
        ("metrics", "Metrics", "surrogates.evaluation.metrics"),
        ("plots", "Pictures", "surrogates.evaluation.plots"),
        ("report", "Reports", "surrogates.evaluation.report"),
    ),
)  # fmt: skip


@dataclass(frozen=True)
class Name:
    """A public object under the shortest name that people type after `surrogax.`, with its other names."""

    path: str
    aliases: tuple[str, ...]
    value: Any

    @property
    def module(self) -> str:
        """The module that defines the object."""
        return defining_module(self.value)

    @property
    def page(self) -> Page:
        """Where it is described."""
        return page_of(self.module)


def page_of(module: str) -> Page:
    """The page of what a module defines.

    **Raises:** `LookupError` for a module that no page names.
    """
    fitting = [
        (len(prefix), page)
        for family in FAMILIES for page in family.pages for prefix in page.modules
        if module == prefix or module.startswith((prefix + ".", prefix + "_"))
    ]  # fmt: skip
    if not fitting:
        raise LookupError(f"{module} is on no page of docs/generator/public_names.py")
    return max(fitting, key=lambda pair: pair[0])[1]


def defining_module(value: Any) -> str:
    """The module of a class, function or instance."""
    value = inspect.unwrap(value) if callable(value) else value
    own = vars(value).get("__module__") if inspect.isclass(value) else None
    return own or (value.__module__ if inspect.isroutine(value) else type(value).__module__)


def namespaces() -> dict[str, types.ModuleType]:
    """The modules whose names are public, by what is typed after `surrogax.`: the face is ""."""
    found = {"": surrogax}
    for name in dir(surrogax):
        value = None if name.startswith("_") or name in FLOORS else getattr(surrogax, name)
        if inspect.ismodule(value) and value.__name__.startswith("surrogax."):
            found[name] = value
    for path in DEEPER:
        found[path] = importlib.import_module(f"surrogax.{path}")
    return found


def _members(module: types.ModuleType) -> Iterator[tuple[str, Any]]:
    found = {}
    for name in dir(module):
        value = getattr(module, name)
        kind = inspect.isclass(value) or inspect.isroutine(value) or type(value).__module__.startswith("surrogax.")
        if kind and not name.startswith("_") and not inspect.ismodule(value):
            found[name] = value, defining_module(value)
    # A package gives names on, and so does a module without any of its own; another namespace has its own.
    gives_on = hasattr(module, "__path__") or module.__name__ not in [home for _, home in found.values()]
    for name, (value, home) in found.items():
        if home.startswith("surrogax.") and (gives_on or home == module.__name__):
            yield name, value


def public_names() -> list[Name]:
    """Every public object once, in alphabetical order; those for which one has to go deep last."""
    found: dict[int, tuple[Any, list[str]]] = {}
    for place, module in namespaces().items():
        for name, value in _members(module):
            found.setdefault(id(value), (value, []))[1].append(f"{place}.{name}".lstrip("."))
    names = []
    for value, paths in found.values():
        first, *rest = sorted(paths, key=lambda path: (path.count("."), len(path), path))
        names.append(Name(first, tuple(rest), value))
    return sorted(names, key=lambda name: (name.path.count(".") > 1, name.path.lower()))
