"""Data: named fields over domains, read from memory, files or a problem's own solver."""

from .arrays import from_arrays as from_arrays
from .concatenation import concat as concat
from .dataset import Dataset as Dataset
from .generation import generate as generate
from .source import FieldSpec as FieldSpec
from .source import MemorySource as MemorySource
from .source import Source as Source
