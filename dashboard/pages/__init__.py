"""Pages for people: HTML rendered here, complete without a script."""
