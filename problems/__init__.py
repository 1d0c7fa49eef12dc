"""The gallery: each file is one problem to run, read and copy."""
