"""What is known of a target, and of a source for it, before any training: pure functions on arrays."""
