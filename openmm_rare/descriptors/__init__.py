"""From positions to features."""
