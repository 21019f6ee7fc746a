"""Generators of hostile input: checkpoints and archives, made in code so that no binary lies in the repository."""
