from . import elliptic as elliptic
from .jets import Jet as Jet
from .problem import Problem as Problem
from .problem import problem as problem
from .problem import register_problem as register_problem
from .symmetry import Dihedral as Dihedral
