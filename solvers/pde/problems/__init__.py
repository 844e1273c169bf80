"""The registered problems, one equation per file."""

from . import burgers as burgers
from . import channel_flow as channel_flow
from . import darcy as darcy
from . import euler as euler
from . import heat as heat
from . import inviscid_burgers as inviscid_burgers
from . import kuramoto_sivashinsky as kuramoto_sivashinsky
from . import navier_stokes_velocity as navier_stokes_velocity
from . import poisson as poisson
from . import shallow_water as shallow_water
from . import shifted_laplacian as shifted_laplacian
from . import smoke as smoke
from . import thermal_block as thermal_block
