"""Train the FNO of neuraloperator 2.0 on Navier-Stokes trajectories, recurrent in 2D or in space-time: the peer of
`benchmarks/navier_stokes_paper.py`.

    python navier_stokes_paper.py DATA SETTINGS FOLDER OUT

DATA is an npz file with `train` and `test`, trajectories `(n, frames, x, y)` whose first `history` frames are given. SETTINGS is
a JSON object: ndim, history, width, modes, depth, epochs, batch, threads, seed. FOLDER keeps a checkpoint after every epoch, so
that a killed run goes on. Writes predictions of the test trajectories, seconds of every epoch and the number of parameters to the
npz file OUT. Runs in the peer environment (`benchmarks/peers/requirements.txt`).

As ours: values normalised by mean and standard deviation of the training frames, the relative L2 loss of physical values averaged
over frames and samples, derivatives through all predictions in a row, Adam with weight decay 1e-4 in the gradient and a rate of
1e-3 that is halved at every fifth of the epochs, batches in random order.
"""

import json
import sys
import time
from pathlib import Path

import numpy as np
import torch
from neuralop.models import FNO


def main():
    data, settings, folder, out = Path(sys.argv[1]), json.loads(sys.argv[2]), Path(sys.argv[3]), Path(sys.argv[4])
    torch.set_num_threads(settings["threads"])
    torch.manual_seed(settings["seed"])
    with np.load(data) as stored:
        train, test = (torch.from_numpy(stored[name]) for name in ("train", "test"))
    history, ndim, batch = settings["history"], settings["ndim"], settings["batch"]
    frames, mean, std = train.shape[1] - history, train.mean(), train.std()
    padding = {"domain_padding": [0.5, 0.0, 0.0]} if ndim == 3 else {}
    model = FNO(
        n_modes=(2 * settings["modes"],) * ndim, in_channels=history, out_channels=1, hidden_channels=settings["width"],
        n_layers=settings["depth"], lifting_channel_ratio=2, projection_channel_ratio=2, **padding,
    )  # fmt: skip

    def predict(w):
        """The frames after the given ones, in physical units."""
        seen = (w[:, :history] - mean) / std
        if ndim == 3:  # all frames at once; the given ones are channels at every instant
            x = seen[:, :, None].expand(-1, -1, frames, -1, -1)
            return model(x)[:, 0] * std + mean
        found = []
        for _ in range(frames):
            y = model(seen)
            found.append(y)
            seen = torch.cat([seen[:, 1:], y], 1)
        return torch.cat(found, 1) * std + mean

    optimizer = torch.optim.Adam(model.parameters(), lr=1e-3, weight_decay=1e-4)
    schedule = torch.optim.lr_scheduler.StepLR(optimizer, max(settings["epochs"] // 5, 1), 0.5)
    kept, seconds = folder / "checkpoint.pt", []
    if kept.exists():
        state = torch.load(kept, weights_only=False)
        model.load_state_dict(state["model"])
        optimizer.load_state_dict(state["optimizer"])
        schedule.load_state_dict(state["schedule"])
        torch.set_rng_state(state["random"])
        seconds = state["seconds"]
    folder.mkdir(parents=True, exist_ok=True)
    while len(seconds) < settings["epochs"]:
        start = time.perf_counter()
        order, total = torch.randperm(len(train)), 0.0
        for i in range(0, len(train) - batch + 1, batch):
            w = train[order[i : i + batch]]
            optimizer.zero_grad(set_to_none=True)
            apart, whole = predict(w) - w[:, history:], w[:, history:]
            loss = (apart.flatten(2).norm(dim=2) / whole.flatten(2).norm(dim=2)).mean()
            loss.backward()
            optimizer.step()
            total += loss.item()
        schedule.step()
        seconds.append(time.perf_counter() - start)
        state = {
            "model": model.state_dict(), "optimizer": optimizer.state_dict(), "schedule": schedule.state_dict(),
            "random": torch.get_rng_state(), "seconds": seconds,
        }  # fmt: skip
        torch.save(state, folder / "checkpoint.part")
        (folder / "checkpoint.part").replace(kept)
        print(
            f"epoch {len(seconds)} loss {total / (len(train) // batch):.4f} {seconds[-1]:.1f} s",
            file=sys.stderr,
            flush=True,
        )
    with torch.no_grad():
        predicted = torch.cat([predict(test[i : i + batch]) for i in range(0, len(test), batch)])
    # A complex number counts as two.
    parameters = sum(p.numel() * (2 if p.is_complex() else 1) for p in model.parameters())
    np.savez(out, predicted=predicted.numpy(), seconds=seconds, parameters=parameters)


if __name__ == "__main__":
    main()
