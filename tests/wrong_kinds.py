"""Call public functions with one argument of a wrong kind at a time. `test_wrong_kinds.py` runs it without type checks.

Its argument is k: every k-th value is tried, others for every argument.

Every call must either return or fail by a `raise` of this library; arguments listed with `must` have to fail. It prints one line
per call that does neither.
"""

import linecache
import os
import sys
import tempfile
import traceback
import warnings
from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import optax
import scipy.sparse

import surrogax as sx

warnings.simplefilter("ignore")
os.chdir(tempfile.mkdtemp())  # a path of a wrong kind may be a file name
OURS = Path(sx.__file__).resolve().parents[2]
WRONG = [None, "nonsense", -3, 0, 1.5, float("nan"), True, object(), dict, [], {}, np.array(["x"]), jnp.zeros(3)]

RNG = np.random.default_rng(0)
A = RNG.normal(size=(6, 8)).astype(np.float32)
P = RNG.uniform(1, 2, 6).astype(np.float32)
GRID = sx.Grid.unit_interval(8)
DATA = sx.from_arrays({"a": A}, {"u": 2 * A}, grid=GRID, parameters={"p": P})
PERIODIC = sx.from_arrays({"a": A}, grid=sx.Grid.unit(8, 1, "periodic"))
TIMED = sx.from_arrays({"w": RNG.normal(size=(4, 6, 8)).astype(np.float32)}, grid=GRID, times=np.arange(6.0))
TASK = sx.Task.fit(DATA, ("a", "p"), "u")
STEP = sx.Task.fit(TIMED, "w", "w", mode=sx.Autoregressive(1))
KEY = jax.random.key(0)
FNO = sx.FNO(TASK, width=4, modes=2, depth=1, key=KEY)
FORECASTER = sx.FNO(STEP, width=4, modes=2, depth=1, key=KEY)
TRAJECTORY = sx.diffusion.sample(
    lambda x, sigma, condition: 0 * x,
    sx.diffusion.DDIM(),
    schedule=sx.diffusion.EDM(),
    times=4,
    shape=(2,),
    key=KEY,
    trajectory=True,
)
PRIOR = sx.Prior(sx.Task.fit(DATA, targets="u"), lambda x, sigma, condition: 0 * x)
SEEN = sx.Observe("u", values=np.ones(8), std=1.0)
POSTERIOR = PRIOR.posterior(SEEN, steps=2, n=3, key=KEY)
TABLE = sx.evaluate({"FNO": FNO}, DATA, timing=False)

HARMONIC = sx.Problem("u", sx.Box(x=(0, 1)), residual=lambda u, p: u.xx)
POISSON = sx.linear.Laplacian((9, 9), (0.1, 0.1), ("dirichlet",) * 2)
MATRIX = scipy.sparse.diags_array([-1.0, 2.0, -1.0], offsets=[-1, 0, 1], shape=(9, 9)).tocsr()
DISTANCES = np.abs(P[:, None] - P)

FIT = {
    "model": FNO, "data": DATA, "val": DATA, "optimizer": optax.adam(1e-3), "epochs": 1, "batch_size": 3, "seeds": 1,
    "ema": 0.5, "patience": 2, "key": KEY, "checkpoint_every": 30.0, "mesh": None, "stream": False, "log": (),
    "loss": sx.losses.RelativeL2(), "metric": "rmse", "symmetry": None, "unroll": sx.Unroll(), "noise": 0.1, "dtype": "float32",
    "objective": None, "run": None,
}  # fmt: skip

# Name, function, arguments that work, and the arguments that no value of WRONG suits but None and those of the same type.
CALLS = [
    ("fit", lambda **k: sx.fit(**k, progress=False), FIT, "data epochs batch_size seeds key unroll optimizer"),
    ("Task.fit", sx.Task.fit, {"train": DATA, "inputs": "a", "targets": "u", "mode": sx.Steady()}, "train targets mode"),
    ("Autoregressive", sx.Autoregressive, {"history": 1, "horizon": 1, "increments": False}, "history horizon increments"),
    ("SpaceTime", sx.SpaceTime, {"frames": 2, "history": 1}, "frames history"),
    ("Unroll", sx.Unroll, {"steps": 2, "gradient": "full", "curriculum": 10}, "steps gradient"),
    ("FNO", sx.FNO, {"task": TASK, "width": 4, "modes": 2, "depth": 1, "padding": (0.1,), "key": KEY},
     "task width modes depth key"),
    ("FNO of low rank", sx.FNO,
     {"task": TASK, "width": 4, "modes": 2, "depth": 1, "key": KEY, "factorization": "cp", "rank": 2}, "factorization"),
    ("FNO of sines", sx.FNO,
     {"task": TASK, "width": 4, "modes": 2, "depth": 1, "key": KEY, "boundary": "dirichlet", "local": ("integral",)},
     "boundary local"),
    ("FFNO", sx.FFNO, {"task": TASK, "width": 4, "modes": 2, "depth": 1, "padding": 0.1, "key": KEY},
     "task width modes depth key"),
    ("UNO", sx.UNO, {"task": TASK, "width": 4, "modes": 2, "levels": 1, "padding": 0.1, "key": KEY},
     "task width modes levels key"),
    ("UNet", sx.UNet, {"task": TASK, "width": 4, "levels": 1, "norm": None, "dropout": 0.1, "key": KEY},
     "task width levels key"),
    ("CAPE", sx.CAPE,
     {"task": TASK, "base": sx.FNO.config(width=4, modes=2, depth=1), "width": 4, "channels": 1, "modes": 2, "key": KEY},
     "task base width channels modes key"),
    ("Transolver", sx.Transolver, {"task": TASK, "width": 4, "depth": 1, "slices": 3, "key": KEY, "mlp": 1.0},
     "task width depth slices key mlp"),
    ("GINO", sx.GINO, {"task": TASK, "width": 4, "grid": 8, "modes": 2, "depth": 1, "key": KEY, "reach": 1, "margin": 0.1},
     "task width grid modes depth key reach"),
    ("PointNet", sx.PointNet, {"task": TASK, "width": 4, "depth": 1, "key": KEY}, "task width depth key"),
    ("with_modes", sx.with_modes, {"trained": FNO, "modes": 3}, "trained modes"),
    ("mode_gradients", sx.mode_gradients,
     {"trained": FNO, "data": DATA, "modes": 3, "loss": sx.losses.MSE(), "batch_size": 3}, "trained data modes batch_size"),
    ("with_gaussians", sx.with_gaussians,
     {"trained": sx.PIG(HARMONIC, gaussians=2, key=KEY), "gaussians": 3, "key": KEY}, "trained gaussians key"),
    ("warm_start", sx.warm_start, {"model": FNO, "trained": FNO, "reinitialise": ("lifting",)}, "model trained"),
    ("DeepONet", sx.DeepONet, {"task": TASK, "basis": 3, "branch": (4,), "trunk": (4,), "vanishing": ("x",), "key": KEY},
     "task basis key"),
    ("PODDeepONet", sx.PODDeepONet, {"task": TASK, "train": DATA, "basis": 3, "branch": (4,), "key": KEY},
     "task train basis key"),
    ("conformal", sx.conformal, {"surrogate": FNO, "calibration": DATA, "level": 0.5, "simultaneous": True},
     "surrogate calibration level"),
    ("NeuralSpectral", sx.NeuralSpectral,
     {"problem": sx.problem("poisson", f=sx.random.Uniform(), box=sx.Box.unit(1)), "modes": 3, "width": 2, "depth": 1,
      "key": KEY},
     "problem modes width depth key"),
    ("NeuralSpectral in time", sx.NeuralSpectral,
     {"problem": sx.problem("heat"), "modes": 3, "width": 2, "depth": 1, "degrees": 3, "key": KEY}, "problem modes degrees key"),
    ("predict", FNO.predict, {"data": DATA, "at": GRID, "batch_size": 4}, "data at batch_size"),
    ("rollout", FORECASTER.rollout, {"data": TIMED, "steps": 2}, "data steps"),
    ("evaluate", lambda **k: sx.evaluate(timing=False, **k),
     {"surrogates": FNO, "datasets": DATA, "metrics": ("rmse",), "batch_size": 4, "samples": 4},
     "surrogates datasets metrics batch_size samples"),
    ("rollouts", lambda **k: sx.evaluate(FORECASTER, TIMED, timing=False, **k), {"rollout": 2}, "rollout"),
    ("pareto", TABLE.pareto, {"x": "parameters", "y": "rel_l2"}, "x y"),
    ("plot", sx.evaluate(FORECASTER, TIMED, rollout=2, timing=False).plot, {"y": "rel_l2", "x": "t"}, "x y"),
    ("value", TABLE.value, {"surrogate": "FNO"}, "surrogate"),
    ("Ensemble", sx.Ensemble, {"members": (FNO, FNO)}, "members"),
    ("MeanField", sx.MeanField, {"task": TASK}, "task"),
    ("Persistence", sx.Persistence, {"task": STEP}, "task"),
    ("LinearSpectral", lambda **k: sx.fit(sx.LinearSpectral(**k), DATA), {"task": TASK, "modes": 2, "ridge": 1e-6},
     "task modes"),
    ("register_metric", lambda **k: sx.metrics.register_metric(**k)(lambda *a: 0), {"name": "of_its_own"}, "name"),
    ("SolverSource", lambda **k: sx.SolverSource(sx.problem("poisson"), **k), {"grid": 9, "key": KEY, "round": 5},
     "key round"),
    ("log.CSV", sx.log.CSV, {"path": "losses.csv"}, ""),
    ("log.TensorBoard", sx.log.TensorBoard, {"folder": "tb"}, ""),
    ("posterior.plot", POSTERIOR.plot, {"truth": DATA[0], "at": np.full((2, 1), 0.5)}, ""),
    ("RelativeL2", sx.losses.RelativeL2, {"weights": {"u": 1.0}}, ""),
    ("wrap", sx.wrap, {"network": lambda x: x, "task": TASK}, "network task"),
    ("check_surrogate", sx.check_surrogate, {"surrogate": FNO, "data": DATA}, "surrogate data"),
    ("load", sx.load, {"path": "nonsense.sgx"}, "path"),
    ("from_arrays", sx.from_arrays,
     {"inputs": {"a": A}, "targets": {"u": A}, "grid": GRID, "parameters": {"p": P}, "times": None, "elsewhere": {}},
     "grid elsewhere"),
    ("from_arrays on points", sx.from_arrays, {"inputs": {"a": A}, "points": np.ones((8, 2))}, "points"),
    ("from_arrays of a field", lambda **k: sx.from_arrays(k, grid=GRID), {"a": A}, "a"),
    ("from_arrays with times", lambda **k: sx.from_arrays({"w": TIMED["w"]}, grid=GRID, **k), {"times": np.arange(6.0)}, "times"),
    ("generate", lambda **k: sx.generate(**k, progress=False),
     {"problem": sx.problem("poisson", f=sx.random.Uniform()), "n": 1, "grid": 5, "key": KEY, "refine": 1,
      "label_samples": 0, "cache": False, "times": None},
     "problem n grid key refine label_samples times"),
    ("problem", sx.problem, {"name": "poisson"}, "name"),
    ("burgers", lambda **k: sx.problem("burgers", **k), {"nu": 0.1, "u0": sx.random.GaussianField(), "duration": 1.0}, "u0"),
    ("euler", lambda **k: sx.problem("euler", **k),
     {"density0": 1.0, "velocity0": 0.0, "pressure0": 1.0, "gamma": 1.4, "walls": "outflow", "riemann": "hll", "courant": 0.3},
     "walls riemann courant"),
    ("shallow_water", lambda **k: sx.problem("shallow_water", **k),
     {"depth0": 1.0, "bed": 0.0, "gravity": 9.81, "limiter": "minmod", "walls": "outflow"}, "limiter walls"),
    ("inviscid_burgers", lambda **k: sx.problem("inviscid_burgers", **k),
     {"u0": 1.0, "forcing": 0.0, "left": 1.0, "box": sx.Box.unit(1, "neumann"), "duration": 1.0}, ""),
    ("compressible_navier_stokes", lambda **k: sx.problem("compressible_navier_stokes", **k),
     {"viscosity": 0.1, "bulk_viscosity": sx.random.Uniform(), "gamma": 1.4}, ""),
    ("navier_stokes_velocity", lambda **k: sx.problem("navier_stokes_velocity", **k),
     {"nu": 0.1, "velocity0": sx.pde.Swirls(), "forcing": 0.0, "dt": 0.1}, ""),
    ("channel_flow", lambda **k: sx.problem("channel_flow", **k), {"grid": (8, 4), "inflow": 1.0, "nu": 0.1}, "grid"),
    ("Swirls", sx.pde.Swirls, {"speed": 1.0}, "speed"),
    ("Stirring", sx.pde.Stirring, {"swirls": sx.pde.Swirls(0.1), "terms": 2, "frequency": 2.0}, "swirls terms"),
    ("WaveSum", sx.pde.WaveSum, {"waves": 2, "modes": 8, "folded": 0.1, "between": None}, "waves modes"),
    ("GasWaves", sx.pde.GasWaves, {"mach": 1.0, "modes": 4, "contrast": sx.random.Uniform(0.01, 0.2)}, "modes contrast"),
    ("Riemann", sx.pde.Riemann, {"density": (1, 0.125), "position": 0.5}, "density"),
    ("Dam", sx.pde.Dam, {"radius": 0.5, "inner": 2.0}, ""),
    ("TravellingWaves", sx.pde.TravellingWaves, {"amplitude": 0.5, "waves": 5, "modes": 3}, "waves modes"),
    *((name, lambda name=name, **k: sx.problem(name, **k), {arg: value, "duration": 1.0}, "duration")
      for name, arg, value in [("navier_stokes", "nu", 1e-3), ("kolmogorov_flow", "amplitude", 1.0), ("advection", "speed", 1.0),
                               ("allen_cahn", "rate", 5.0), ("korteweg_de_vries", "mu", 0.02), ("fisher_kpp", "nu", 0.005),
                               ("gray_scott", "feed", 0.04), ("wave", "speed", 1.0), ("klein_gordon", "mass", 1.0),
                               ("kuramoto_sivashinsky_2d", "dt", 0.05)]),
    ("helmholtz", lambda **k: sx.problem("helmholtz", **k), {"k": 1.0, "f": sx.random.GaussianField()}, "f"),
    ("navier_stokes forced", lambda **k: sx.problem("navier_stokes", **k), {"f": 0.1, "w0": sx.random.GaussianField()}, "w0"),
    ("advection along", lambda **k: sx.problem("advection", **k), {"direction": (1.0,)}, ""),
    ("SumOfWaves", sx.random.SumOfWaves, {"waves": 2, "largest": 8}, "waves largest"),
    ("Bumps", sx.random.Bumps, {"number": 8, "width": 0.1}, "number width"),
    ("Clusters", sx.random.Clusters, {"fewest": 2, "most": 5, "height": (1.0, 3.0), "sharpness": (150.0, 300.0)},
     "fewest most height sharpness"),
    ("InterpolatedNoise", sx.random.InterpolatedNoise, {"points": 32, "mean": 0.0, "spread": 1.0}, "points"),
    ("gray_scott_pattern", sx.pde.gray_scott_pattern, {"pattern": "maze", "start": "noise"}, "pattern start"),
    ("UnitRange", sx.random.UnitRange, {"field": sx.random.PeriodicGP()}, "field"),
    ("SquareWave", sx.random.SquareWave, {"low": 0.0, "high": 1.0, "narrowest": 0.1, "widest": 0.5}, ""),
    ("from_exponax", sx.pde.from_exponax, {"stepper": None}, "stepper"),
    ("Problem", sx.Problem, {"unknowns": "u", "box": sx.Box.unit(1), "time": (0, 1), "inputs": {"c": 1.0}}, "box"),
    ("Box", lambda **k: sx.Box(**k), {"x": (0, 1)}, "x"),
    ("Box of ends", lambda **k: sx.Box(x=(k["start"], k["stop"], k["boundary"])),
     {"start": 0.0, "stop": 1.0, "boundary": "neumann"}, "boundary"),
    ("Box.unit", sx.Box.unit, {"ndim": 2, "boundary": "neumann"}, "ndim boundary"),
    ("Box.grid", sx.Box.unit(2).grid, {"shape": 8}, "shape"),
    ("Grid", sx.Grid, {"box": sx.Box.unit(1), "shape": (8,), "layouts": ("nodes",)}, "box shape layouts"),
    ("Grid.unit", sx.Grid.unit, {"shape": 8, "ndim": 2, "layout": "nodes"}, "shape ndim layout"),
    ("Grid.unit_square", sx.Grid.unit_square, {"n": 8, "layout": "nodes"}, "n layout"),
    ("Grid.subsample", sx.Grid.unit_square(9).subsample, {"stride": 2}, "stride"),
    ("Grid.refine", GRID.refine, {"factor": 2}, "factor"),
    ("PointCloud", sx.PointCloud, {"points": np.ones((3, 2)), "weights": np.ones(3), "mask": [True] * 3}, "points"),
    ("Mesh", sx.Mesh,
     {"points": np.ones((3, 2)), "edges": [[0, 1]], "weights": np.ones(3), "mask": [True] * 3, "edge_mask": [True]},
     "points edges"),
    ("Mesh.from_cells", sx.Mesh.from_cells, {"points": np.eye(3, 2), "cells": [[0, 1, 2]]}, "points cells"),
    ("PointCloud.stack", sx.PointCloud.stack, {"clouds": [sx.PointCloud(np.ones((3, 2)))]}, "clouds"),
    ("Mesh.stack", sx.Mesh.stack, {"meshes": [sx.Mesh(np.ones((3, 2)), [[0, 1]])]}, "meshes"),
    ("dataset[…]", lambda **k: DATA[k["item"]], {"item": "a"}, ""),
    ("select", DATA.select, {"samples": [0, 1]}, ""),
    ("read", DATA.read, {"names": ["a"], "positions": [0], "frames": None}, ""),
    ("split", DATA.split, {"key": KEY, "train": 3}, "key train"),
    ("subsample", TIMED.subsample, {"space": 1, "time": 2}, "space time"),
    ("frame", TIMED.frame, {"index": 0}, "index"),
    ("snapshots", lambda **k: list(DATA.snapshots(**k)), {"name": "a", "block": 2}, "name block"),
    ("blocks", lambda **k: list(DATA.blocks(**k)), {"names": ["a"], "nbytes": 100}, "nbytes"),
    ("describe", DATA.describe, {"samples": 3}, "samples"),
    ("verify", DATA.verify, {"samples": 3}, "samples"),
    ("windows", TIMED.windows, {"name": "w", "positions": [0, 1], "starts": [0, 0], "frames": 2}, "name starts frames"),
    ("by_ids", DATA.by_ids, {"ids": [0, 1]}, ""),
    ("masked", DATA.masked, {"name": "a"}, "name"),
    ("restrict", DATA.restrict, {"trajectories": 2, "key": KEY}, "trajectories"),
    ("coarsen", PERIODIC.coarsen, {"shape": 4}, "shape"),
    ("where", DATA.where, {"p": (0, 5)}, ""),
    ("concat", sx.concat, {"datasets": [DATA, DATA]}, "datasets"),
    ("plot", lambda **k: DATA.plot(k["name"], n=k["n"]), {"name": "a", "n": 1}, "name n"),
    ("save", DATA.save, {"path": "x.hdf5"}, "path"),
    ("open", sx.open, {"path": "nonsense.hdf5"}, "path"),
    ("with_fields", DATA.with_fields, {"fields": {"u": A}, "times": None}, "fields"),
    ("solve", lambda **k: sx.linear.solve(**k), {"operator": POISSON, "b": np.ones((9, 9)), "method": sx.linear.CG()},
     "operator b method"),
    ("nullspace", lambda **k: sx.linear.solve(POISSON, np.ones((9, 9)), **k), {"nullspace": None}, "nullspace"),
    ("CG", lambda **k: sx.linear.solve(POISSON, np.ones((9, 9)), sx.linear.CG(**k)),
     {"preconditioner": None, "rtol": 1e-4, "max_steps": 50}, "preconditioner max_steps"),
    ("SOR", lambda **k: sx.linear.solve(POISSON, np.ones((9, 9)), sx.linear.SOR(**k)), {"rtol": 1e-3, "max_steps": 50},
     "max_steps"),
    ("Laplacian", sx.linear.Laplacian, {"shape": (9, 9), "spacing": (0.1, 0.1), "boundaries": ("dirichlet",) * 2},
     "shape spacing boundaries"),
    ("from_scipy", sx.linear.Sparse.from_scipy, {"matrix": MATRIX}, "matrix"),
    ("sample", lambda **k: sx.diffusion.sample(lambda x, sigma, condition: 0 * x, **k),
     {"solver": sx.diffusion.UniPC(3), "schedule": sx.diffusion.EDM(), "times": 3, "shape": (2,), "n": 2, "key": KEY,
      "noise": None, "teleport": None, "dtype": "float32", "trajectory": False},
     "solver schedule times shape n key trajectory"),
    ("sample from states", lambda **k: sx.diffusion.sample(
        lambda x, sigma, condition: 0 * x, sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=3, **k),
     {"initial": np.ones((2, 3))}, ""),
    ("choose", lambda **k: sx.diffusion.choose(lambda x, sigma, condition: 0 * x, **k),
     {"schedule": sx.diffusion.EDM(), "times": 2, "shape": (2,), "key": KEY, "samples": 8, "fine": 4},
     "schedule times shape key samples fine"),
    ("LearnedSolver", lambda **k: sx.LearnedSolver(lambda x, sigma, condition: 0 * x, **k),
     {"schedule": sx.diffusion.EDM(), "steps": 3, "shape": (2,), "form": sx.learned_solvers.DODE()}, "schedule steps shape form"),
    ("least_squares", sx.LearnedSolver(lambda x, sigma, condition: 0 * x, sx.diffusion.EDM(), 2, shape=(2,)).least_squares,
     {"key": KEY, "samples": 4, "teacher": 4}, "key samples teacher"),
    ("Tuned", sx.diffusion.Tuned, {"evaluations": 5, "data_std": 1.0}, "evaluations"),
    ("Rho", sx.diffusion.Rho, {"evaluations": 5, "rho": 7.0, "start": None, "to_zero": True}, "evaluations to_zero"),
    ("VPDiscrete", sx.diffusion.VPDiscrete.from_betas, {"betas": np.linspace(1e-4, 0.02, 10)}, "betas"),
    ("Gaussian.fit", sx.diffusion.Gaussian.fit, {"data": A, "rank": 2}, "data"),
    ("Gaussian", sx.diffusion.Gaussian, {"mean": np.ones(2), "variances": np.ones(2), "modes": None}, "mean variances"),
    ("NoisePrediction", sx.diffusion.NoisePrediction, {"network": abs, "schedule": sx.diffusion.EDM()}, "network schedule"),
    ("sample about a centre", lambda **k: sx.diffusion.sample(
        lambda x, sigma, condition: 0 * x, sx.diffusion.DDIM(), schedule=sx.diffusion.MeanReverting(), times=3, shape=(2,),
        key=KEY, **k), {"centre": np.ones(2), "mesh": None}, "mesh"),
    ("MeanReverting", sx.diffusion.MeanReverting, {"rate_start": 0.1, "rate_end": 10.0, "std": 1.0, "start": 1.0}, "std start"),
    ("GivenTimes", sx.diffusion.GivenTimes, {"evaluations": 2, "to_zero": True, "at": (1.0, 0.5)}, "evaluations at"),
    ("StudentNoise", sx.diffusion.StudentNoise, {"extra": 8}, "extra"),
    ("FlowMap", sx.diffusion.FlowMap, {"network": abs, "schedule": sx.diffusion.EDM()}, "network schedule"),
    ("from_diffusers", sx.diffusion.from_diffusers, {"config": {"_class_name": "UniPCMultistepScheduler"}, "steps": 5},
     "config steps"),
    ("transport", lambda **k: sx.diffusion.transport(lambda x, t, condition: x, **k),
     {"x": np.ones((2, 1)), "steps": 3, "start": 0.0, "end": 0.9, "score": None, "diffusion": 0.0}, "steps"),
    ("Linear", sx.diffusion.Linear, {"noise": 1.0}, ""),
    ("LightBridge", sx.diffusion.LightBridge, {"dim": 2, "components": 3, "epsilon": 0.1, "key": KEY}, "dim components key"),
    ("likelihood_bound", lambda **k: sx.diffusion.likelihood_bound(lambda x, s, c: 0 * x, **k),
     {"x": np.ones((2, 1)), "schedule": sx.diffusion.EDM(), "key": KEY, "draws": 2}, "schedule key draws"),
    ("curvature", sx.diffusion.curvature, {"trajectory": TRAJECTORY}, "trajectory"),
    ("Constraint", sx.diffusion.Constraint, {"h": sx.diffusion.Mass(1.0, np.ones(2)), "when": 1.0, "metric": "covariance",
      "mix": 2, "renew": None, "relax": 0.0, "atol": 1e-4}, "h metric mix"),
    ("KnownValues", sx.diffusion.KnownValues, {"where": np.ones(3, bool), "values": np.ones(3)}, "where"),
    ("LinearCondition", sx.diffusion.LinearCondition, {"matrix": np.eye(3), "values": np.ones(3)}, "matrix"),
    ("Mass", sx.diffusion.Mass, {"total": 1.0, "weights": np.ones(3), "axis": 0}, "weights axis"),
    ("DivergenceFree", sx.diffusion.DivergenceFree, {"grid": sx.Grid.unit(4, 2, "periodic"), "layout": "points"}, "grid layout"),
    ("Observation", sx.diffusion.Observation,
     {"operator": abs, "values": np.ones(2), "std": 1.0, "mask": np.ones(2, bool)}, "operator values mask"),
    ("correlated observation", lambda **k: sx.diffusion.Observation(abs, np.ones(2), **k), {"covariance": np.eye(2)}, ""),
    ("guidance", lambda **k: sx.diffusion.MomentMatched()(lambda x, s, c: x, **k),
     {"observation": sx.diffusion.Observation(abs, np.ones(2), std=1.0), "noise": None}, "observation noise"),
    ("MomentMatched", sx.diffusion.MomentMatched, {"method": sx.linear.CG()}, "method"),
    ("PiGDM", sx.diffusion.PiGDM, {"data_std": 1.0, "method": sx.linear.CG()}, "method"),
    ("DMPS", sx.diffusion.DMPS, {"method": sx.linear.CG()}, "method"),
    ("DPS", sx.diffusion.DPS, {"step": 1.0, "squared": False, "data_std": 1.0}, "squared"),
    ("MCG", sx.diffusion.MCG, {"step": 1.0, "data_std": 1.0, "method": sx.linear.CG()}, "method"),
    ("DiffPIR", sx.diffusion.DiffPIR, {"weight": 1.0, "method": sx.linear.CG()}, "method"),
    ("DAPS", sx.diffusion.DAPS, {"data_std": 1.0, "method": sx.linear.CG()}, "method"),
    ("EnKG", sx.diffusion.EnKG, {"step": 1.0, "data_std": 1.0}, ""),
    ("SketchedMoments", sx.diffusion.SketchedMoments, {"rank": 2, "key": KEY}, "rank key"),
    ("TrainingFree", sx.diffusion.TrainingFree,
     {"strength": 1.0, "inner_strength": 0.5, "inner": 2, "draws": 2, "data_std": 1.0}, "inner draws"),
    ("PriorCovariance", sx.diffusion.PriorCovariance, {"samples": A, "noise": None}, "samples noise"),
    ("GaussianDenoiser", sx.diffusion.GaussianDenoiser, {"samples": A, "noise": None}, "samples noise"),
    ("WithoutDerivatives", sx.diffusion.WithoutDerivatives, {"operator": abs, "directions": 3, "step": 1e-2},
     "operator directions"),
    ("Event", sx.diffusion.Event, {"function": abs}, "function"),
    ("LogLikelihood", sx.diffusion.LogLikelihood, {"function": abs}, "function"),
    ("event_probability", lambda **k: sx.diffusion.event_probability(lambda x, s, c: x / (1 + s**2), **k),
     {"event": sx.diffusion.Event(lambda x: x[0]), "schedule": sx.diffusion.EDM(), "shape": (2,), "n": 2, "key": KEY,
      "guidance": None, "solver": "auto", "times": 3, "steps": 2, "probes": None},
     "event schedule shape n key times steps guidance"),
    ("Observe", sx.Observe, {"field": "u", "at": np.ones((2, 1)), "values": np.ones(2), "std": 1.0, "mask": None},
     "field at"),
    ("Prior", sx.Prior,
     {"task": TASK, "denoise": lambda x, s, c: 0 * x, "schedule": sx.diffusion.EDM(), "noise": None, "any_grid": False},
     "task denoise schedule noise any_grid"),
    ("posterior", PRIOR.posterior,
     {"obs": SEEN, "guidance": None, "solver": "auto", "steps": 3, "n": 2, "key": KEY, "fields": {}, "constraint": None,
      "at": None},
     "obs guidance steps n key at"),
    ("conditioned", PRIOR.conditioned,
     {"obs": sx.Observe("u", std=1.0), "guidance": None, "solver": "auto", "steps": 3, "n": 2, "key": KEY,
      "constraint": None, "noisy": True},
     "obs guidance steps n key noisy"),
    ("calibration", sx.calibration,
     {"surrogate": PRIOR.conditioned(sx.Observe("u", std=1.0), steps=2), "data": DATA, "n": 2, "key": KEY,
      "levels": (0.5,), "batch_size": 4},
     "surrogate data n key batch_size"),
    ("FieldNoise", sx.diffusion.FieldNoise, {"law": sx.random.Matern(0.1), "grid": sx.Grid.unit(4, 2)}, "law grid"),
    ("sample with a constraint", lambda **k: sx.diffusion.sample(
        lambda x, sigma, condition: 0 * x, sx.diffusion.DDIM(), schedule=sx.diffusion.EDM(), times=3, shape=(2,), key=KEY, **k),
     {"constraint": None}, "constraint"),
    ("Denoiser", sx.Denoiser, {"task": TASK, "network": sx.FNO.config(width=2, modes=2, depth=1), "noise": None, "key": KEY,
      "steps": 3}, "task network key steps"),
    ("AmortizedPosterior", sx.AmortizedPosterior,
     {"task": TASK, "sensors": sx.generative.Sensors("u", most=2, std=0.1), "network": sx.FNO.config(width=2, modes=2, depth=1),
      "transformer": sx.generative.SensorTransformer(width=4, depth=1), "noise": None, "key": KEY, "steps": 3},
     "task sensors network transformer key steps"),
    ("Sensors", sx.generative.Sensors, {"field": "u", "most": 2, "std": 0.1}, "field most"),
    ("SensorTransformer", sx.generative.SensorTransformer, {"width": 4, "depth": 1, "heads": 2, "waves": 3},
     "width depth heads waves"),
    ("FlowObjective", sx.generative.FlowObjective, {"samples": A, "noise": A, "batch": 4}, "samples batch"),
    ("InterpolantObjective", sx.generative.InterpolantObjective, {"starts": A, "ends": A, "batch": 4}, "starts ends batch"),
    ("WindowObjective", sx.generative.WindowObjective, {"starts": A, "ends": A, "times": A[:, :2], "batch": 4},
     "starts ends times"),
    ("BridgeObjective", sx.generative.BridgeObjective, {"starts": A, "ends": A, "batch": 4}, "starts ends batch"),
    ("VectorField", sx.generative.VectorField, {"dim": 2, "width": 4, "depth": 1, "key": KEY}, "dim width depth key"),
    ("pod", sx.reduced.pod, {"snapshots": A, "rank": 2}, "snapshots"),
    ("sine", sx.reduced.sine, {"snapshots": A}, "snapshots"),
    ("kmedoids", sx.reduced.kmedoids, {"dissimilarity": DISTANCES, "k": 2}, "dissimilarity k"),
    ("deim", sx.reduced.deim, {"modes": np.linalg.qr(A.T)[0][:, :3]}, "modes"),
    ("eim", sx.reduced.eim, {"functions": A, "rank": 2}, "functions rank"),
    ("fit_gaussian_process", sx.reduced.fit_gaussian_process, {"z": P[:, None], "c": A[:, :2]}, "z c"),
    ("PODRegression", lambda **k: sx.fit(sx.PODRegression(**k), DATA),
     {"task": sx.Task.fit(DATA, "p", "u"), "rank": 2, "regressor": "linear"}, "task rank regressor"),
    ("PINN", lambda **k: sx.PINN(HARMONIC, **k),
     {"key": KEY, "width": 2, "depth": 1, "harmonics": 1, "architecture": "mlp", "activation": "tanh", "frequency": 10.0,
      "fourier": 0, "fourier_scale": 1.0, "learn": None},
     "key width depth harmonics architecture activation"),
    ("SPINN", lambda **k: sx.SPINN(HARMONIC, **k), {"key": KEY, "rank": 2, "width": 2, "depth": 1}, "key rank width depth"),
    ("PIG", lambda **k: sx.PIG(HARMONIC, **k), {"key": KEY, "gaussians": 2, "features": 1, "spread": 0.2, "covariance": "full"},
     "key gaussians features covariance"),
    ("Residual", lambda **k: sx.Residual(HARMONIC, **k),
     {"sampler": sx.R3(4), "weights": sx.GradientNorm(), "penalty": 1.0, "independent": 4, "gradient_penalty": 0.0,
      "observations": None, "observation_weight": 1.0},
     "sampler independent"),
    ("CausalR3", sx.CausalR3, {"n": 4, "steepness": 5.0, "rate": 1e-3, "tolerance": 20.0}, "n"),
    ("FixedPoints", sx.FixedPoints, {"n": 4}, "n"),
    ("GradientNorm", sx.GradientNorm, {"every": 1, "decay": 0.5}, "every"),
    ("TangentKernel", sx.TangentKernel, {"every": 1, "decay": 0.5}, "every"),
    ("Causal", sx.Causal, {"tolerance": 1.0, "chunks": 4}, "chunks"),
    ("Attention", sx.Attention, {"decay": 0.5, "rate": 0.1}, ""),
    ("SPRING", sx.SPRING, {"hold": 1, "damping": 1e-3, "momentum": 0.5, "halvings": 2}, "hold halvings"),
    ("SketchedLevenbergMarquardt", sx.SketchedLevenbergMarquardt, {"size": 4, "hold": 1, "damping": 1e-3, "trials": 2},
     "size hold trials"),
    ("soap", sx.soap, {"learning_rate": 1e-3, "b1": 0.9, "b2": 0.9, "eps": 1e-8, "frequency": 1, "largest": 8},
     "frequency largest"),
]  # fmt: skip


def ours(error: BaseException) -> bool:
    """Whether the error was raised by a `raise` of this library, not by something that it called."""
    *_, (frame, line) = traceback.walk_tb(error.__traceback__)
    text, path = linecache.getline(frame.f_code.co_filename, line).strip(), Path(frame.f_code.co_filename).resolve()
    return OURS in path.parents and "site-packages" not in path.parts and text.startswith("raise")


def same(a, b) -> bool:
    return a is b or (type(a) is type(b) and not isinstance(a, np.ndarray | jax.Array | float) and a == b)


found = 0
every = int(sys.argv[1])
for k, (name, function, right, must) in enumerate(CALLS):
    for j, argument in enumerate(right):
        for value in WRONG[(j + k) % every :: every]:
            if same(value, right[argument]):
                continue
            shown = f"{name}({argument}={value!r})"
            try:
                function(**{**right, argument: value})
            except FileNotFoundError:
                continue
            except Exception as error:
                if not ours(error):
                    found += 1
                    print(f"{shown}: {type(error).__name__}: {str(error)[:150]!r}")
            else:
                meant = value is None or (isinstance(value, int | float | str) and type(value) is type(right[argument]))
                if argument in must.split() and not meant:
                    found += 1
                    print(f"{shown}: accepted")
print(f"{found} faults")
