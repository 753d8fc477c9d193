"""Runs as one page to read, send and print: see `kjko.report.page`."""
