"""argv in, tables out: the ``millpond`` command.

Holds no logic of its own: each command opens a workspace, calls one function below, and prints what it gives.
"""

from millpond.cli.main import main

__all__ = ["main"]
