"""What an operator sees and does over HTTP: status, metrics and health, reload and drain."""

from .admin_service import AdminService
from .control import Controls
from .numbers import Sources, stand_of
from .site import admin_factory

__all__ = ["AdminService", "Controls", "Sources", "admin_factory", "stand_of"]
