"""The method: tensors in, tensors out. No network, no database, no wall clock."""
