"""PyAV's rational numbers as Python's, which they are up to PyAV 18; 19 has a class of its own."""

from __future__ import annotations

from fractions import Fraction
from typing import Protocol


class Rational(Protocol):
    """What a rational number has, whosever class it is."""

    @property
    def numerator(self) -> int:
        """The whole number above."""
        ...

    @property
    def denominator(self) -> int:
        """The whole number below."""
        ...


def as_fraction(value: Rational) -> Fraction:
    """Return a rational number as a `Fraction`; 0 for what a file may say that is none, as 1/0."""
    if not value.denominator:
        return Fraction(0)
    return Fraction(value.numerator, value.denominator)
