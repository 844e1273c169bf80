"""FNO and TFNO of neuraloperator 2.0 and the Cartesian DeepONet of DeepXDE in PyTorch, timed on request: the peer of
`benchmarks/operators_speed.py`.

    python operators_speed.py CASE THREADS OUT

CASE is a JSON object: kind, batch, shape, width, modes, rank. Runs in the peer environment
(`benchmarks/peers/requirements.txt`, with deepxde). Writes a batch to OUT, for the models of neuraloperator also the
parameters and the output, then answers every line "MODE WHAT N" on the standard input, MODE "eager" or "compile", WHAT "train"
or "infer", with the seconds of N calls as a JSON list.
"""

import json
import os
import sys
import time

import numpy as np
import torch


def model_of(case: dict):
    """The model and a function that calls it on a batch `(b, *shape)`."""
    shape, width = case["shape"], case["width"]
    if case["kind"] == "deeponet":
        os.environ["DDE_BACKEND"] = "pytorch"
        import deepxde

        sizes = [width] * 3
        model = deepxde.nn.DeepONetCartesianProd([shape[0], *sizes], [1, *sizes], "gelu", "Glorot normal")
        points = torch.linspace(0, 1, shape[0])[:, None]
        return model, lambda network, x: network((x, points))
    from neuralop.models import FNO, TFNO

    settings = dict(
        n_modes=(2 * case["modes"],) * len(shape), in_channels=1, out_channels=1, hidden_channels=width, n_layers=4,
        lifting_channel_ratio=2, projection_channel_ratio=2,
    )  # fmt: skip
    model = TFNO(**settings, factorization="tucker", rank=case["rank"]) if case["kind"] == "tfno" else FNO(**settings)
    return model, lambda network, x: network(x[:, None])[:, 0]


def main():
    case, threads, out = json.loads(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
    torch.set_num_threads(threads)
    torch.manual_seed(0)
    model, apply = model_of(case)
    generator = np.random.default_rng(0)
    a, u = (generator.normal(size=(case["batch"], *case["shape"])).astype(np.float32) for _ in range(2))
    x, target = torch.from_numpy(a), torch.from_numpy(u)
    stored = {"x": a, "target": u}
    if case["kind"] != "deeponet":
        stored |= {f"param/{name}": value.detach().numpy().copy() for name, value in model.named_parameters()}
        with torch.no_grad():
            stored["output"] = apply(model, x).numpy()
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    models = {"eager": model, "compile": None}

    def train(network):
        optimizer.zero_grad()
        y = apply(network, x)
        loss = ((y - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)).mean()
        loss.backward()
        optimizer.step()

    def infer(network):
        with torch.no_grad():
            apply(network, x)

    np.savez(out, **stored)
    print("ready", flush=True)
    for line in sys.stdin:
        mode, what, calls = line.split()
        if models[mode] is None:
            models[mode] = torch.compile(model)
        call, seconds = {"train": train, "infer": infer}[what], []
        for _ in range(int(calls)):
            start = time.perf_counter()
            call(models[mode])
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
