"""The registered problems, one equation per file."""

from . import burgers as burgers
from . import darcy as darcy
from . import heat as heat
from . import kuramoto_sivashinsky as kuramoto_sivashinsky
from . import poisson as poisson
from . import shifted_laplacian as shifted_laplacian
from . import smoke as smoke
from . import thermal_block as thermal_block
