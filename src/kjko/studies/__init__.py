"""Studies: several runs, or one run held to a law that is known."""
