"""Readers of sound; imported when used."""

from __future__ import annotations

from nmfkit.hookspecs import ReaderSpec, hookimpl


@hookimpl
def nmfkit_readers() -> list[ReaderSpec]:
    """Every reader of this package."""
    return [
        ReaderSpec(
            "wav",
            "sound as a spectrogram: moments × frequencies",
            "nmfkit_plugins.audio.spectrogram:read",
            suffixes=(".wav", ".wave"),
        )
    ]
