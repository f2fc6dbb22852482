"""Parts of ``hw.kv.quantiser``."""
