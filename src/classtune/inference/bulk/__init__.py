"""More rows than fit in memory: shards that are read, scored and written one by one, and gone on with after a stop."""
