"""The error of packaging."""

from core.errors import DriftlessError


class AssetError(DriftlessError):
    """An asset that cannot be packaged; the text says which, why and what to do."""
