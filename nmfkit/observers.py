"""Plugins that hear of fits: they are told, one by one, and one that fails harms neither the fit nor the others."""

from __future__ import annotations

import sys
from collections.abc import Callable, Sequence
from contextlib import redirect_stdout
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from nmfkit.hookspecs import LIFECYCLE, FitDescription, FitEnd

if TYPE_CHECKING:
    import pluggy

    from nmfkit.loop import Record


@dataclass(frozen=True)
class Observer:
    """A function of a plugin that hears of fits: the hook it is named for, what it takes, and whose it is."""

    hook: str
    function: Callable[..., Any]
    takes: tuple[str, ...]
    distribution: str
    version: str
    entry_point: str

    @property
    def owner(self) -> str:
        """Whose it is, in words."""
        return f"plugin {self.entry_point!r} of {self.distribution} {self.version}"

    def __call__(self, **told: Any) -> None:
        """Tell it what it takes of that; what it prints goes to standard error: standard output is the command's."""
        with redirect_stdout(sys.stderr):
            self.function(*(told[name] for name in self.takes))


def observers_of(module: Any, manager: pluggy.PluginManager, *whose: str) -> list[Observer]:
    """The functions of `module` that hear of fits; `whose`: distribution, version and entry point.

    Raises `TypeError` for a wrapper, which would hear for others.
    """
    implementations = [
        (hook, found)
        for hook in LIFECYCLE
        for found in getattr(manager.hook, hook).get_hookimpls()
        if found.plugin is module
    ]
    if wrappers := [hook for hook, found in implementations if found.wrapper or found.hookwrapper]:
        raise TypeError(f"{', '.join(wrappers)}: a wrapper has nothing to wrap here, for those who hear of fits listen")
    return [Observer(hook, found.function, tuple(found.argnames), *whose) for hook, found in implementations]


class Observers:
    """Tells observers of one fit; the first fault of each plugin becomes a sentence for `fault`."""

    def __init__(self, observers: Sequence[Observer], fit: FitDescription, fault: Callable[[str], None]) -> None:
        self._of = {hook: [o for o in observers if o.hook == hook] for hook in LIFECYCLE}
        self._fit, self._fault = fit, fault
        self._blamed: set[str] = set()

    def started(self) -> None:
        """The fit begins."""
        self._tell("nmfkit_fit_started")

    def sweep(self, record: Record) -> None:
        """A sweep is done."""
        self._tell("nmfkit_sweep_done", record=record)

    def checkpoint(self, sweep: int) -> None:
        """A checkpoint is on disk."""
        self._tell("nmfkit_checkpoint", sweep=sweep)

    def finished(self, end: FitEnd) -> None:
        """The fit has ended."""
        self._tell("nmfkit_fit_finished", end=end)

    def _tell(self, hook: str, **told: Any) -> None:
        for observer in self._of[hook]:
            try:
                observer(fit=self._fit, **told)
            except (Exception, SystemExit) as error:  # a logger must never cost anybody a fit
                self._blame(observer, error)

    def _blame(self, observer: Observer, error: BaseException) -> None:
        if observer.owner in self._blamed:
            return
        self._blamed.add(observer.owner)
        self._fault(f"{observer.owner} failed in {observer.hook}: {type(error).__name__}: {error}; the fit goes on")
