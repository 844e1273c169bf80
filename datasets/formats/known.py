"""The formats of this library. Each module registers its own when it is imported; files are tried in the order of the imports."""

# ruff: noqa: I001 (special formats before general ones)
from . import arrays_hdf5 as arrays_hdf5
from . import pt_format as pt_format
from . import apebench as apebench
from . import numpy_files as numpy_files
from . import mat as mat
from . import pdebench as pdebench
from . import pdearena as pdearena
from . import realpdebench as realpdebench
from . import plaid as plaid
from . import eth as eth
from . import well_format as well_format
from . import labelled as labelled
from . import unknown_hdf5 as unknown_hdf5
from . import cfdbench as cfdbench
from . import vtk as vtk
