"""The workshop: claims jobs, supervises the child processes that do them, and stores the results."""
