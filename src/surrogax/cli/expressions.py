"""Numbers, laws and boxes written as words of the command line, such as `LogUniform(1e-5, 1e-3)`. Nothing is executed."""

import ast
import inspect
import math
import operator
from collections.abc import Callable
from types import ModuleType
from typing import Any

from ..core import domains
from ..solvers import pde, random

_CONSTANTS = {"pi": math.pi, "inf": math.inf}
_SIGNS: dict[type, Callable] = {ast.USub: operator.neg, ast.UAdd: operator.pos}
_OPERATIONS: dict[type, Callable] = {
    ast.Add: operator.add,
    ast.Sub: operator.sub,
    ast.Mult: operator.mul,
    ast.Div: operator.truediv,
}


def evaluated(text: str) -> Any:
    """The value of a text: a number (`1e-3`, `2*pi`), a tuple or list of values, `True`, `False` or `None`, a law of
    `surrogax.random` or `surrogax.pde` or a box (`Box(x=(0, 2*pi, periodic))`) made of values, or else the word itself.

    **Raises:** `ValueError` for anything else, with the known names.
    """
    try:
        statements = ast.parse(text.strip()).body
    except SyntaxError:
        statements = []
    if len(statements) != 1 or not isinstance(statements[0], ast.Expr):
        raise ValueError(f"{text!r} is no value; write a number, a word, or a law such as Uniform(0, 1)")
    return _value(statements[0].value, text)


def _value(node: ast.expr, text: str) -> Any:
    if isinstance(node, ast.Constant) and isinstance(node.value, bool | int | float | str | None):
        return node.value
    if isinstance(node, ast.Tuple | ast.List):
        return tuple(_value(entry, text) for entry in node.elts)
    if isinstance(node, ast.Name):
        if node.id in _known():
            raise ValueError(f"{text!r}: {node.id} needs its arguments, {node.id}{_signature(node.id)}")
        return _CONSTANTS.get(node.id, node.id)
    if isinstance(node, ast.UnaryOp) and type(node.op) in _SIGNS:
        return _SIGNS[type(node.op)](_number(node.operand, text))
    if isinstance(node, ast.BinOp) and type(node.op) in _OPERATIONS:
        try:
            return _OPERATIONS[type(node.op)](_number(node.left, text), _number(node.right, text))
        except ZeroDivisionError:
            raise ValueError(f"{text!r} divides by zero") from None
    if isinstance(node, ast.Call):
        return _called(node, text)
    raise ValueError(f"{ast.unparse(node)!r} in {text!r} is no number, word, tuple, law or box")


def _number(node: ast.expr, text: str) -> float:
    value = _value(node, text)
    if isinstance(value, bool) or not isinstance(value, int | float):
        raise ValueError(f"{ast.unparse(node)!r} in {text!r} is no number")
    return value


def _called(node: ast.Call, text: str) -> Any:
    name = ast.unparse(node.func).split(".")[-1]  # sx.random.Uniform is Uniform
    if name not in _known():
        raise ValueError(f"unknown law {name!r} in {text!r}; known: {', '.join(sorted(_known()))}")
    if any(isinstance(entry, ast.Starred) for entry in node.args) or any(k.arg is None for k in node.keywords):
        raise ValueError(f"{text!r}: write every argument of {name}{_signature(name)}")
    positional = [_value(entry, text) for entry in node.args]
    named = {str(k.arg): _value(k.value, text) for k in node.keywords}
    try:
        return _known()[name](*positional, **named)
    except TypeError as error:
        raise ValueError(f"{text!r}: {error}; write {name}{_signature(name)}") from None


def _known() -> dict[str, type]:
    """The laws that the library exports, and boxes."""
    laws = {**_laws(random), **_laws(pde.flow_laws)}
    return {**laws, "Box": domains.Box}


def _laws(module: ModuleType) -> dict[str, type]:
    return {
        name: cls
        for name, cls in vars(module).items()
        if inspect.isclass(cls)
        and issubclass(cls, random.AbstractLaw | random.JointLaw)
        and not inspect.isabstract(cls)
    }


def _signature(name: str) -> str:
    parameters = inspect.signature(_known()[name]).parameters.values()
    return f"({', '.join(str(p.replace(annotation=p.empty)) for p in parameters)})"
