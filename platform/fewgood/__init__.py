"""fewgood: from a few good images to a measured gain, for few-shot industrial anomaly detection."""

__version__ = "0.1.0"
