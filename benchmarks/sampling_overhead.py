"""What a sampler costs beside its network: microseconds per step of 20, beside three other libraries.

    python benchmarks/sampling_overhead.py [--quick | --smoke] [--self-only] [--peer-python PATH] [--torch-python PATH]

Fields of 64 × 64 points, batches of 1, 8 and 64; a trivial network x/2 and a small convolutional one, the same in all
libraries. The overhead of a method is its time per step with the trivial network, whose product by ½ is all but free and for
which nothing is subtracted; with the convolutional network it is the time beyond that of as many bare calls. Ours and
those in JAX run in one compiled program each, diffusers in its loop. "call" is `sample` outside of `jit`: with planning, checks
and the transfer of weights. With --quick batches of 1 and 8 and fewer rounds; with --smoke one batch, one round and no peer.

Peers: `peers/requirements-diffusion-jax.txt` (hackable-diffusion, diffuse-jax), `peers/requirements-diffusion.txt` (diffusers).
DDIM and the peers in JAX, whose arithmetic is the same, must end at the same states.

The floor is memory: at batch 64 a state has 1 MiB, and a step beside the network must read and write 2 states for DDIM (x; x), 5
for 2M (x, D, one earlier D; x and the D that is kept), 8 for UniPC-3 (x, D, three earlier D; solution, point and D).

Last line: JSON. `overhead_share`: the largest overhead of UniPC-3 over batches, as a share of the convolutional network;
`ratio_jax_peer`: the overhead of the best method of a peer in JAX over that of our DDIM, the least over batches;
`ratio_diffusers`: the same of every scheduler of diffusers over our solver of this name, the least of all. `cases`: all
overheads in microseconds per step, and total milliseconds of 20 steps.
"""

import json
import statistics
from pathlib import Path
from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
from common.command_line import options
from common.denoising_kernels import FIRST, LAST, STEPS, noise
from common.denoising_networks import network, repeated_calls
from common.peers import DIFFUSION, DIFFUSION_JAX, PeerProcess
from common.record import record
from common.timing import timed

from surrogax.solvers import diffusion as sd

SCHEDULE = sd.FlowMatching()
TIMES = sd.UniformTime(STEPS, start=FIRST, end=LAST, to_zero=False)
SOLVERS = {"DDIM": sd.DDIM(), "2M": sd.DPMSolverPP(2), "UniPC-3": sd.UniPC(3)}


class Size(NamedTuple):
    """How much to run."""

    batches: tuple[int, ...]
    rounds: int


FULL = Size((1, 8, 64), 15)
QUICK = Size((1, 8), 7)
SMOKE = Size((1,), 1)


def own_methods(name: str, x) -> dict:
    """Calls without argument, compiled."""
    predict = network(name)
    denoise = sd.DataPrediction(lambda x, t, condition: predict(x[None], t)[0], SCHEDULE)

    def run(solver):
        return lambda x: sd.sample(denoise, solver, schedule=SCHEDULE, times=TIMES, initial=x)

    def in_one_program(call):
        compiled = jax.jit(call).lower(x).compile()
        return lambda: compiled(x)

    return {
        "network": in_one_program(repeated_calls(predict, np.linspace(FIRST, LAST, STEPS + 1)[:-1])),
        **{key: in_one_program(run(solver)) for key, solver in SOLVERS.items()},
        "call of UniPC-3": lambda: run(SOLVERS["UniPC-3"])(x),
    }


def measure(name: str, batch: int, rounds: int, jax_peer, torch_peer) -> dict[str, float]:
    """Median seconds of 20 steps, by method; "network", "jax network" and "torch network" are the networks alone."""
    x = jnp.asarray(noise(batch))
    methods = own_methods(name, x)
    ends = {key: np.asarray(call())[0, 0, :4, 0] for key, call in methods.items()}  # compiles
    if jax_peer is not None:
        for key, end in json.loads(jax_peer.ask("prepare", name, batch)).items():
            if "DDIM" in key:
                np.testing.assert_allclose(end, ends["DDIM"], rtol=0, atol=2e-3, err_msg=key)
    if torch_peer is not None:
        torch_peer.ask("prepare", name, batch)
    found = []
    for _ in range(rounds):
        seconds = {key: timed(call)[0] for key, call in methods.items()}
        for peer, word in ((jax_peer, "jax "), (torch_peer, "torch ")):
            if peer is not None:
                answer = json.loads(peer.ask("time"))
                seconds |= {word + key if key == "network" else key: value for key, value in answer.items()}
        found.append(seconds)
    return {key: statistics.median(seconds[key] for seconds in found) for key in found[0]}


def network_of(method: str) -> str:
    """The time of the network that a method called."""
    return "torch network" if method.startswith("diffusers") else "jax network" if method[0] in "hd" else "network"


def overheads(name: str, seconds: dict[str, float]) -> dict[str, float]:
    """Microseconds per step: all with the trivial network, beyond the network with the other."""
    samplers = [key for key in seconds if not key.endswith("network")]
    bare = {key: seconds[network_of(key)] if name == "convolutional" else 0.0 for key in samplers}
    return {key: 1e6 / STEPS * (seconds[key] - bare[key]) for key in samplers}


def main() -> None:
    arguments = options(
        __doc__,
        full=FULL,
        quick=QUICK,
        smoke=SMOKE,
        peer=DIFFUSION_JAX,
        **{"torch-python": {"type": Path, "default": DIFFUSION, "help": "Python of diffusers' environment"}},
    )
    jax_peer = None if arguments.python is None else PeerProcess(arguments.python, "sampling_overhead_jax.py")
    with_torch = arguments.torch_python.exists() and not arguments.self_only and not arguments.smoke
    torch_peer = PeerProcess(arguments.torch_python, "sampling_overhead_torch.py") if with_torch else None
    cases, shares, jax_ratios, torch_ratios = [], [], [], []
    for batch in arguments.size.batches:
        seconds = {}
        for name in ("trivial", "convolutional"):
            seconds[name] = measure(name, batch, arguments.size.rounds, jax_peer, torch_peer)
            found = overheads(name, seconds[name])
            total = {key: 1e3 * value for key, value in seconds[name].items()}
            cases.append({"network": name, "batch": batch, "us_per_step": found, "total_ms": total})
            print(f"{name} network, batch {batch}: overhead in µs per step, ms of {STEPS} steps", flush=True)
            for key in total:
                print(f"  {key:20} {found.get(key, 0.0):10.1f} {total[key]:10.2f}", flush=True)
        ours = overheads("trivial", seconds["trivial"])
        shares.append(ours["UniPC-3"] / (1e6 / STEPS * seconds["convolutional"]["network"]))
        if jax_peer is not None:
            best = min(value for key, value in ours.items() if network_of(key) == "jax network")
            jax_ratios.append(best / ours["DDIM"])
        if torch_peer is not None:
            torch_ratios += [ours[f"diffusers {key}"] / ours[key] for key in SOLVERS]
    for peer in (jax_peer, torch_peer):
        if peer is not None:
            peer.close()
    values = {
        "overhead_share": max(shares),
        "ratio_jax_peer": min(jax_ratios, default=None),
        "ratio_diffusers": min(torch_ratios, default=None),
        "cases": cases,
    }
    record("sampling_overhead", arguments, values)


if __name__ == "__main__":
    main()
