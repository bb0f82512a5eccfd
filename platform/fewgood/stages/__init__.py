"""The stages of a trial, one file each: what names a stage's artifact, and what makes it.

Each file has a `VERSION`. It is part of every artifact's hash, and a test fails when a stage's code changes and its
version does not.
"""
