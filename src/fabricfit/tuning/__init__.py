"""Search for regularization strengths."""
