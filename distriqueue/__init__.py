"""What the services of DistriQueue share, and what its users import."""

from importlib.metadata import version

__version__ = version("distriqueue")
