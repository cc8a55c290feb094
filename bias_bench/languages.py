"""Names and writing directions of languages, for pages and messages."""

from __future__ import annotations

_NAMES = {
    "ar": "Arabic", "bn": "Bengali", "de": "German", "el": "Greek", "en": "English",
    "es": "Spanish", "fa": "Persian", "fi": "Finnish", "fr": "French", "hi": "Hindi",
    "id": "Indonesian", "ja": "Japanese", "ko": "Korean", "ro": "Romanian", "ru": "Russian",
    "sw": "Swahili", "te": "Telugu", "th": "Thai", "tr": "Turkish", "vi": "Vietnamese",
    "yo": "Yoruba", "zh": "Chinese",
}  # fmt: skip
_RIGHT_TO_LEFT = {"ar", "fa", "he", "ur"}


def language_name(code: str) -> str:
    """English name of a language code; the code itself when it is not known."""
    return _NAMES.get(code, code)


def direction(code: str) -> str:
    """Writing direction as HTML's ``dir`` wants it: ``rtl`` or ``ltr``."""
    return "rtl" if code in _RIGHT_TO_LEFT else "ltr"
