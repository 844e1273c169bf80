"""Seconds of a training step and of a prediction of a surrogate, as `fit` runs them: a compiled loop, the state donated."""

import dataclasses
import statistics
from collections.abc import Collection, Mapping
from typing import Protocol

import equinox as eqx
import jax
import jax.numpy as jnp
import numpy as np
import optax

import surrogax as sx
from surrogax.surrogates.training.loop import Loop
from surrogax.surrogates.training.samples import DeviceData, Samples
from surrogax.surrogates.training.steps import as_step

from .timing import timed

STEPS = 5  # of the training loop in one call


def unscaled_task(data: sx.Dataset) -> sx.Task:
    """The task from "a" to "u" whose normalisers change nothing."""
    task = sx.Task.fit(data, inputs="a", targets="u")
    same = dataclasses.replace(task.normalizers["a"], mean=jnp.zeros(1), std=jnp.ones(1))
    return eqx.tree_at(lambda t: t.normalizers, task, dict.fromkeys(("a", "u"), same))


class TrainingStep:
    """`train()` and `infer()` of a surrogate on all samples of a dataset as one batch. The relative L2 loss is minimised.

    **Fields:** `output`, the prediction of the network before training, channels first; `compile_seconds`, of both programs.
    """

    def __init__(self, surrogate: sx.NetworkSurrogate, data: sx.Dataset, optimizer: optax.GradientTransformation):
        task = surrogate.task
        loop = Loop.of(surrogate, sx.Supervised(), as_step(optimizer), 0.0)
        device = DeviceData.load(Samples.of(task, data))
        order = jnp.tile(jnp.arange(len(data)), (STEPS, 1))
        self._train = eqx.filter_jit(lambda c, state: c[0].run(state, c[2], c[1].take), donate="all-except-first")
        self._constants = (loop, device, order)
        self._state = loop.init(surrogate, jax.random.key(0))

        @eqx.filter_jit
        def infer(network, batch):
            if network.abilities.batched:
                return network(jax.vmap(task.pack)(batch), key=None, state=surrogate.state, train=False)[0]
            return jax.vmap(lambda one: network(task.pack(one), key=None, state=None, train=False)[0])(batch)

        self._infer = infer
        self._inputs = (surrogate.network, device.take(order[0]))
        first, output = timed(self._infer, *self._inputs)
        self.output = np.moveaxis(np.asarray(output), -1, 1)
        second, (self._state, losses, _) = timed(self._train, self._constants, self._state)
        self.losses, self.compile_seconds = np.asarray(losses), first + second

    def train(self) -> float:
        """Seconds per step."""
        seconds, (self._state, _, _) = timed(self._train, self._constants, self._state)
        return seconds / STEPS

    def infer(self) -> float:
        """Seconds per batch."""
        return timed(self._infer, *self._inputs)[0]


class TimedPeer(Protocol):
    """The process of a peer that times itself: seconds of each of so many steps of training ("train") or inference ("infer")."""

    def seconds(self, mode: str, what: str, count: int) -> list[float]: ...


def in_turns(ours: TrainingStep, peers: Mapping[str, TimedPeer], rounds: int, calls: int) -> dict[str, float]:
    """Median seconds of ours ("ours train", "ours infer") and of the peer of every mode ("eager train", …), which take turns in
    `rounds` of `calls`."""
    seconds: dict[str, list[float]] = {}
    for what, call in (("train", ours.train), ("infer", ours.infer)):
        for mode, peer in peers.items():
            peer.seconds(mode, what, 3)
        call()
        for _ in range(rounds):
            seconds.setdefault(f"ours {what}", []).extend(call() for _ in range(calls))
            for mode, peer in peers.items():
                seconds.setdefault(f"{mode} {what}", []).extend(peer.seconds(mode, what, 2 * calls))
    return {name: statistics.median(values) for name, values in seconds.items()}


def fastest_ratio(medians: Mapping[str, float], what: str, modes: Collection[str]) -> float | None:
    """The seconds of the fastest of these modes over ours; None without modes."""
    theirs = [medians[f"{mode} {what}"] for mode in modes]
    return round(min(theirs) / medians[f"ours {what}"], 2) if theirs else None
