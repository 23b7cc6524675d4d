"""A signal at an exact event."""

import signal

from psgd.training.signals import Signals


class SignalAt(Signals):
    """Asks to stop from the n-th exchange of reports on."""

    def __init__(self, exchange: int) -> None:
        self._left = exchange

    @property
    def asked(self) -> int:
        self._left -= 1
        return signal.SIGTERM if self._left < 0 else 0
