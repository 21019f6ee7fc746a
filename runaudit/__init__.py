"""Runaudit: why a YOLO training run fails validation, and what would fix it."""

__version__ = "0.1.0"
