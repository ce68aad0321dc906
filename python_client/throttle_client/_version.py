"""The version of this package: that of the server beside which it was made."""

__version__ = "0.6.0"
