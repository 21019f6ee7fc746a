"""What a training left behind, read without executing any of it."""
