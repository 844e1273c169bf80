"""TOML files: read by the standard library, written here."""

import json
import tomllib
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any


def read_toml(path: Path) -> dict[str, Any]:
    """The settings in a file. **Raises:** `ValueError` for a file that is no TOML; `OSError` for a missing one."""
    try:
        return tomllib.loads(path.read_text())
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ValueError(f"{path} is no configuration: {error}") from None


def to_toml(settings: Mapping[str, Any]) -> str:
    """TOML of nested mappings: numbers, texts, truth values and lists of them, tables and lists of tables."""
    return "\n".join(_toml_lines(settings, ())) + "\n"


def _toml_lines(table: Mapping[str, Any], path: tuple[str, ...]) -> Iterator[str]:
    tables = {k: v for k, v in table.items() if isinstance(v, Mapping)}
    lists = {k: v for k, v in table.items() if isinstance(v, list) and v and isinstance(v[0], Mapping)}
    for key, value in table.items():
        if key not in tables and key not in lists:
            yield f"{_key(key)} = {json.dumps(value, ensure_ascii=False)}"
    for key, value in tables.items():
        yield from ("", f"[{'.'.join(map(_key, (*path, key)))}]", *_toml_lines(value, (*path, key)))
    for key, rows in lists.items():
        for row in rows:
            yield from ("", f"[[{'.'.join(map(_key, (*path, key)))}]]", *_toml_lines(row, (*path, key)))


def _key(key: str) -> str:
    return key if key.replace("-", "").replace("_", "").isalnum() and key.isascii() else json.dumps(key)
