"""What a person sees of a file without a mandate: a survey of one, and how two differ."""
