"""Signatures as they stand in the source: `Float[Array, "samples points"]` stays what its author wrote."""

import ast
import enum
import functools
import inspect
import typing
from typing import Any


@functools.cache
def _definitions(module: str) -> dict[str, ast.AST]:
    """Classes and functions of a module by their qualified names."""
    import sys

    found: dict[str, ast.AST] = {}

    def visit(body, prefix: str):
        for node in body:
            if isinstance(node, ast.ClassDef | ast.FunctionDef):
                decorators = [ast.unparse(d) for d in node.decorator_list]
                if any(d.endswith((".setter", "overload")) for d in decorators):
                    continue
                found[prefix + node.name] = node
                if isinstance(node, ast.ClassDef):
                    visit(node.body, f"{prefix}{node.name}.")
            elif isinstance(node, ast.If):
                visit([*node.body, *node.orelse], prefix)

    visit(ast.parse(inspect.getsource(sys.modules[module])).body, "")
    return found


def node_of(value: Any) -> ast.AST | None:
    """The definition of a class or function, or None where there is no source."""
    value = inspect.unwrap(value)
    module = value.__module__
    if not module.startswith("surrogax"):
        return None
    return _definitions(module).get(value.__qualname__)


class _Readable(ast.NodeTransformer):
    """Names of `Literal`s become their words; `jnp.ndarray` and the like lose nothing."""

    def __init__(self, module: str):
        import sys

        self.names = vars(sys.modules[module])

    def visit_Name(self, node: ast.Name) -> ast.AST:
        value = self.names.get(node.id)
        if typing.get_origin(value) is typing.Literal:
            return ast.parse(f"Literal[{', '.join(map(repr, typing.get_args(value)))}]", mode="eval").body
        return node


def annotation_text(node: ast.AST | None, module: str) -> str:
    """An annotation as text, without the quotes of a forward reference."""
    if node is None:
        return ""
    if isinstance(node, ast.Constant) and isinstance(node.value, str):
        node = ast.parse(node.value, mode="eval").body
    return ast.unparse(_Readable(module).visit(ast.parse(ast.unparse(node), mode="eval").body))


def _parameter(argument: ast.arg, default: ast.AST | None, module: str, prefix: str = "") -> str:
    note = annotation_text(argument.annotation, module)
    text = prefix + argument.arg + (f": {note}" if note else "")
    return text if default is None else text + (" = " if note else "=") + ast.unparse(default)


def function_signature(function: Any, *, bound: bool = False) -> str:
    """`(a: int, *, b: str = "x") -> Result`; without the first argument if `bound`."""
    function = inspect.unwrap(function)
    node = node_of(function)
    if not isinstance(node, ast.FunctionDef):
        return "(…)" if not callable(function) else str(inspect.signature(function))
    args, module = node.args, function.__module__
    positional = [*args.posonlyargs, *args.args]
    defaults = [None] * (len(positional) - len(args.defaults)) + list(args.defaults)
    parts = [_parameter(a, d, module) for a, d in zip(positional, defaults, strict=True)]
    if args.posonlyargs:
        parts.insert(len(args.posonlyargs), "/")
    if bound:
        parts = parts[1:]
        if parts[:1] == ["/"]:
            parts = parts[1:]
    if args.vararg:
        parts.append(_parameter(args.vararg, None, module, "*"))
    elif args.kwonlyargs:
        parts.append("*")
    parts += [_parameter(a, d, module) for a, d in zip(args.kwonlyargs, args.kw_defaults, strict=True)]
    if args.kwarg:
        parts.append(_parameter(args.kwarg, None, module, "**"))
    returned = annotation_text(node.returns, module)
    return f"({', '.join(parts)})" + (f" -> {returned}" if returned and returned != "None" else "")


def fields_of(cls: type) -> dict[str, tuple[str, ast.AST | None]]:
    """Annotated fields of a class and its bases in this library: type as text, and the expression of the default.

    What an abstract base asks for (`AbstractVar`) is listed only for abstract classes; `ClassVar`s are no fields.
    """
    found: dict[str, tuple[str, ast.AST | None]] = {}
    for base in reversed(cls.__mro__):
        node = node_of(base) if base.__module__.startswith("surrogax") else None
        for statement in node.body if isinstance(node, ast.ClassDef) else ():
            if isinstance(statement, ast.AnnAssign) and isinstance(statement.target, ast.Name):
                note = annotation_text(statement.annotation, base.__module__)
                found[statement.target.id] = (note, statement.value)
    hidden = ("ClassVar", "InitVar") if is_abstract(cls) else ("ClassVar", "InitVar", "eqx.Abstract", "Abstract")
    return {
        name: (note, value)
        for name, (note, value) in found.items()
        if not note.startswith(hidden) or "Var[" not in note
    }


def is_abstract(cls: type) -> bool:
    """Whether there are no instances of just this class."""
    return inspect.isabstract(cls) or cls.__name__.startswith("Abstract") or bool(vars(cls).get("_is_protocol", False))


def _default(node: ast.AST | None) -> str | None:
    """The default of a field as text, None if it is required; what `field(default=…)` says."""
    if isinstance(node, ast.Call) and ast.unparse(node.func).split(".")[-1] == "field":
        named = {k.arg: k.value for k in node.keywords}
        if "default" in named:
            return ast.unparse(named["default"])
        factory = named.get("default_factory")
        if isinstance(factory, ast.Lambda):
            return ast.unparse(factory.body)
        return None if factory is None else f"{ast.unparse(factory)}()"
    return None if node is None else ast.unparse(node)


def constructor(cls: type) -> Any | None:
    """The function with which a class of this library is made, where somebody wrote it."""
    for base in cls.__mro__:
        if not base.__module__.startswith("surrogax"):
            continue
        for name in ("__new__", "__init__"):
            made = vars(base).get(name)
            made = made.__func__ if isinstance(made, staticmethod) else made
            if made is not None and isinstance(node_of(made), ast.FunctionDef):
                return made
    return None


def class_signature(cls: type) -> str:
    """How a class is called; "" for abstract classes and enumerations."""
    if issubclass(cls, enum.Enum | BaseException) or is_abstract(cls):
        return ""
    if (made := constructor(cls)) is not None:
        return function_signature(made, bound=True).partition(" -> ")[0]
    fields = fields_of(cls)
    try:
        parameters = inspect.signature(cls).parameters.values()
    except (TypeError, ValueError):
        return "()"
    parts, keyword = [], False
    for p in parameters:
        if p.kind is p.KEYWORD_ONLY and not keyword:
            parts, keyword = [*parts, "*"], True
        if p.kind in (p.VAR_POSITIONAL, p.VAR_KEYWORD):
            continue
        note, value = fields.get(p.name, ("", None))
        default = _default(value) if p.name in fields else None if p.default is p.empty else repr(p.default)
        if default is None and p.default is not p.empty:
            default = "…"
        parts.append(p.name + (f": {note}" if note else "") + ("" if default is None else f" = {default}"))
    return f"({', '.join(parts)})"
