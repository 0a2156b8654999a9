"""What an operator sees: status, metrics and health over HTTP, read only."""

from .numbers import Sources, stand_of
from .site import admin_factory

__all__ = ["Sources", "admin_factory", "stand_of"]
