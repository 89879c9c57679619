"""LAI-Net's layers."""
