"""`surrogax.log`: sinks for the numbers of a training, `fit(…, log=[log.TensorBoard("runs/tb"), log.CSV("losses.csv")])`."""

from .sinks import CSV as CSV
from .sinks import AbstractSink as AbstractSink
from .sinks import MLflow as MLflow
from .sinks import TensorBoard as TensorBoard
from .sinks import WeightsAndBiases as WeightsAndBiases
