"""Run folders: one writer, one reader, and the loop between a case and its folder.

The reader needs no jax.
"""

from kjko.run.reader import Run as Run
from kjko.run.reader import open_run as open_run
