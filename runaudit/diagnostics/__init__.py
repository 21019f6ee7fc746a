"""One module per cause, each a pure function from evidence to a check."""
