"""What the training child does: each stage loads names and paths, calls lori_core, writes files."""
