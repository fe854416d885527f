"""A bundle behind an HTTP port: two dialects over one queue of texts, keys, limits, metrics, new versions."""
