"""The version, recorded in every run folder."""

VERSION = "0.2.0"
