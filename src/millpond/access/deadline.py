"""A budget of engine time per query, watched by one thread for all: a statement that outlives it is cancelled."""

from __future__ import annotations

import threading
import time
from types import TracebackType
from typing import Final, Self

from millpond.engines import Session

_LOOK_S: Final = 0.02
_IDLE_S: Final = 1.0


class Deadline:
    """What one query may still use of its engine time; counts inside ``with``, as often as needed."""

    def __init__(self, session: Session, seconds: float) -> None:
        """Watch *session*; nothing runs yet."""
        self._session = session
        self._left_s = seconds
        self._until_s: float | None = None
        self._lock = threading.Lock()
        self.passed = False
        """True once the statement was cancelled."""

    def __enter__(self) -> Self:
        """Begin to count."""
        self._until_s = time.monotonic() + self._left_s
        _WATCH.add(self)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        """Stop counting; what was used is gone from the budget."""
        with self._lock:
            until_s, self._until_s = self._until_s, None
        _WATCH.remove(self)
        self._left_s = (until_s or 0.0) - time.monotonic()

    def look(self, now_s: float) -> None:
        """Cancel the statement if its time is over; never one that has ended."""
        with self._lock:
            if self._until_s is not None and now_s > self._until_s and not self.passed:
                self.passed = True
                self._session.cancel()


class _Watch:
    """Looks at every running deadline some times a second; its thread ends when there is nothing to watch."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._watched: set[Deadline] = set()
        self._thread: threading.Thread | None = None

    def add(self, deadline: Deadline) -> None:
        with self._lock:
            self._watched.add(deadline)
            if self._thread is None:
                self._thread = threading.Thread(target=self._look, name="millpond-deadlines", daemon=True)
                self._thread.start()

    def remove(self, deadline: Deadline) -> None:
        with self._lock:
            self._watched.discard(deadline)

    def _look(self) -> None:
        busy_s = time.monotonic()
        while True:
            time.sleep(_LOOK_S)
            now_s = time.monotonic()
            with self._lock:
                watched = list(self._watched)
                if watched:
                    busy_s = now_s
                elif now_s - busy_s > _IDLE_S:
                    self._thread = None
                    return
            for deadline in watched:
                deadline.look(now_s)


_WATCH: Final = _Watch()
