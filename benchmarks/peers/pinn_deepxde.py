"""DeepXDE (PyTorch) on Burgers' and Helmholtz' equation; asked by `pinn_speed.py`, line by line.

step NAME STEPS: seconds per step of Adam after a warm-up
accuracy NAME WANTED LIMIT POINTS: seconds until the relative error is below WANTED, or "null"; POINTS is a file with "points"
    and "exact". The documented recipe of its Burgers example: Adam 1e-3 for 15000 steps, then L-BFGS. Errors are looked at
        every 500 steps, outside of the time.
"""

import os
import sys
import time

os.environ["DDE_BACKEND"] = "pytorch"

import deepxde as dde
import numpy as np
import torch

torch.set_num_threads(int(sys.argv[1]) if len(sys.argv) > 1 else torch.get_num_threads())
PI = np.pi


def burgers():
    def residual(z, u):
        slope, rate = dde.grad.jacobian(u, z, i=0, j=0), dde.grad.jacobian(u, z, i=0, j=1)
        return rate + u * slope - 0.01 / PI * dde.grad.hessian(u, z, i=0, j=0)

    box = dde.geometry.GeometryXTime(dde.geometry.Interval(-1, 1), dde.geometry.TimeDomain(0, 1))
    sides = dde.icbc.DirichletBC(box, lambda z: 0, lambda z, on: on)
    start = dde.icbc.IC(box, lambda z: -np.sin(PI * z[:, :1]), lambda z, on: on)
    return dde.data.TimePDE(box, residual, [sides, start], num_domain=2540, num_boundary=80, num_initial=160)


def helmholtz():
    def residual(z, u):
        x, y = z[:, :1], z[:, 1:]
        q = (1 - 17 * PI**2) * torch.sin(PI * x) * torch.sin(4 * PI * y)
        return dde.grad.hessian(u, z, i=0, j=0) + dde.grad.hessian(u, z, i=1, j=1) + u - q

    box = dde.geometry.Rectangle([-1, -1], [1, 1])
    sides = dde.icbc.DirichletBC(box, lambda z: 0, lambda z, on: on)
    return dde.data.PDE(box, residual, [sides], num_domain=2540, num_boundary=240)


PROBLEMS = {"burgers": (burgers, None), "helmholtz": (helmholtz, [1.0, 100.0])}


def compiled(name: str):
    data, weights = PROBLEMS[name]
    dde.config.set_random_seed(0)
    model = dde.Model(data(), dde.nn.FNN([2, 20, 20, 20, 1], "tanh", "Glorot normal"))
    model.compile("adam", lr=1e-3, loss_weights=weights)
    return model, weights


def train(model, steps: int) -> float:
    start = time.perf_counter()
    model.train(iterations=steps, display_every=10**9, verbose=0)
    return time.perf_counter() - start


def step(name: str, steps: str) -> str:
    model, _ = compiled(name)
    train(model, 20)
    return str(train(model, int(steps)) / int(steps))


def accuracy(name: str, wanted: str, limit: str, file: str) -> str:
    found = np.load(file)
    points, exact = found["points"], found["exact"]
    model, weights = compiled(name)
    seconds = 0.0

    def done() -> bool:
        error = np.linalg.norm(model.predict(points)[:, 0] - exact) / np.linalg.norm(exact)
        print(f"  DeepXDE {name}: {error:.1e} after {seconds:.0f} s", file=sys.stderr, flush=True)
        return error < float(wanted)

    for _ in range(30):
        seconds += train(model, 500)
        if done():
            return str(seconds)
        if seconds > float(limit):
            return "null"
    dde.optimizers.config.set_LBFGS_options(maxiter=500)
    model.compile("L-BFGS", loss_weights=weights)
    while seconds < float(limit):
        seconds += train(model, 500)
        if done():
            return str(seconds)
    return "null"


# DeepXDE prints what it does, between the answers.
answers, sys.stdout = sys.stdout, sys.stderr
for line in sys.stdin:
    word, *arguments = line.split()
    print({"step": step, "accuracy": accuracy}[word](*arguments), file=answers, flush=True)
