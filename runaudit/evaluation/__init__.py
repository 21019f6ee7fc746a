"""What the model really does: inference, matching, metrics and their confidence intervals."""
