"""What a committor is: networks, models, and their files."""
