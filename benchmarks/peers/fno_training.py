"""The FNO of neuraloperator 2.0 in PyTorch, timed on request: the peer of `benchmarks/fno_training.py`.

Runs in the peer environment (`benchmarks/peers/requirements.txt`). Writes the model's parameters, a batch, its output and the
losses of three training steps to `--out`, then answers every line "MODE WHAT N" on the standard input, MODE "eager" or
"compile", WHAT "train" or "infer", with the seconds of N calls as a JSON list.
"""

import argparse
import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from neuralop.models import FNO


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--batch", type=int, required=True)
    parser.add_argument("--shape", type=int, nargs="+", required=True)
    parser.add_argument("--width", type=int, required=True)
    parser.add_argument("--modes", type=int, required=True, help="frequencies per axis and sign")
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--out", type=Path, required=True)
    arguments = parser.parse_args()
    torch.set_num_threads(arguments.threads)
    torch.manual_seed(0)
    device = torch.device(arguments.device)
    model = FNO(
        n_modes=(2 * arguments.modes,) * len(arguments.shape),
        in_channels=1,
        out_channels=1,
        hidden_channels=arguments.width,
        n_layers=4,
        lifting_channel_ratio=2,
        projection_channel_ratio=2,
    )
    parameters = {
        name: value.detach().numpy().copy() for name, value in model.state_dict().items() if "_metadata" not in name
    }
    model = model.to(device)
    generator = np.random.default_rng(0)
    a, u = (generator.normal(size=(arguments.batch, 1, *arguments.shape)).astype(np.float32) for _ in range(2))
    x, target = torch.from_numpy(a).to(device), torch.from_numpy(u).to(device)
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3, weight_decay=1e-4)
    models = {"eager": model, "compile": None}

    def train(network):
        optimizer.zero_grad()
        y = network(x)
        loss = ((y - target).flatten(1).norm(dim=1) / target.flatten(1).norm(dim=1)).mean()
        loss.backward()
        optimizer.step()
        return loss

    def infer(network):
        with torch.no_grad():
            return network(x)

    def waited(result):
        if device.type == "cuda":
            torch.cuda.synchronize()
        return result

    output = infer(model).cpu().numpy()
    losses = [train(model).item() for _ in range(3)]
    np.savez(
        arguments.out, x=a, target=u, output=output, losses=losses, **{f"param/{k}": v for k, v in parameters.items()}
    )
    print("ready", flush=True)
    for line in sys.stdin:
        mode, what, count = line.split()
        if models[mode] is None:
            models[mode] = torch.compile(model)
        call = {"train": train, "infer": infer}[what]
        seconds = []
        for _ in range(int(count)):
            start = time.perf_counter()
            waited(call(models[mode]))
            seconds.append(time.perf_counter() - start)
        print(json.dumps(seconds), flush=True)


if __name__ == "__main__":
    main()
