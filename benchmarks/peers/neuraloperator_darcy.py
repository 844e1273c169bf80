"""Train the FNO of neuraloperator 2.0 on its small Darcy set, as a peer for the benchmarks.

Runs in the peer environment (`benchmarks/peers/requirements.txt`), never in the environment of this library.

The settings are those of `scripts/train_darcy.py` with `config/darcy_config.py` at the tag 2.0.0: FNO with modes
(16, 16), 24 channels and 4 layers, relative H1 loss summed over the batch of 8, AdamW of the library (lr 5e-3,
weight decay 1e-4, eps 1e-6), StepLR 60 / 0.5, 300 epochs, batches in the stored order. Two things differ on purpose:
the last 100 of the 1000 training samples are held out for validation, and the data are read with `weights_only=True`.

`--targets` names what the network predicts and where the loss is taken, since the library has two answers:
  raw      no normaliser (the script passes encode_input=False, encode_output=False); loss on the solution itself
  encoded  the default of `load_darcy_flow_small`: channel-wise UnitGaussianNormalizer on the targets, loss on the
           encoded pair, predictions decoded in evaluation only
  decoded  the same normaliser, loss on decoded predictions and raw targets (not a setting of the library)
"""

import argparse
import copy
import json
import os
import platform
import tempfile
import time
from importlib.metadata import version
from pathlib import Path

import torch
from neuralop import H1Loss
from neuralop.data.transforms.normalizers import UnitGaussianNormalizer
from neuralop.models import FNO
from neuralop.training import AdamW
from neuralop.utils import count_model_params

TOTAL, VALIDATION = 1000, 100


def load(path):
    data = torch.load(path, weights_only=True)
    return data["x"].float().clone().unsqueeze(1), data["y"].clone().unsqueeze(1)


def relative_errors(predict, x, y, batch=16):
    """Relative L2 error of each sample, plain sums over grid points, in float64."""
    with torch.no_grad():
        prediction = torch.cat([predict(x[i : i + batch]) for i in range(0, len(x), batch)])
    difference = (prediction.double() - y.double()).flatten(1).square().sum(1).sqrt()
    return difference / y.double().flatten(1).square().sum(1).sqrt()


def write_json(path, record):
    path = Path(path)
    path.parent.mkdir(parents=True, exist_ok=True)
    handle, name = tempfile.mkstemp(dir=path.parent, prefix=path.name, suffix=".part")
    with os.fdopen(handle, "w") as stream:
        json.dump(record, stream, indent=1)
        stream.write("\n")
    os.replace(name, path)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--data", required=True, type=Path, help="folder with darcy_train_16.pt, darcy_test_{16,32}.pt")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--train", type=int, default=TOTAL - VALIDATION, help="train on the first N samples")
    parser.add_argument("--epochs", type=int, default=300)
    parser.add_argument("--out", required=True, type=Path)
    parser.add_argument("--targets", choices=("raw", "encoded", "decoded"), default="raw")
    parser.add_argument("--shuffle", action="store_true", help="new batch order each epoch (the library keeps one)")
    parser.add_argument("--evaluate-every", type=int, default=10)
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    torch.manual_seed(arguments.seed)
    batch = 8

    x, y = load(arguments.data / "darcy_train_16.pt")
    tests = {f"test_{n}": load(arguments.data / f"darcy_test_{n}.pt") for n in (16, 32)}
    held = len(x) - VALIDATION
    if not 0 < arguments.train <= len(x):
        parser.error(f"--train must be in 1..{len(x)}")
    # With more than 900 training samples nothing is left to validate on: then only the last epoch is reported.
    validation = (x[held:], y[held:]) if arguments.train <= held else None
    x, y = x[: arguments.train], y[: arguments.train]

    normalizer = None
    if arguments.targets != "raw":
        normalizer = UnitGaussianNormalizer(dim=[0, 2, 3])
        normalizer.fit(y)
    encode = normalizer.transform if normalizer else lambda v: v
    decode = normalizer.inverse_transform if normalizer else lambda v: v

    model = FNO(
        n_modes=(16, 16),
        in_channels=1,
        out_channels=1,
        hidden_channels=24,
        n_layers=4,
        lifting_channel_ratio=2,
        projection_channel_ratio=2,
    )
    optimizer = AdamW(model.parameters(), lr=5e-3, weight_decay=1e-4)
    scheduler = torch.optim.lr_scheduler.StepLR(optimizer, step_size=60, gamma=0.5)
    loss_function = H1Loss(d=2)

    def predict(v):
        return decode(model(v))

    def test_errors():
        model.eval()
        errors = {name: relative_errors(predict, *pair) for name, pair in tests.items()}
        return {name: {"mean": e.mean().item(), "per_sample": e.tolist()} for name, e in errors.items()}

    record = {
        "peer": "neuraloperator",
        "model": "FNO",
        "seed": arguments.seed,
        "targets": arguments.targets,
        "shuffle": arguments.shuffle,
        "train_samples": len(x),
        "validation_samples": 0 if validation is None else len(validation[0]),
        "batch": batch,
        "epochs": arguments.epochs,
        "learning_rate": 5e-3,
        "weight_decay": 1e-4,
        "step_size": 60,
        "gamma": 0.5,
        "threads": torch.get_num_threads(),
        # `parameters` counts a complex number as one, `parameters_real` as two.
        "parameters": sum(p.numel() for p in model.parameters()),
        "parameters_real": count_model_params(model),
        "versions": {
            "python": platform.python_version(),
            "torch": torch.__version__,
            **{name: version(name) for name in ("neuraloperator", "tensorly", "tensorly-torch", "numpy")},
        },
    }
    print(json.dumps(record), flush=True)

    start, train_loss, val = time.perf_counter(), {}, {}
    best, best_epoch, best_state = float("inf"), None, None
    for epoch in range(1, arguments.epochs + 1):
        model.train()
        order = torch.randperm(len(x)) if arguments.shuffle else torch.arange(len(x))
        total = 0.0
        for i in range(0, len(x), batch):
            index = order[i : i + batch]
            optimizer.zero_grad(set_to_none=True)
            output = model(x[index])
            if arguments.targets == "decoded":
                loss = loss_function(decode(output), y[index])
            else:
                loss = loss_function(output, encode(y[index]))
            loss.backward()
            optimizer.step()
            total += loss.item()
        scheduler.step()
        train_loss[epoch] = total / len(x)
        message = f"epoch {epoch} H1 {train_loss[epoch]:.5f}"
        if validation and (epoch % arguments.evaluate_every == 0 or epoch == arguments.epochs):
            model.eval()
            val[epoch] = relative_errors(predict, *validation).mean().item()
            message += f" val {val[epoch]:.5f}"
            if val[epoch] < best:
                best, best_epoch, best_state = val[epoch], epoch, copy.deepcopy(model.state_dict())
        print(f"{message} {time.perf_counter() - start:.1f} s", flush=True)
    seconds = time.perf_counter() - start

    record |= {"seconds": seconds, "train_h1": train_loss, "val_rel_l2": val, **test_errors()}
    if best_state is not None:
        model.load_state_dict(best_state)
        record["best"] = {"epoch": best_epoch, "val_rel_l2": best, **test_errors()}
    write_json(arguments.out, record)
    print({name: record[name]["mean"] for name in tests}, f"{seconds:.1f} s", flush=True)


if __name__ == "__main__":
    main()
