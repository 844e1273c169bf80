from .entry_point import main as main
