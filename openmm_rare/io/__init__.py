"""Files, tasks and progress."""
