"""Analyses that explain how a field trains: each gives numbers and a figure."""

from nfsolve.studies.analysis.run import ANALYSES, Report, analyze
from nfsolve.studies.analysis.sample import Sample
from nfsolve.studies.analysis.subject import NotApplicable, Subject

__all__ = ["ANALYSES", "NotApplicable", "Report", "Sample", "Subject", "analyze"]
