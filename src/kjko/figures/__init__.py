"""Figures, drawn from a run folder by its reader: nothing here imports jax."""
