"""The lowest floor: every other part of the library imports it, and it imports none of them.

- `domains`: boxes with boundary conditions; grids, point clouds and meshes, at whose points fields have values.
- `precision`: float64 work inside a float32 program.
- `minimize`: minimises a plain function by an optax optimiser in one scan; holds the optimiser step that all training shares.
- `registry`, `storage`, `safetensors_file`: saved objects; `register` gives a class the tag that names it in files.
- `files`: files that are replaced in one step, and `StorageError`, raised for a file that cannot be read.
- `progress`: a bar on a terminal, plain lines in a log.

Nothing here imports from `solvers`, `datasets` or `surrogates`.
"""
