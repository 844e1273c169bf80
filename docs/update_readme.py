"""Write the picture and the table of the README from a finished run of `make demo`: python docs/update_readme.py runs/demo"""

import json
import re
import sys
from pathlib import Path

import surrogax as sx
from surrogax.cli.choices import Training
from surrogax.cli.toml_text import read_toml
from surrogax.cli.training_data import datasets
from surrogax.surrogates.evaluation.plots import plot_predictions
from surrogax.surrogates.evaluation.table import Row

ROOT = Path(__file__).parents[1]


def main(run: Path):
    training = Training.read(read_toml(run / "config.toml"), [], "")
    s, splits = training.settings, datasets(training.settings)
    saved = json.loads((run / "table.json").read_text())
    metrics = json.loads((run / "metrics.json").read_text())
    table = sx.Table([Row(**r) for r in saved["rows"] if r["metric"] == "rel_l2"], saved["missing"])
    plot_predictions(sx.load(run / "FNO" / "best.sgx"), splits.fine, n=2).savefig(
        ROOT / "docs/images/darcy_fno.png", dpi=110
    )
    text = (
        f"FNO trained in {metrics['FNO']['seconds']:.0f} s on two CPU cores on {s.train} Darcy solutions at "
        f"{splits.train.grid.shape[0]}² (above: unseen samples at {splits.fine.grid.shape[0]}², a resolution it has "
        f"never seen), beside the classical solver:\n\n{table.to_markdown()}\n"
    )
    readme = (ROOT / "README.md").read_text()
    start, end = re.search(r"<!-- demo table:.*?-->\n", readme).end(), readme.index("<!-- end of demo table")
    (ROOT / "README.md").write_text(readme[:start] + "\n" + text + "\n" + readme[end:])


if __name__ == "__main__":
    main(Path(sys.argv[1]))
