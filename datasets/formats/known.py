"""The formats of this library. Each module registers its own when it is imported; the last registered is tried first."""

# ruff: noqa: I001 (general formats before special ones)
from . import unknown_hdf5 as unknown_hdf5
from . import numpy_files as numpy_files
from . import labelled as labelled
from . import vtk as vtk
from . import well_format as well_format
from . import cfdbench as cfdbench
from . import realpdebench as realpdebench
from . import eth as eth
from . import plaid as plaid
from . import pdearena as pdearena
from . import pdebench as pdebench
from . import mat as mat
from . import apebench as apebench
from . import pt_format as pt_format
from . import arrays_hdf5 as arrays_hdf5
