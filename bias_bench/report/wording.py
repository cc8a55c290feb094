"""Numbers and lists in sentences: how shares, ranks, intervals and p-values are written."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from bias_bench.report.run_statistics import CONFIDENCE, Estimate

MISSING = "–"
_PERTURBATIONS = {
    "typo": "typing errors",
    "diacritics": "dropped diacritics",
    "case": "changed case",
    "punctuation": "dropped punctuation",
    "white_space": "wrong white space",
    "word_order": "shuffled words",
    "code_switching": "words of another language",
}


def perturbation_name(kind: str) -> str:
    """What a kind of perturbation is called in a sentence; the kind itself when it is not known."""
    return _PERTURBATIONS.get(kind, kind)


def signed(value: float, digits: int) -> str:
    """With its sign, as a true minus; zero without one."""
    text = f"{value:+,.{digits}f}"
    return text[1:] if not float(text.replace(",", "")) else text.replace("-", "−")


def percent(value: float) -> str:
    return f"{100 * value:.0f} %" if 0.1 <= value <= 0.9 else f"{100 * value:.1f} %"


def places(value: float) -> str:
    """A number of ranks."""
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}".removesuffix(".0")


def decimal(value: float) -> str:
    return f"{value:.3f}".replace("-", "−")


def points(value: float) -> str:
    return f"{100 * value:.1f}".replace("-", "−")


def with_sign(value: float, written: Any) -> str:
    return f"+{written(value)}" if value > 0 else str(written(value))


def bracketed(
    estimate: Estimate,
    written: Any,
    *,
    named: bool = False,
    bare: bool = False,
    flip: bool = False,
    unit: str = "",
) -> str:
    """`` (0.785 to 0.811)``, or nothing; `flip` is of the negated value."""
    if estimate.low is None or estimate.high is None:
        return ""
    low, high = (-estimate.high, -estimate.low) if flip else (estimate.low, estimate.high)
    name = f"{100 * CONFIDENCE:g} % interval " if named else ""
    text = f"{name}{written(low)} to {written(high)}{unit}"
    return f", {text}" if bare else f" ({text})"


def p_value(value: float) -> str:
    return "p < 0.001" if value < 0.001 else f"p = {value:.3f}"


def are(names: Sequence[str]) -> str:
    return f"{'are' if len(names) > 1 else 'is'} {listed(names)}"


def listed(parts: Sequence[str]) -> str:
    if len(parts) < 2:
        return "".join(parts)
    return f"{', '.join(parts[:-1])} and {parts[-1]}"


def capital(text: str) -> str:
    return text[:1].upper() + text[1:]


def without_topics(names: Sequence[str], kept: int) -> str:
    """Which settings are left out beside those `kept`, as none of their queries can be answered."""
    more = [f"{len(names) - 6:,} more"] if len(names) > 6 else []
    verb = "are" if len(names) > 1 else "is"
    return (
        f"{len(names):,} of {len(names) + kept:,} settings {verb} left out, as no query there has "
        f"a relevant candidate: {listed([*names[:6], *more])}."
    )
