"""What a person sees: terminal (progress, lines, tables), and the results of each kind of command in words."""
