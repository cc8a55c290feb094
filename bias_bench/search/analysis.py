"""Texts as Lucene's analyzers read them: one analyzer for each language, as analyzers.yaml says.

A text is analysed by the analyzer of its own language, a query as well as a candidate. So what
becomes of a text does not depend on what it is searched in or with.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from itertools import pairwise
from typing import NamedTuple

from bias_bench.data.languages import read_language
from bias_bench.errors import BiasBenchError
from bias_bench.system.java import start_java
from bias_bench.system.yaml_values import package_yaml

_PACKAGE = "org.apache.lucene.analysis"
_SEPARATOR = ", "  # of Java's lists; a token holds no space


class Rule(NamedTuple):
    """How a language is analysed: a Lucene analyzer, and a script to divide into bigrams first."""

    analyzer: str
    bigrams: str | None = None


def analysis_rule(language: str) -> Rule:
    """The rule of a code in any form: its language's, else its script's, else `default`."""
    rules, known = _rules(), read_language(language)
    named = (known.language, known.script) if known else ()
    return next((rules[name] for name in named if name in rules), rules["default"])


def describe_rule(language: str) -> str:
    """The rule in words: ``th.ThaiAnalyzer``, with what comes before it."""
    rule = analysis_rule(language)
    return f"bigrams of {rule.bigrams}, {rule.analyzer}" if rule.bigrams else rule.analyzer


@cache
def _rules() -> dict[str, Rule]:
    return {
        str(language): Rule(**rule) if isinstance(rule, dict) else Rule(rule)
        for language, rule in package_yaml("bias_bench.search", "analyzers.yaml").items()
    }


def analyse(texts: Sequence[str], language: str) -> list[list[str]]:
    """The tokens of each text, in order; none where a text holds stop words only."""
    rule = analysis_rule(language)
    find = start_java()
    import jnius

    analyzer = find(f"{_PACKAGE}.{rule.analyzer}")()
    tokens_of = find("io.anserini.analysis.AnalyzerUtils").analyze
    tokens = []
    for text in texts:
        # pyjnius ends a string at a NUL
        plain = _with_bigrams(text, rule.bigrams).replace("\0", " ")
        try:
            listed: str = tokens_of(analyzer, plain).toString()[1:-1]
        except jnius.JavaException as error:
            raise BiasBenchError(
                f"Lucene's {rule.analyzer} failed on a text in '{language}' ({error}); see "
                "`biasbench doctor`"
            ) from None
        tokens.append(listed.split(_SEPARATOR) if listed else [])
    analyzer.close()
    return tokens


def _with_bigrams(text: str, script: str | None) -> str:
    """Every run of letters of `script` replaced by its overlapping pairs of letters.

    A letter is a grapheme cluster, with its marks; a run of one letter stays as it is.
    """
    if script is None:
        return text
    import regex

    def pairs(run: regex.Match[str]) -> str:
        letters = regex.findall(r"\X", run[0])
        joined = [first + second for first, second in pairwise(letters)]
        return f" {' '.join(joined or letters)} "

    return regex.sub(rf"\p{{Script={script}}}+", pairs, text)
