"""From structure files of a user's own to a folder that all other commands take."""
