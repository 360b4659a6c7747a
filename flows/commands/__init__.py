"""The commands of `lori`, one noun each."""
