"""Languages: what a code says however it is written, and what follows from it.

A code may be BCP 47 (``zh-Hans``), the same with underscores (``zh_CN``), ISO 639-3 (``tha``), that
of FLORES (``zho_Hans``), or an English name (``German``). What is known of languages is CLDR's, as
babel brings it. A benchmark's own code stays its code in ids, settings and files (`language_code`);
properties of the language are looked up by what the code says (`read_language`).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from bias_bench.errors import UsageError, nearest

# codes that name no language, and the name of the pool of all
_NONE = {"und", "mul", "mis", "zxx", "root", "all"}
_OTHER_NAMES = {"bn": "Bengali"}  # as the benchmarks call it; CLDR: Bangla
_RIGHT_TO_LEFT = {
    "Adlm", "Arab", "Aran", "Hebr", "Mand", "Mend", "Nkoo", "Rohg", "Samr", "Syrc", "Thaa",
}  # fmt: skip


class Language(NamedTuple):
    """What a code says: the language (ISO 639-1, else 639-3, as CLDR prefers), and its script (ISO
    15924; the usual one where the code has none). `tag` is the code as BCP 47 writes it.
    """

    language: str
    script: str
    tag: str


@cache
def read_language(code: str) -> Language | None:
    """The language that a code or an English name stands for; None where it is not known."""
    from babel.core import get_global

    parts = re.split(r"[-_\s]+", code.strip())
    if not _is_code(parts[0].lower()):
        parts = _codes_by_name().get(" ".join(parts).casefold(), "").split("_")
    if not parts[0]:
        return None
    head = parts[0].lower()
    language, *implied = get_global("language_aliases").get(head, head).split("_")
    rest = [*parts[1:], *implied]  # the code's own script and territory go first
    script = next((part.title() for part in rest if re.fullmatch("[A-Za-z]{4}", part)), "")
    territory = next((p.upper() for p in rest if re.fullmatch(r"[A-Za-z]{2}|\d{3}", p)), "")
    likely = get_global("likely_subtags")
    usual = likely.get(f"{language}_{territory}") or likely.get(language) or "__"
    tag = "-".join(part for part in (language, script, territory) if part)
    return Language(language, script or usual.split("_")[1], tag)


def _is_code(head: str) -> bool:
    from babel.core import get_global

    language = get_global("language_aliases").get(head, head).split("_")[0]
    known = language in get_global("likely_subtags") or language in _english().languages
    return known and not _NONE & {head, language}


@cache
def _english() -> Any:
    from babel import Locale

    return Locale("en")


@cache
def _codes_by_name() -> dict[str, str]:
    """Codes by English name, in small letters."""
    named = [*_english().languages.items(), *_OTHER_NAMES.items()]
    return {name.casefold(): code for code, name in named if code not in _NONE}


def base_language(code: str) -> str:
    """The language of a code without script and region; an unknown code itself."""
    known = read_language(code)
    return known.language if known else code


def language_code(text: str) -> str:
    """A code as it stands in ids, settings and names of files: ``zh_Hans`` for ``zh-Hans``.

    The hyphen divides the two languages of a setting, and ids hold no white space.
    """
    return re.sub(r"[-\s]+", "_", text.strip())


def matching_language(wanted: str, known: Iterable[str]) -> str | None:
    """The one of the `known` codes that `wanted` means; None where none or several could be meant.

    Written alike, else the same tag, else the same language in the same script.
    """
    codes = list(known)
    if language_code(wanted) in codes:
        return language_code(wanted)
    asked = read_language(wanted)
    read = [(code, found) for code in codes if (found := read_language(code)) and asked]
    for alike in (
        [code for code, found in read if asked and found.tag == asked.tag],
        [code for code, found in read if asked and found[:2] == asked[:2]],
    ):
        if len(alike) == 1:
            return alike[0]
    return None


def chosen_languages(name: str, known: Iterable[str], wanted: Sequence[str] | None) -> list[str]:
    """The `known` languages of the benchmark `name` that are wanted (None or none: all), in order.

    A wanted one may be written in another way (``zh-Hans``, ``tha``). UsageError where none of the
    known ones is meant.
    """
    codes, chosen = list(known), set()
    for language in wanted or ():
        code = matching_language(language, codes)
        if code is None:
            raise UsageError(f"{name}: no language '{language}': {nearest(language, codes)}")
        chosen.add(code)
    return [code for code in codes if not wanted or code in chosen]


def our_language(code: str) -> str | None:
    """A code as training data are known by it: ``ar``, ``zh``, ``de``, ``de`` for ``arb``,
    ``zho-CN``, ``deu_Latn``, ``german``.

    Region and script are left out; an unknown code stays as it is, in lower case. None for what
    cannot be a language code.
    """
    known = read_language(code)
    if known:
        return known.language
    head = re.split(r"[-_]", code.strip())[0].lower()
    # a setting is called ``en-all``, so no language can be called ``all``
    return head if re.fullmatch(r"[a-z]{2,3}", head) and head != "all" else None


def language_name(code: str) -> str:
    """English name of a language code; the code itself when it is not known."""
    known = read_language(code)
    if known is None:
        return code
    names = {**_english().languages, **_OTHER_NAMES}
    whole = names.get(known.tag.replace("-", "_"))
    if whole or known.language not in names:
        return whole or code
    subtags = known.tag.split("-")[1:]
    said = [_english().scripts.get(part, _english().territories.get(part)) for part in subtags]
    named = ", ".join(filter(None, said))
    return f"{names[known.language]} ({named})" if named else names[known.language]


def html_language(code: str) -> str:
    """A code as HTML's ``lang`` wants it (BCP 47)."""
    known = read_language(code)
    return known.tag if known else code.replace("_", "-")


def direction(code: str) -> str:
    """Writing direction as HTML's ``dir`` wants it: ``rtl`` or ``ltr``; ``ltr`` where unknown."""
    known = read_language(code)
    return "rtl" if known and known.script in _RIGHT_TO_LEFT else "ltr"


def doubts(codes: Iterable[str]) -> list[str]:
    """What a reader must know of a benchmark's codes: which are unknown, which say the same."""
    lines: list[str] = []
    alike: dict[str | None, list[str]] = {}
    for code in codes:
        known = read_language(code)
        alike.setdefault(known.tag if known else None, []).append(code)
    if unknown := alike.pop(None, []):
        lines.append(
            f"unknown language {', '.join(unknown)}: its texts are analysed, perturbed and shown "
            "by no language's rules; use codes of BCP 47 or ISO 639"
        )
    lines += [
        f"{' and '.join(same)} are one language ({tag}) under several codes, and are kept apart"
        for tag, same in alike.items()
        if len(same) > 1
    ]
    return lines
