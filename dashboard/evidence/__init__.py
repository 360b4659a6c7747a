"""The page of an evidence bundle: one HTML file that needs nothing else."""
