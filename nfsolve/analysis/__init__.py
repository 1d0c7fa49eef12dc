"""Analyses that explain how a field trains: each gives numbers and a figure."""

from nfsolve.analysis.run import ANALYSES, Report, analyze
from nfsolve.analysis.sample import Sample
from nfsolve.analysis.subject import NotApplicable, Subject

__all__ = ["ANALYSES", "NotApplicable", "Report", "Sample", "Subject", "analyze"]
