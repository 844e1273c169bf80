"""Communication in a compiled program."""

import math
import re

KINDS = ("all-reduce", "all-gather", "reduce-scatter", "all-to-all", "collective-permute")


def collectives(text: str) -> dict[str, list[int]]:
    """By kind, the number of collectives in the text of an optimised program and the bytes of their results."""
    found = {}
    for line in text.splitlines():
        match = re.match(rf"\s*(?:ROOT )?%?\S+ = (.*?) ({'|'.join(KINDS)})(?:-start)?\(", line)
        if match:
            arrays = re.findall(r"[a-z]+(\d+)\[([\d,]*)\]", match[1])
            size = sum(int(bits) // 8 * math.prod(int(n) for n in shape.split(",") if n) for bits, shape in arrays)
            count, total = found.get(match[2], (0, 0))
            found[match[2]] = [count + 1, total + size]
    return found
