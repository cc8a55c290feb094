"""`biasbench compare`."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Literal

import typer

from bias_bench.cli.complete import complete_metric
from bias_bench.cli.options import Verbose, listen, option

EXAMPLES = """Examples:

biasbench compare runs/xquad-r-zero-shot-0 runs/xquad-r-hybrid-0

biasbench compare runs/xquad-r-*-0 --significance --baseline runs/xquad-r-mono-0

biasbench compare runs/mono runs/hybrid --significance --report reports/gain.html

biasbench compare runs/mono runs/hybrid --significance --metric rank_distance --format json

biasbench compare runs/mono runs/hybrid --significance --cluster paragraph

biasbench compare runs/xquad-r-zero-shot-0 runs/xquad-r-bm25-0 --significance"""

_TESTS = "Tests"


def compare_command(
    runs: Annotated[
        list[Path],
        typer.Argument(
            help="Complete run folders of one benchmark. Folders of one recipe, backbone and "
            "settings with different seeds are one system."
        ),
    ],
    significance: Annotated[
        bool,
        typer.Option(
            "--significance", help="Test the differences; without it they are only shown."
        ),
    ] = False,
    baseline: Annotated[
        Path | None, option("The run that the others are compared with. Default: the first.")
    ] = None,
    metric: Annotated[
        str | None,
        option(
            "A metric of the runs' scores (AP, nDCG@10, R@1, RR, …) or of bias: "
            "rank_distance, log_rank_distance, mean_pairwise_distance, worst_rank, "
            "same_language_first, same_language_top1, target_removal; or, of runs with the "
            "robustness suite, perturbed_AP, perturbation_loss, perturbation_overlap. Beside "
            "rankings of other tools, which end somewhere, ranks are cut there, and the name says "
            "so: rank_distance@100. Default: AP, or AP@k there.",
            autocompletion=complete_metric,
        ),
    ] = None,
    cluster: Annotated[
        Literal["topic", "paragraph", "article"] | None,
        option(
            "What is resampled as a whole. Default: article where all runs know their "
            "topics' articles and there are at least 20, else paragraph where several topics "
            "share one, else topic.",
            _TESTS,
        ),
    ] = None,
    correction: Annotated[
        Literal["maxt", "holm", "bh"],
        typer.Option(
            help="Adjustment of p-values within a family of settings: step-down max-T, Holm "
            "(both family-wise error) or Benjamini-Hochberg (false discovery rate).",
            rich_help_panel=_TESTS,
        ),
    ] = "maxt",
    family: Annotated[
        Literal["kind", "all"],
        typer.Option(
            help="What p-values are adjusted over: the settings of each kind, and the macro "
            "averages, system by system (where nothing differs, any of these four families shows "
            "a difference in 16-20 %), or everything that is tested at once.",
            rich_help_panel=_TESTS,
        ),
    ] = "kind",
    permutations: Annotated[
        int,
        typer.Option(
            help="Draws of the tests and replicates of the bootstrap.", rich_help_panel=_TESTS
        ),
    ] = 10_000,
    confidence: Annotated[
        float,
        typer.Option(
            help="Of the intervals; the level of significance is 1 minus it.",
            rich_help_panel=_TESTS,
        ),
    ] = 0.95,
    margin: Annotated[
        float | None,
        option(
            "Also test equivalence, and “no worse than”, within this margin in the metric's "
            "unit. Choose it before looking.",
            _TESTS,
        ),
    ] = None,
    also: Annotated[
        str | None,
        option(
            "Further tests: t, wilcoxon, or t,wilcoxon; a warning says where their "
            "assumptions fail.",
            _TESTS,
        ),
    ] = None,
    seed: Annotated[int, typer.Option(help="Of the random draws.", rich_help_panel=_TESTS)] = 0,
    all_settings: Annotated[
        bool, typer.Option("--all-settings", help="List every setting, not just the extremes.")
    ] = False,
    output_format: Annotated[
        Literal["table", "json", "tsv", "latex"],
        typer.Option("--format", help="Form of the result on stdout."),
    ] = "table",
    verbose: Verbose = None,
    report: Annotated[Path | None, option("Also write a page with figures to this file.")] = None,
) -> None:
    """Compare systems with a baseline: differences, and with --significance whether to trust them.

    Give at least two systems. The settings of one kind are one family of tests, and so are the
    macro averages of the kinds, for each system on its own; --family all makes them one.
    """
    from bias_bench.api.comparison import compare
    from bias_bench.cli.output import print_json, stdout_encoding, table_width
    from bias_bench.report.comparison_forms import as_latex, as_table, as_tsv
    from bias_bench.report.comparison_page import check_page, write_comparison_page
    from bias_bench.report.index_page import INDEX, write_index
    from bias_bench.system.console import result, say

    listen(verbose)
    if report:
        check_page(report)
    compared = compare(
        runs,
        baseline=baseline,
        metric=metric,
        cluster=cluster,
        significance=significance,
        correction=correction,
        family=family,
        permutations=permutations,
        confidence=confidence,
        margin=margin,
        also=[name.strip() for name in also.split(",")] if also else (),
        seed=seed,
    ).result
    if output_format == "json":
        print_json(compared.as_json())
    elif output_format == "tsv":
        result(as_tsv(compared))
    elif output_format == "latex":
        result(as_latex(compared, all_settings))
    else:
        result(as_table(compared, all_settings, table_width(), stdout_encoding()))
    if report:
        say(f"report: {write_comparison_page(compared, report)}")
        if (report.parent / INDEX).is_file():
            write_index(report.parent)
