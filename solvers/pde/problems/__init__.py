"""The registered problems, one equation per file."""

from . import advection as advection
from . import allen_cahn as allen_cahn
from . import burgers as burgers
from . import channel_flow as channel_flow
from . import darcy as darcy
from . import euler as euler
from . import fisher_kpp as fisher_kpp
from . import gray_scott as gray_scott
from . import heat as heat
from . import helmholtz as helmholtz
from . import inviscid_burgers as inviscid_burgers
from . import klein_gordon as klein_gordon
from . import korteweg_de_vries as korteweg_de_vries
from . import kuramoto_sivashinsky as kuramoto_sivashinsky
from . import kuramoto_sivashinsky_2d as kuramoto_sivashinsky_2d
from . import navier_stokes as navier_stokes
from . import navier_stokes_velocity as navier_stokes_velocity
from . import poisson as poisson
from . import shallow_water as shallow_water
from . import shifted_laplacian as shifted_laplacian
from . import smoke as smoke
from . import thermal_block as thermal_block
from . import wave as wave
