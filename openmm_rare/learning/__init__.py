"""How a committor is learned."""
