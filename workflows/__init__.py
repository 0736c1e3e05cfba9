"""What we run: short, readable programs."""
