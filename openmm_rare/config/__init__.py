"""From TOML to objects, and back."""
