"""Whether more training would pay: looks at what production would cost, and what is decided by them."""
