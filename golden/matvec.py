"""Matrix-vector products by their short name: see ``golden.pe.matvec``."""

from golden.pe.matvec import Configuration, matvec, matvec_bits

__all__ = ["Configuration", "matvec", "matvec_bits"]
