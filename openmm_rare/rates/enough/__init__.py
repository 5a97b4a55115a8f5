"""Whether a rate has enough of what its error bar rests on, and what it lacks."""
