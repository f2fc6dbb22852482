"""Parts of ``hw.kv.token_writer``."""
