"""The memory: what exists, where it is, whom it descends from, what was promoted."""
