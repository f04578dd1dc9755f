"""Small SVG charts for reports: bars, lines, scatter, paired histograms, heat maps.

Each function gives one self-contained `<svg>` as text, of the standard library alone and the same
text for the same numbers. Colours can be told apart by the colour-blind (Okabe and Ito 2008) and in
print; text takes the page's own colour. What does not fit a chart (no values, not finite) is left
out, never an error: a chart illustrates, tables state.
"""

import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from html import escape

PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#7A7A7A", "#000000")
WIDTH = 480
HEIGHT = 300
_LEFT, _RIGHT, _TOP, _BOTTOM = 56, 14, 12, 42
_FONT = 'font-family="system-ui,sans-serif" font-size="12"'
_CHARACTER = 6.8  # about the width of one, in that font


@dataclass(frozen=True)
class Series:
    """Points of one line or cloud, the name that the legend shows, optional limits of each y."""

    name: str
    xs: Sequence[float]
    ys: Sequence[float]
    lows: Sequence[float] = ()
    highs: Sequence[float] = ()
    dashed: bool = False
    marks: bool = False


@dataclass(frozen=True)
class Bar:
    """One horizontal bar, with optional limits drawn as a whisker, and optional emphasis."""

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    emphasis: bool = False


def draw_bars(bars: Sequence[Bar], *, title: str, unit: str = "", digits: int = 4) -> str:
    """Draw horizontal bars from zero, one a row, labelled with their values."""
    shown = [bar for bar in bars if math.isfinite(bar.value)]
    if not shown:
        return _empty(title)
    label_width = min(190, 14 + max(len(_shorten(bar.label)) for bar in shown) * 7)
    row, top = 24, 8
    height = top + row * len(shown) + 8
    limits = [0.0]
    for bar in shown:
        limits += [v for v in (bar.value, bar.low, bar.high) if v is not None and math.isfinite(v)]
    low, high = min(limits), max(limits)
    span = (high - low) or 1.0
    space = WIDTH - label_width - 74

    def place(value: float) -> float:
        return label_width + (value - low) / span * space

    parts = []
    for index, bar in enumerate(shown):
        y = top + index * row
        start, end = sorted((place(0.0), place(bar.value)))
        colour = PALETTE[1] if bar.emphasis else PALETTE[0]
        parts.append(
            _text(label_width - 6, y + 15, _shorten(bar.label), anchor="end", title=bar.label)
        )
        parts.append(
            f'<rect x="{_n(start)}" y="{y + 4}" width="{_n(max(end - start, 0.5))}" height="15" '
            f'fill="{colour}" fill-opacity="0.85"/>'
        )
        reach = place(bar.value)
        if _is_known(bar.low) and _is_known(bar.high):
            a, b = place(float(bar.low or 0.0)), place(float(bar.high or 0.0))
            parts.append(_whisker(a, b, y + 11.5))
            reach = max(reach, b)
        value = _show(bar.value, digits) + (f" {unit}" if unit else "")
        parts.append(_text(max(reach, end) + 6, y + 15, value))
    return _svg(title, WIDTH, height, parts)


def draw_lines(
    series: Sequence[Series],
    *,
    title: str,
    x_label: str,
    y_label: str,
    x_range: tuple[float, float] | None = None,
    y_range: tuple[float, float] | None = None,
    diagonal: bool = False,
    x_format: Callable[[float], str] | None = None,
) -> str:
    """Draw lines through points; `diagonal` adds the line y = x."""
    usable = [_finite(s) for s in series]
    usable = [s for s in usable if len(s.xs)]
    if not usable:
        return _empty(title)
    frame = _Frame(usable, x_range, y_range, legend=_needs_legend(usable))
    parts = frame.axes(x_label, y_label, x_format)
    if diagonal:
        low, high = max(frame.x0, frame.y0), min(frame.x1, frame.y1)
        parts.append(
            f'<line x1="{_n(frame.x(low))}" y1="{_n(frame.y(low))}" x2="{_n(frame.x(high))}" '
            f'y2="{_n(frame.y(high))}" stroke="currentColor" stroke-opacity="0.4" '
            f'stroke-dasharray="4 4"/>'
        )
    for index, line in enumerate(usable):
        colour = PALETTE[index % len(PALETTE)]
        for x, low, high in zip(line.xs, line.lows, line.highs, strict=False):
            parts.append(
                f'<line x1="{_n(frame.x(x))}" x2="{_n(frame.x(x))}" y1="{_n(frame.y(low))}" '
                f'y2="{_n(frame.y(high))}" stroke="{colour}" stroke-opacity="0.55"/>'
            )
        points = " ".join(
            f"{_n(frame.x(x))},{_n(frame.y(y))}" for x, y in zip(line.xs, line.ys, strict=True)
        )
        dash = ' stroke-dasharray="5 4"' if line.dashed else ""
        parts.append(
            f'<polyline points="{points}" fill="none" stroke="{colour}" stroke-width="2"{dash}/>'
        )
        if line.marks:
            parts += [
                _dot(frame.x(x), frame.y(y), 3.5, colour)
                for x, y in zip(line.xs, line.ys, strict=True)
            ]
    if _needs_legend(usable):
        parts += _legend([line.name for line in usable])
    return _svg(title, WIDTH, HEIGHT, parts)


def draw_scatter(
    series: Sequence[Series], *, title: str, x_label: str, y_label: str, diagonal: bool = False
) -> str:
    """Draw points; `diagonal` adds the line y = x and gives both axes one range."""
    usable = [_finite(s) for s in series]
    usable = [s for s in usable if len(s.xs)]
    if not usable:
        return _empty(title)
    both = None
    if diagonal:
        values = [v for s in usable for v in (*s.xs, *s.ys)]
        both = (min(values), max(values))
    frame = _Frame(usable, both, both, legend=_needs_legend(usable))
    parts = frame.axes(x_label, y_label, None)
    if diagonal:
        parts.append(
            f'<line x1="{_n(frame.x(frame.x0))}" y1="{_n(frame.y(frame.y0))}" '
            f'x2="{_n(frame.x(frame.x1))}" '
            f'y2="{_n(frame.y(frame.y1))}" stroke="currentColor" stroke-opacity="0.5" '
            f'stroke-dasharray="4 4"/>'
        )
    for index, cloud in enumerate(usable):
        colour = PALETTE[index % len(PALETTE)]
        parts += [
            _dot(frame.x(x), frame.y(y), 2.5, colour, 0.5)
            for x, y in zip(cloud.xs, cloud.ys, strict=True)
        ]
    if _needs_legend(usable):
        parts += _legend([cloud.name for cloud in usable])
    return _svg(title, WIDTH, HEIGHT, parts)


def draw_histograms(
    edges: Sequence[float],
    counts: Sequence[tuple[str, Sequence[float]]],
    *,
    title: str,
    x_label: str,
    y_label: str = "share of rows",
) -> str:
    """Draw one or two histograms over the same edges, each as shares of its own total."""
    heights = []
    for name, values in counts:
        total = float(sum(values))
        heights.append((name, [float(value) / total if total else 0.0 for value in values]))
    if len(edges) < 2 or not heights or not any(any(values) for _, values in heights):
        return _empty(title)
    shapes = [Series(name, list(edges), [0.0, *values]) for name, values in heights]
    frame = _Frame(shapes, (edges[0], edges[-1]), None, legend=len(heights) > 1, from_zero=True)
    parts = frame.axes(x_label, y_label, None)
    for index, (_, values) in enumerate(heights):
        colour = PALETTE[index % len(PALETTE)]
        for left, right, value in zip(edges[:-1], edges[1:], values, strict=False):
            if value <= 0:
                continue
            x, y = frame.x(left), frame.y(value)
            parts.append(
                f'<rect x="{_n(x)}" y="{_n(y)}" width="{_n(max(frame.x(right) - x - 0.5, 0.5))}" '
                f'height="{_n(frame.y(0.0) - y)}" fill="{colour}" fill-opacity="0.5" '
                f'stroke="{colour}"/>'
            )
    if len(heights) > 1:
        parts += _legend([name for name, _ in heights])
    return _svg(title, WIDTH, HEIGHT, parts)


def draw_heat(
    rows: Sequence[str],
    columns: Sequence[str],
    values: Sequence[Sequence[float]],
    *,
    title: str,
    x_label: str = "",
    y_label: str = "",
    normalise_rows: bool = True,
) -> str:
    """Draw a matrix with numbers in its cells, shaded by share of the row (or of the largest)."""
    if not rows or not columns:
        return _empty(title)
    label_width = min(150, 16 + max(len(_shorten(name, 18)) for name in rows) * 7)
    left = label_width + (18 if y_label else 0)
    cell_width = min(120.0, (WIDTH - left - 8) / len(columns))
    cell_height = 34 if len(rows) <= 8 else 22
    top = 20 + (16 if x_label else 0)
    largest = max((max(row) for row in values if len(row)), default=0.0) or 1.0
    parts = []
    if x_label:
        parts.append(_text(left + cell_width * len(columns) / 2, 14, x_label, anchor="middle"))
    for j, name in enumerate(columns):
        shown = _shorten(name, max(3, int(cell_width // 7)))
        parts.append(
            _text(left + (j + 0.5) * cell_width, top - 6, shown, anchor="middle", title=name)
        )
    for i, (name, row) in enumerate(zip(rows, values, strict=True)):
        y = top + i * cell_height
        parts.append(
            _text(left - 6, y + cell_height / 2 + 4, _shorten(name, 18), anchor="end", title=name)
        )
        whole = (sum(row) if normalise_rows else largest) or 1.0
        for j, value in enumerate(row):
            share = max(0.0, min(1.0, value / whole))
            x = left + j * cell_width
            parts.append(
                f'<rect x="{_n(x)}" y="{y}" width="{_n(cell_width - 1)}" '
                f'height="{cell_height - 1}" '
                f'fill="{PALETTE[0]}" fill-opacity="{_n(0.06 + 0.84 * share)}"/>'
            )
            colour = "#ffffff" if share > 0.55 else "currentColor"
            parts.append(
                _text(
                    x + cell_width / 2,
                    y + cell_height / 2 + 4,
                    _show(value, 4),
                    anchor="middle",
                    fill=colour,
                )
            )
    height = top + cell_height * len(rows) + 8
    if y_label:
        middle = top + cell_height * len(rows) / 2
        parts.append(
            f'<text x="12" y="{_n(middle)}" text-anchor="middle" fill="currentColor" '
            f'transform="rotate(-90 12 {_n(middle)})">{escape(y_label)}</text>'
        )
    return _svg(title, WIDTH, height, parts)


class _Frame:
    """The plotting area: maps values to places, and draws axes with round ticks."""

    def __init__(
        self,
        series: Sequence[Series],
        x_range: tuple[float, float] | None,
        y_range: tuple[float, float] | None,
        *,
        legend: bool,
        from_zero: bool = False,
    ) -> None:
        xs = [x for s in series for x in s.xs]
        ys = [y for s in series for y in (*s.ys, *s.lows, *s.highs)]
        self.x0, self.x1 = x_range or _pad(min(xs), max(xs), 0.0)
        self.y0, self.y1 = y_range or _pad(0.0 if from_zero else min(ys), max(ys), 0.04)
        if from_zero:
            self.y0 = 0.0
        self.x0, self.x1 = _widen(self.x0, self.x1)
        self.y0, self.y1 = _widen(self.y0, self.y1)
        self.top = _TOP + (20 if legend else 0)

    def x(self, value: float) -> float:
        return _LEFT + (value - self.x0) / (self.x1 - self.x0) * (WIDTH - _LEFT - _RIGHT)

    def y(self, value: float) -> float:
        return (
            HEIGHT
            - _BOTTOM
            - (value - self.y0) / (self.y1 - self.y0) * (HEIGHT - _BOTTOM - self.top)
        )

    def axes(
        self, x_label: str, y_label: str, x_format: Callable[[float], str] | None
    ) -> list[str]:
        parts = []
        bottom = HEIGHT - _BOTTOM
        for tick in find_ticks(self.y0, self.y1):
            y = self.y(tick)
            parts.append(
                f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{_n(y)}" y2="{_n(y)}" '
                'stroke="currentColor" stroke-opacity="0.14"/>'
            )
            parts.append(_text(_LEFT - 6, y + 4, _show(tick, 4), anchor="end"))
        for tick in find_ticks(self.x0, self.x1):
            x = self.x(tick)
            shown = x_format(tick) if x_format else _show(tick, 4)
            if not shown:
                continue
            parts.append(
                f'<line x1="{_n(x)}" x2="{_n(x)}" y1="{bottom}" y2="{bottom + 4}" '
                'stroke="currentColor" stroke-opacity="0.5"/>'
            )
            if x + len(shown) * _CHARACTER / 2 > WIDTH:
                parts.append(_text(WIDTH, bottom + 17, shown, anchor="end"))
            else:
                parts.append(_text(x, bottom + 17, shown, anchor="middle"))
        parts.append(
            f'<line x1="{_LEFT}" x2="{WIDTH - _RIGHT}" y1="{bottom}" y2="{bottom}" '
            'stroke="currentColor" stroke-opacity="0.5"/>'
        )
        parts.append(_text((_LEFT + WIDTH - _RIGHT) / 2, HEIGHT - 6, x_label, anchor="middle"))
        middle = _n((self.top + bottom) / 2)
        parts.append(
            f'<text x="12" y="{middle}" text-anchor="middle" fill="currentColor" '
            f'transform="rotate(-90 12 {middle})">{escape(y_label)}</text>'
        )
        return parts


def find_ticks(low: float, high: float, wanted: int = 5) -> list[float]:
    """Find about `wanted` round numbers between two limits."""
    span = high - low
    if not (math.isfinite(span) and span > 0):
        return [low]
    rough = span / wanted
    magnitude = 10.0 ** math.floor(math.log10(rough))
    step = next(
        (m * magnitude for m in (1, 2, 2.5, 5) if m * magnitude >= rough * 0.999), 10 * magnitude
    )
    first = math.ceil(low / step - 1e-9)
    last = math.floor(high / step + 1e-9)
    return [0.0 if k == 0 else k * step for k in range(first, last + 1)]


def _svg(title: str, width: float, height: float, parts: Sequence[str]) -> str:
    name = escape(title, quote=True)
    return (
        f'<svg viewBox="0 0 {_n(width)} {_n(height)}" role="img" aria-label="{name}" '
        f'xmlns="http://www.w3.org/2000/svg" {_FONT}><title>{name}</title>{"".join(parts)}</svg>'
    )


def _empty(title: str) -> str:
    return _svg(title, WIDTH, 40, [_text(8, 24, "nothing to draw")])


def _text(
    x: float,
    y: float,
    content: str,
    *,
    anchor: str = "start",
    title: str = "",
    fill: str = "currentColor",
) -> str:
    tip = f"<title>{escape(title)}</title>" if title and title != content else ""
    place = f'x="{_n(x)}" y="{_n(y)}" text-anchor="{anchor}" fill="{fill}"'
    return f"<text {place}>{tip}{escape(content)}</text>"


def _dot(x: float, y: float, radius: float, colour: str, opacity: float = 1.0) -> str:
    fill = f'fill="{colour}" fill-opacity="{_n(opacity)}"'
    return f'<circle cx="{_n(x)}" cy="{_n(y)}" r="{_n(radius)}" {fill}/>'


def _whisker(a: float, b: float, y: float) -> str:
    return (
        f'<path d="M{_n(a)} {_n(y)}H{_n(b)}M{_n(a)} {_n(y - 4)}v8M{_n(b)} {_n(y - 4)}v8" '
        'stroke="currentColor" fill="none"/>'
    )


def _legend(names: Sequence[str]) -> list[str]:
    parts, x = [], float(_LEFT)
    for index, name in enumerate(names):
        shown = _shorten(name, 22)
        colour = PALETTE[index % len(PALETTE)]
        if x + 16 + 7 * len(shown) > WIDTH and index:
            parts.append(_text(x, 16, "..."))
            break
        parts.append(f'<rect x="{_n(x)}" y="6" width="11" height="11" fill="{colour}"/>')
        parts.append(_text(x + 15, 16, shown, title=name))
        x += 30 + 6.6 * len(shown)
    return parts


def _needs_legend(series: Sequence[Series]) -> bool:
    return len(series) > 1 or (len(series) == 1 and bool(series[0].name))


def _finite(series: Series) -> Series:
    keep = [
        i
        for i, (x, y) in enumerate(zip(series.xs, series.ys, strict=True))
        if math.isfinite(x) and math.isfinite(y)
    ]
    if len(keep) == len(series.xs):
        return series
    return Series(
        series.name,
        [series.xs[i] for i in keep],
        [series.ys[i] for i in keep],
        [series.lows[i] for i in keep] if len(series.lows) else (),
        [series.highs[i] for i in keep] if len(series.highs) else (),
        series.dashed,
        series.marks,
    )


def _pad(low: float, high: float, share: float) -> tuple[float, float]:
    margin = (high - low) * share
    return low - margin, high + margin


def _widen(low: float, high: float) -> tuple[float, float]:
    """Give an empty range some width, so that it can be drawn."""
    if high > low:
        return low, high
    margin = abs(low) * 0.05 or 0.5
    return low - margin, high + margin


def _is_known(value: float | None) -> bool:
    return value is not None and math.isfinite(value)


def _shorten(text: str, limit: int = 26) -> str:
    return text if len(text) <= limit else text[: max(1, limit - 1)] + "…"


def _show(value: float, digits: int) -> str:
    """Write a number for people: few digits, no exponent where it can be avoided."""
    if value == 0:
        return "0"
    if float(value).is_integer() and abs(value) < 1e6:
        return str(int(value))
    if abs(value) >= 1e6:
        for size, unit in ((1e12, "T"), (1e9, "G"), (1e6, "M")):
            if abs(value) >= size:
                return f"{value / size:.3g} {unit}"
    return f"{value:.{digits}g}"


def _n(value: float) -> str:
    """Write a coordinate: two decimals at most, the same on every machine."""
    text = f"{value:.2f}".rstrip("0").rstrip(".")
    return "0" if text in ("-0", "") else text
