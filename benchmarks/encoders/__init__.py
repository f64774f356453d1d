"""Encoder settings for clips, measured."""
