"""What the documentation makes of the library itself at every build: pages of its names, problems, formats and commands."""
