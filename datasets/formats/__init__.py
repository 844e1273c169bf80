"""File formats, one per file, and the registry by which `surrogax.open` finds them."""
