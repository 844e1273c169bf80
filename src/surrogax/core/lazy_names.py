"""Public names of a package that are imported when they are first used."""

import ast
import contextlib
import gc
import importlib
import importlib.util
import sys
from collections.abc import Iterator
from typing import Any


@contextlib.contextmanager
def _no_garbage_collection() -> Iterator[None]:
    """Imports make many objects that live on; looking through them for garbage takes a fifth of the time."""
    enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if enabled:
            gc.enable()


class LazyNames:
    """The names that a package imports from its own modules under `if TYPE_CHECKING:`, each imported at its first use.

    So one list serves readers, type checkers and the running program, and `import package` costs almost nothing:

        if TYPE_CHECKING:
            from .domains import Grid as Grid
        else:
            _names = LazyNames(__name__)
            __getattr__, __dir__, __all__ = _names.find, _names.listed, list(_names.homes)

    Modules of the package are found by their names too, as after an import of the package that imports them all.

    **Raises:** `ImportError` if there is only the compiled form of the package's `__init__.py`.
    """

    def __init__(self, package: str):
        self.package = sys.modules[package]
        loader: Any = self.package.__loader__
        source = loader.get_source(package)
        if source is None:
            raise ImportError(
                f"{package}: its names are read from the source of its __init__.py, which is not here; ship it"
            )
        self.homes = {
            name.asname or name.name: (f"{package}.{node.module}", name.name)
            for node in ast.walk(ast.parse(source)) if isinstance(node, ast.ImportFrom) and node.level == 1
            for name in node.names
        }  # fmt: skip

    def find(self, name: str) -> Any:
        """The object of a name; the package remembers it. **Raises:** `AttributeError` for a name that there is not."""
        if name in self.homes:
            home, original = self.homes[name]
            with _no_garbage_collection():
                module = importlib.import_module(home)
                # A name of the module, or a module in that package.
                value = (
                    vars(module)[original]
                    if original in vars(module)
                    else importlib.import_module(f"{home}.{original}")
                )
        elif not name.startswith("_") and importlib.util.find_spec(f"{self.package.__name__}.{name}"):
            value = importlib.import_module(f"{self.package.__name__}.{name}")
        else:
            # With `name` and `obj` Python suggests similar names.
            raise AttributeError(
                f"module {self.package.__name__!r} has no attribute {name!r}", name=name, obj=self.package
            )
        vars(self.package)[name] = value
        return value

    def listed(self) -> list[str]:
        """What `dir` shows: the public names, and whatever else the package holds."""
        return sorted({*self.homes, *vars(self.package)})

    def load(self) -> None:
        """Import everything."""
        for name in self.homes:
            self.find(name)
