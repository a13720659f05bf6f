"""Sending runs to a cluster: expanding, packing, submitting, watching jobs."""
