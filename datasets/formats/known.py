"""The formats of this library, in the order in which files are tried: special ones before general ones."""

from .apebench import ApebenchFolder, ApebenchFormat
from .arrays_hdf5 import ArraysFormat
from .cfdbench import CfdBenchFormat
from .eth import EthFormat
from .labelled import NetcdfFormat, ZarrFormat
from .mat import MatFormat
from .numpy_files import NpyFormat, NpzFormat
from .pdearena import PDEArenaFormat
from .pdebench import PDEBenchFormat
from .plaid import CgnsFormat, PlaidFolder
from .pt_format import PtFormat
from .realpdebench import RealPDEBenchFolder, RealPDEBenchFormat
from .realpdebench_arrow import RealPDEBenchArrow
from .registry import AbstractFormat
from .unknown_hdf5 import UnknownHdf5
from .vtk import VtkFolder, VtkFormat
from .well_format import WellFolder, WellFormat

FORMATS: tuple[AbstractFormat, ...] = (
    ArraysFormat(), PtFormat(), ApebenchFormat(), ApebenchFolder(), MatFormat(), PDEBenchFormat(), PDEArenaFormat(),
    PlaidFolder(), CgnsFormat(), EthFormat(), RealPDEBenchArrow(), RealPDEBenchFolder(), RealPDEBenchFormat(), CfdBenchFormat(),
    WellFolder(), WellFormat(), VtkFolder(), VtkFormat(), ZarrFormat(), NetcdfFormat(), NpzFormat(), NpyFormat(), UnknownHdf5(),
)  # fmt: skip
