"""The lowest floor: what every other part of the library stands on, and what knows nothing of them.

- `domains`: boxes with boundary conditions, grids and point clouds, where fields are given.
- `precision`: float64 work inside a float32 program.
- `minimize`: an optax optimiser on a plain function, in one scan, and the optimiser step that all training shares.
- `registry`, `storage`, `safetensors_file`: saved objects; `register` gives a class the tag by which files name it.
- `files`: files that are replaced in one step, and `StorageError`, the error of a file that cannot be read.
- `progress`: a bar on a terminal, plain lines in a log.

Nothing here imports from `solvers`, `datasets` or `surrogates`.
"""
