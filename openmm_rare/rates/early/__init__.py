"""A first answer early: what is known of a rate while its run goes on."""
