"""Millpond: an enterprise data platform in one Python package."""

from importlib.metadata import PackageNotFoundError, version

try:
    __version__ = version("millpond")
except PackageNotFoundError:  # a source tree that was never installed
    __version__ = "0.0.0"

__all__ = ["__version__"]
