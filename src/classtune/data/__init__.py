"""From a labelled table to rows: reading (tables), what is wrong with it (audit), and who trains on what (splits)."""
