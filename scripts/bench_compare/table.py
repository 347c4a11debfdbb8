"""Medians, ratios and the Markdown table."""

import statistics


def number(value):
    """Three digits are enough."""
    if value is None:
        return "-"
    size = abs(value)
    if size >= 100:
        return f"{value:,.0f}".replace(",", " ")
    if size >= 10:
        return f"{value:.1f}"
    return f"{value:.2f}" if size >= 1 or size == 0 else f"{value:.3g}"


def median(values):
    known = [value for value in values if value is not None]
    return statistics.median(known) if known else None


def ratio(figure, ours, theirs):
    """The median of the ratios of runs that stood beside each other: how many times better we are."""
    pairs = [
        (a, b) for a, b in zip(ours, theirs) if a is not None and b is not None and a > 0 and b > 0
    ]
    if not pairs:
        return None
    return statistics.median(a / b if figure.more_is_better else b / a for a, b in pairs)


def verdicts(figure, ours, runs):
    """[(target in words, met)] of those targets that could be judged."""
    found = []
    if figure.rival is not None and "mosquitto" in runs:
        got = ratio(figure, ours, runs["mosquitto"])
        if got is not None:
            found.append((f"{figure.rival:g}x mosquitto", got >= figure.rival))
    if figure.relay is not None and "relay" in runs:
        got = ratio(figure, ours, runs["relay"])
        if got is not None:
            found.append((f"at most {figure.relay:g}x relay", 1 / got <= figure.relay))
    if figure.most is not None and median(ours) is not None:
        found.append((f"at most {figure.most:g}", median(ours) <= figure.most))
    return found


def head(names):
    columns = ["case", "figure", names[0]]
    for name in names[1:]:
        columns += [name, "relay's share" if name == "relay" else "times better"]
    columns += ["target", "met"]
    right = "|".join(["---", "---", *["---:"] * (len(columns) - 4), "---", "---"])
    return f"| {' | '.join(columns)} |\n|{right}|"


def row(case, figure, names, runs):
    """One line, and how many targets it misses. runs: {broker: [number per repeat]}"""
    ours = runs.get(names[0], [])
    cells = [f"{case.letter} {case.title}", f"{figure.name}, {figure.unit}", number(median(ours))]
    for name in names[1:]:
        theirs = runs.get(name, [])
        times = ratio(figure, ours, theirs)
        if name == "relay" and times is not None:
            # Beside the relay the question is how much more we need.
            cells += [number(median(theirs)), f"{1 / times:.2f}x" if not figure.more_is_better else f"{times:.2f}x"]
        else:
            cells += [number(median(theirs)), "-" if times is None else f"{number(times)}x"]
    judged = verdicts(figure, ours, runs)
    cells.append(", ".join(words for words, _ in judged))
    cells.append(", ".join("yes" if met else "**no**" for _, met in judged))
    return f"| {' | '.join(cells)} |", sum(not met for _, met in judged)
