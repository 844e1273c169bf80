"""The tiny files of every format, for the tests of readers and of damaged files."""

import importlib.util
import sys
from pathlib import Path

import pytest

_spec = importlib.util.spec_from_file_location("files_of_formats", Path(__file__).parents[1] / "files_of_formats.py")
files_of_formats = importlib.util.module_from_spec(_spec)
sys.modules[_spec.name] = files_of_formats
_spec.loader.exec_module(files_of_formats)

EACH = [
    pytest.param(
        name, marks=pytest.mark.skipif(name in files_of_formats.WITHOUT_LIBRARY, reason="its library is missing")
    )
    for name in files_of_formats.FORMATS
]


@pytest.fixture(params=EACH)
def format_name(request) -> str:
    """The name of a format."""
    return request.param


@pytest.fixture
def files():
    """The module that writes the files."""
    return files_of_formats
