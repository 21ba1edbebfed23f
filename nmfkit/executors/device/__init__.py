"""Devices with memory of their own: what moves there and back, in which order, and how much of it fits."""
