"""The will: order, retries, schedules, workers, and the `lori` command."""
