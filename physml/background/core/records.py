"""Records: classes whose fields are arrays with a row for each of the things they describe."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import fields
from typing import Any, Self

import numpy as np


class Records:
    """Base of dataclasses whose fields are arrays of one length, or such records themselves.

    They have a length, can be cut like an array, and several can be joined.
    """

    @classmethod
    def _names(cls) -> list[str]:
        return [f.name for f in fields(cls) if f.init]  # type: ignore[arg-type]

    def __len__(self) -> int:
        """Number of rows."""
        return len(getattr(self, self._names()[0]))

    def __getitem__(self, rows: Any) -> Self:
        """Some of the rows."""
        return type(self)(*(getattr(self, name)[rows] for name in self._names()))

    @classmethod
    def join(cls, parts: Iterable[Self]) -> Self:
        """Rows of several tables, of which there is at least one, in one."""
        every = list(parts)
        some = [part for part in every if len(part)] or every[:1]
        if len(some) == 1:
            return some[0]
        columns = zip(*([getattr(p, name) for name in cls._names()] for p in some), strict=True)
        return cls(
            *(
                type(column[0]).join(column)
                if isinstance(column[0], Records)
                else np.concatenate(column)
                for column in columns
            )
        )


class Stored:
    """Base of dataclasses of arrays of floats that go into the metadata of a weights file."""

    def as_dict(self) -> dict[str, Any]:
        """Fields as JSON can hold them."""
        return {name: np.asarray(getattr(self, name)).tolist() for name in self.__annotations__}

    @classmethod
    def from_dict(cls, content: Mapping[str, Any]) -> Self:
        """Take them back."""
        return cls(**{name: np.asarray(content[name], float) for name in cls.__annotations__})
