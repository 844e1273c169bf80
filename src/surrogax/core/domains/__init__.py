"""Domains, the sets of points at which fields have values: uniform grids on boxes, point clouds and meshes.

`AbstractDomain` is their common interface.
"""

from .domain import AbstractDomain as AbstractDomain
from .domain import Edges as Edges
from .domain import Sites as Sites
from .grid import Axis as Axis
from .grid import Boundary as Boundary
from .grid import Box as Box
from .grid import Grid as Grid
from .grid import Layout as Layout
from .mesh import Mesh as Mesh
from .mesh import MeshLayout as MeshLayout
from .point_cloud import OverTime as OverTime
from .point_cloud import PointCloud as PointCloud
from .point_cloud import PointCloudLayout as PointCloudLayout
