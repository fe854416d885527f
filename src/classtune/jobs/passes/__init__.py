"""Processes beside this one that take a share of the pass: ranks of torchrun, or a Ray cluster."""
