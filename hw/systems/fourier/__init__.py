"""Parts of ``hw.systems.real_fft``."""
