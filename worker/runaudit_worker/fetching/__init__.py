"""Artifacts from elsewhere: each kind of source a module behind one interface, `fetcher.Fetcher`."""
