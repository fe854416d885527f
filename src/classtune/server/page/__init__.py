"""The page in the browser: one text, a table, the report, and what people say of the answers."""
