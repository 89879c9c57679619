"""LAI-Net: label-annotation-interaction network for end-to-end relation extraction."""

__version__ = "0.1.0"
