"""Plain data types and texts that every other package may import."""
