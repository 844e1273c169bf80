"""The command line `surrogax`."""

from .entry_point import main as main
