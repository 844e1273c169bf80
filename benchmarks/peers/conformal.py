"""Half widths of split conformal intervals around zero by crepes and MAPIE, from calibration errors on standard input.

Reads one JSON object, `errors` and `levels`, and prints one, the half widths at the levels by library. Runs in the environment of
`requirements-conformal.txt`.
"""

import json
import sys

import numpy as np
from crepes import ConformalRegressor
from mapie.regression import SplitConformalRegressor
from sklearn.base import BaseEstimator, RegressorMixin


class Zero(RegressorMixin, BaseEstimator):
    """Predicts zero."""

    def fit(self, x, y):
        self.fitted_ = True
        return self

    def predict(self, x):
        return np.zeros(len(x))


def main():
    asked = json.load(sys.stdin)
    errors, levels = np.array(asked["errors"]), asked["levels"]
    x = np.zeros((len(errors), 1))
    crepes, mapie = [], []
    for level in levels:
        interval = ConformalRegressor().fit(errors).predict_int(np.zeros(1), confidence=level)
        crepes.append(float(interval[0, 1] - interval[0, 0]) / 2)
        regressor = SplitConformalRegressor(Zero().fit(x, errors), confidence_level=level, prefit=True)
        regressor.conformalize(x, errors)
        _, ends = regressor.predict_interval(np.zeros((1, 1)))
        mapie.append(float(ends[0, 1, 0] - ends[0, 0, 0]) / 2)
    print(json.dumps({"crepes": crepes, "mapie": mapie}))


if __name__ == "__main__":
    main()
