"""A bundle behind an HTTP port: three dialects over one queue of texts, keys, limits, metrics, new versions."""
