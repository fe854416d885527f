"""Any labelled table as rows of text: formats, columns, encodings, and errors that name the cell."""
