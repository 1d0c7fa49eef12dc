"""The version, recorded in every run folder."""

VERSION = "0.1.0"
