"""Versioned patch datasets and segmentation models from very-high-resolution imagery."""

__version__ = "0.1.0"
