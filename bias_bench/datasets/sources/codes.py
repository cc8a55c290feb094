"""Language codes of other collections, as this package writes them."""

from __future__ import annotations

import re

# ISO 639-3 codes (NTREX, FLORES, Tatoeba) and the English names that mMARCO's files carry
_OURS = {
    "ara": "ar", "arabic": "ar", "arb": "ar", "ben": "bn", "ces": "cs", "chinese": "zh",
    "cmn": "zh", "deu": "de", "dutch": "nl", "ell": "el", "eng": "en", "english": "en",
    "fas": "fa", "fin": "fi", "fra": "fr", "french": "fr", "german": "de", "heb": "he",
    "hin": "hi", "hindi": "hi", "hun": "hu", "ind": "id", "indonesian": "id", "ita": "it",
    "italian": "it", "japanese": "ja", "jpn": "ja", "kor": "ko", "nld": "nl", "pes": "fa",
    "pol": "pl", "por": "pt", "portuguese": "pt", "ron": "ro", "rus": "ru", "russian": "ru",
    "spa": "es", "spanish": "es", "swa": "sw", "swe": "sv", "swh": "sw", "tel": "te",
    "tha": "th", "tur": "tr", "ukr": "uk", "urd": "ur", "vie": "vi", "vietnamese": "vi",
    "yor": "yo", "zho": "zh",
}  # fmt: skip


def our_language(code: str) -> str | None:
    """``arb``, ``zho-CN``, ``deu_Latn`` or ``german`` as ``ar``, ``zh``, ``de``, ``de``.

    Region and script are left out; a code that is not listed stays as it is, in lower case. None
    for what cannot be a language code.
    """
    head = re.split(r"[-_]", code.strip())[0].lower()
    ours = _OURS.get(head, head)
    # a setting is called ``en-all``, so no language can be called ``all``
    return ours if re.fullmatch(r"[a-z]{2,3}", ours) and ours != "all" else None
