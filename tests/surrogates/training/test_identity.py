"""What a run folder compares: the content of objects, the same in every process, different where any number differs."""

import json
import os
import subprocess
import sys

import jax
import jax.numpy as jnp
import numpy as np
import optax
import pytest

import surrogax as sx
from surrogax.core.identity import checksum, code_identity, identity_of
from surrogax.surrogates.learned_solvers import DirectionObjective, SineSystems
from surrogax.surrogates.training import identity
from surrogax.surrogates.training.identity import data_identity


def chain(rate=1e-3, clip=1.0, decay=1e-4, steps=100):
    schedule = optax.cosine_onecycle_schedule(steps, rate)
    return optax.chain(optax.clip_by_global_norm(clip), optax.adamw(schedule, weight_decay=decay))


def twice(x, factor=2.0):
    return factor * x


def closed_over(factor):
    return lambda x: factor * x


# Values that an identity must tell apart; every one agrees with another made the same way.
DIFFERENT = {
    "rates": (lambda: optax.adam(1e-3), lambda: optax.adam(2e-3)),
    "numbers inside a chain": (chain, lambda: chain(clip=2.0)),
    "numbers inside a schedule": (chain, lambda: chain(rate=2e-3)),
    "lengths of a schedule": (chain, lambda: chain(steps=101)),
    "optimisers": (lambda: optax.adam(1e-3), lambda: optax.rmsprop(1e-3)),
    "constants of a lambda": (lambda: lambda x: 2.0 * x, lambda: lambda x: 3.0 * x),
    "names in a lambda": (lambda: lambda x: jnp.sin(x), lambda: lambda x: jnp.cos(x)),
    "numbers in a closure": (lambda: closed_over(2.0), lambda: closed_over(3.0)),
    "arrays in a closure": (lambda: closed_over(np.ones(3)), lambda: closed_over(np.zeros(3))),
    "values of an array": (lambda: np.arange(3.0), lambda: np.array([0.0, 1.0, 3.0])),
    "types of an array": (lambda: np.arange(3), lambda: np.arange(3.0)),
    "shapes of an array": (lambda: np.zeros((2, 3)), lambda: np.zeros((3, 2))),
    "keys": (lambda: jax.random.key(0), lambda: jax.random.key(1)),
    "fields of an objective": (lambda: sx.Supervised(dtype="bfloat16"), lambda: sx.Supervised()),
    "fields of fields": (lambda: sx.Supervised(unroll=sx.Unroll(2)), lambda: sx.Supervised(unroll=sx.Unroll(3))),
    "losses": (lambda: sx.Supervised(sx.losses.MSE()), lambda: sx.Supervised(sx.losses.RelativeL2())),
    "systems": (lambda: DirectionObjective(SineSystems((4, 5))), lambda: DirectionObjective(SineSystems((5, 4)))),
    "jitted functions": (lambda: jax.jit(closed_over(2.0)), lambda: jax.jit(closed_over(3.0))),
    "activations": (lambda: jax.nn.relu, lambda: jax.nn.silu),
    "lists and tuples of one more": (lambda: [1, 2], lambda: [1, 2, 3]),
    "infinities": (lambda: np.inf, lambda: -np.inf),
}  # fmt: skip


@pytest.mark.parametrize("name", DIFFERENT)
def test_any_number_inside_an_object_counts(name):
    one, other = DIFFERENT[name]
    assert identity_of(one()) == identity_of(one())
    assert identity_of(one()) != identity_of(other())


def test_an_identity_can_be_written_down_and_read_back():
    for one, _ in DIFFERENT.values():
        found = identity_of(one())
        assert json.loads(json.dumps(found)) == found


def test_defaults_of_functions_count_and_equal_arrays_of_jax_and_numpy_are_one():
    changed = identity_of(twice)
    before = twice.__defaults__
    try:
        twice.__defaults__ = (3.0,)
        assert identity_of(twice) != changed
    finally:
        twice.__defaults__ = before
    assert identity_of(twice) == changed
    assert identity_of(np.float32([1, 2])) == identity_of(jnp.float32([1, 2]))


def test_an_object_that_holds_itself_has_an_identity():
    circle = {"a": 1}
    circle["self"] = circle
    assert identity_of(circle) == {"a": 1, "self": "…"}


def in_a_module(code: str, name: str = "f"):
    """What a user's module defines under a name."""
    scope = {"__name__": "a_users_module", "sx": sx, "jax": jax, "jnp": jnp, "np": np}
    exec(code, scope)
    return scope[name]


# Code of a user's module before and after an edit that changes what f computes.
EDITS = {
    "numbers in a dict": ("C = {'rate': 1.0}\ndef f(x): return C['rate'] * x", "1.0", "2.0"),
    "numbers in a list": ("C = [1.0, [2.0]]\ndef f(x): return C[1][0] * x", "2.0", "3.0"),
    "a helper": ("def g(x): return x + 1\ndef f(x): return g(x)", "x + 1", "x - 1"),
    "a jitted helper": ("@jax.jit\ndef g(x): return x + 1\ndef f(x): return g(x)", "x + 1", "x - 1"),
    "a class": ("class G:\n    def __call__(self, x): return x + 1\ndef f(x): return G()(x)", "x + 1", "x - 1"),
    "a base of a class": ("class B:\n    k = 1\nclass G(B): pass\ndef f(x): return G().k * x", "k = 1", "k = 2"),
    "a law": ("LAW = sx.random.Threshold(12, 3)\ndef f(key, grid): return LAW.sample(key, grid)", "12", "24"),
}


@pytest.mark.parametrize("edit", EDITS)
def test_what_a_users_function_reads_and_calls_counts(edit):
    code, old, new = EDITS[edit]
    one = identity_of(in_a_module(code))
    assert one == identity_of(in_a_module(code)) == json.loads(json.dumps(one))
    assert one != identity_of(in_a_module(code.replace(old, new)))


def test_logs_datasets_and_other_objects_that_a_function_names_do_not_count():
    code = "log = []\nrows = [object()]\ndef f(x):\n    log.append(x)\n    rows.append(data)\n    return x"
    one = in_a_module(code)
    one.__globals__["data"] = data()
    before = identity_of(one)
    one(jnp.ones(2))
    assert identity_of(one) == before
    one.__globals__["data"] = data(u=np.zeros((5, 8)))
    assert identity_of(one) == before


def test_the_code_of_a_class_is_that_of_its_methods_and_bases():
    code = """
class B(sx.random.Distribution):
    is_field, isotropic, smooth = True, True, True

    def scale(self):
        "A number."
        return 1.0

class L(B):
    @property
    def k(self):
        return 2

    @staticmethod
    def s():
        return 3

    def sample(self, key, grid):
        return self.scale() * self.k * self.s() * jnp.ones(grid.shape)
"""
    one = code_identity(in_a_module(code, "L"))
    assert one == code_identity(in_a_module(code, "L")) and len(checksum(one)) == 8
    edits = {"return 1.0": "return 2.0", "return 2\n": "return 4\n", "return 3": "return 5", "jnp.ones": "jnp.zeros"}
    for old, new in edits.items():
        assert checksum(code_identity(in_a_module(code.replace(old, new), "L"))) != checksum(one), old
    assert code_identity(in_a_module(code.replace("A number", "The scale"), "L")) == one, "a docstring is no code"
    assert code_identity(sx.random.Threshold) == {} == code_identity(dict)


_PRINT = """
import json, optax, jax, numpy as np, surrogax as sx
from surrogax.core.identity import identity_of

known = lambda name: name in {"alpha", "beta", "gamma", "delta", "epsilon"}
schedule = optax.cosine_onecycle_schedule(10, 1e-3)
things = [
    optax.chain(optax.clip_by_global_norm(1.0), optax.adamw(schedule)), known, {"b", "a", "c"}, jax.nn.gelu,
    sx.Supervised(symmetry=sx.Dihedral()), jax.random.key(3), np.arange(4.0), sx.Grid.unit_square(4),
    sx.problem("darcy", a=sx.random.Threshold(12, 3)),
]
print(json.dumps([identity_of(thing) for thing in things]))
"""


@pytest.mark.nightly
def test_equal_objects_agree_across_processes():
    """Whatever the order of sets and the addresses of memory are there."""
    found = []
    for seed in ("1", "2", "3"):
        environment = {**os.environ, "PYTHONHASHSEED": seed}
        run = subprocess.run(
            [sys.executable, "-c", _PRINT], env=environment, capture_output=True, text=True, timeout=300
        )
        assert run.returncode == 0, run.stderr
        found.append(json.loads(run.stdout))
    for number, things in enumerate(zip(*found, strict=True)):
        assert things[0] == things[1] == things[2], f"object {number}"
    assert " at 0x" not in json.dumps(found)


# Data -----------------------------------------------------------------------------------------------------------------


def data(**changed):
    arrays = {"a": np.arange(40.0).reshape(5, 8), "u": np.arange(40.0).reshape(5, 8) + 1}
    return sx.from_arrays({**arrays, **changed}, grid=sx.Grid.unit_interval(8))


def test_data_are_identified_by_the_values_that_count_and_their_order():
    one = data_identity(data(), ("a", "u"))
    assert one == data_identity(data(), ("a", "u")) == json.loads(json.dumps(one))
    changed = data()["u"].copy()
    changed[4, 7] += 1e-3
    assert data_identity(data(u=changed), ("a", "u")) != one
    assert data_identity(data(u=changed), ("a",)) == data_identity(data(), ("a",))
    assert data_identity(data().select([1, 0, 2, 3, 4]), ("a", "u")) != one
    assert data_identity(data().select(slice(4)), ("a", "u")) != one
    assert data_identity(data(u=data()["u"].astype(np.float32)), ("a", "u")) != one
    assert data_identity(None, ("a",)) is None


def test_of_data_larger_than_memory_evenly_spread_samples_count(monkeypatch):
    many = sx.from_arrays({"a": np.arange(2000.0).reshape(1000, 2)}, grid=sx.Grid.unit_interval(2))
    monkeypatch.setattr(identity, "_WHOLE", 100)
    monkeypatch.setattr(identity, "_SAMPLES", 3)
    reads = []
    read = many.source.read

    class Counting(type(many.source)):
        def read(self, name, indices, window=()):
            reads.append(list(indices))
            return read(name, indices, window)

    source = Counting(many.source.arrays, many.source.fields, many.source.domains, None, {})
    counted = sx.Dataset.of(source)
    one = data_identity(counted, ("a",))
    assert sorted({i for r in reads for i in r}) == [0, 499, 999]
    values = many["a"].copy()
    values[7] += 1
    assert data_identity(sx.from_arrays({"a": values}, grid=many.grid), ("a",)) == one
    values[999] += 1
    assert data_identity(sx.from_arrays({"a": values}, grid=many.grid), ("a",)) != one


def test_functions_count_by_their_instructions_and_not_by_their_docstrings():
    def plus(x):
        """One more."""
        return x + 1

    def also(x):
        """The same, said otherwise."""
        return x + 1

    def minus(x):
        """One more."""
        return x - 1

    for function in (also, minus):
        function.__qualname__ = plus.__qualname__
    assert identity_of(plus) == identity_of(also) != identity_of(minus)


def test_a_function_may_refer_to_a_name_without_value():
    def uses():
        return later

    before = identity_of(uses)
    later = 1
    assert before != identity_of(uses)
