"""The registered problems, one equation per file."""

from . import advection as advection
from . import allen_cahn as allen_cahn
from . import burgers as burgers
from . import darcy as darcy
from . import fisher_kpp as fisher_kpp
from . import gray_scott as gray_scott
from . import heat as heat
from . import helmholtz as helmholtz
from . import klein_gordon as klein_gordon
from . import korteweg_de_vries as korteweg_de_vries
from . import kuramoto_sivashinsky as kuramoto_sivashinsky
from . import kuramoto_sivashinsky_2d as kuramoto_sivashinsky_2d
from . import navier_stokes as navier_stokes
from . import poisson as poisson
from . import shifted_laplacian as shifted_laplacian
from . import smoke as smoke
from . import thermal_block as thermal_block
from . import wave as wave
