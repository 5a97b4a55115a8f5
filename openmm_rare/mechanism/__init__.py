"""What a learned committor says about the mechanism: inputs and atoms that matter, a formula, and how far to trust it."""
