"""Language codes of training data, as this package writes them."""

from __future__ import annotations

import re

from bias_bench.languages import read_language


def our_language(code: str) -> str | None:
    """``arb``, ``zho-CN``, ``deu_Latn`` or ``german`` as ``ar``, ``zh``, ``de``, ``de``.

    Region and script are left out; an unknown code stays as it is, in lower case. None for what
    cannot be a language code.
    """
    known = read_language(code)
    if known:
        return known.language
    head = re.split(r"[-_]", code.strip())[0].lower()
    # a setting is called ``en-all``, so no language can be called ``all``
    return head if re.fullmatch(r"[a-z]{2,3}", head) and head != "all" else None
