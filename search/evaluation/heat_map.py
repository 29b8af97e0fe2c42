"""Draws recall matrices as one picture: a table of coloured cells per set, in Pillow's own font."""

from collections.abc import Sequence

from PIL import Image, ImageDraw, ImageFont

from anyseek.search.evaluation.cells import Row
from anyseek.search.evaluation.matrix import Matrix, Summary, summary

_WIDTH, _HEIGHT = 128, 62  # of a cell
_LABELS, _HEAD, _MARGIN, _BAR = 220, 92, 24, 6
_PAPER, _INK, _FAINT, _EMPTY = (255, 255, 255), (30, 30, 30), (110, 110, 110), (243, 243, 243)
_BETTER, _WORSE = (20, 140, 70), (190, 40, 40)
_LOW, _HIGH = (232, 241, 250), (18, 71, 130)  # the colours of 0 and 1
_LEGEND = (
    "Large: the model, in the space and gallery that the service uses. Below: the encoders alone, and a ridge "
    "regression on their vectors. Bar: above both (green) or not (red). (own): the query is the very file that the "
    "item is indexed by."
)

Colour = tuple[int, int, int]


def heat_map(matrices: Sequence[Matrix], title: str) -> Image.Image:
    """Draw the summaries of matrices one below the other, with a legend, in RGB."""
    tables = [summary(matrix) for matrix in matrices]
    width = 2 * _MARGIN + _LABELS + _WIDTH * max(max(len(table.galleries) for table in tables), 4)
    legend = _wrapped(_LEGEND, width - 2 * _MARGIN)
    heights = [_HEAD + _HEIGHT * len(table.queries) for table in tables]
    image = Image.new("RGB", (width, 2 * _MARGIN + 34 + sum(heights) + 20 * (len(legend) + 1)), _PAPER)
    pen = ImageDraw.Draw(image)
    pen.text((_MARGIN, _MARGIN), title, _INK, _font(22))
    top = _MARGIN + 34
    for matrix, table, height in zip(matrices, tables, heights, strict=True):
        _draw_table(pen, matrix, table, top)
        top += height
    for number, line in enumerate(legend):
        pen.text((_MARGIN, top + 14 + 20 * number), line, _FAINT, _font(14))
    return image


def _draw_table(pen: ImageDraw.ImageDraw, matrix: Matrix, table: Summary, top: int) -> None:
    heading = f"{matrix.name}: {table.measure}, {matrix.things:,} things"
    pen.text((_MARGIN, top + 16), heading, _INK, _font(18))
    left = _MARGIN + _LABELS
    pen.text((left - 12, top + 66), "query \\ items", _FAINT, _font(14), anchor="rm")
    for column, gallery in enumerate(table.galleries):
        middle = left + column * _WIDTH + _WIDTH // 2
        pen.text((middle, top + 66), gallery, _INK, _font(15), anchor="mm")
    for line, query in enumerate(table.queries):
        upper = top + _HEAD - 8 + line * _HEIGHT
        pen.text((left - 12, upper + _HEIGHT // 2), query, _INK, _font(15), anchor="rm")
        for column, gallery in enumerate(table.galleries):
            _draw_cell(pen, table, table.cells.get((query, gallery)), (left + column * _WIDTH, upper))


def _draw_cell(pen: ImageDraw.ImageDraw, table: Summary, row: Row | None, corner: tuple[int, int]) -> None:
    left, top = corner
    box = (left, top, left + _WIDTH - 3, top + _HEIGHT - 3)
    value = table.value(row.model) if row else None
    if row is None or value is None:
        pen.rectangle(box, _EMPTY)
        return
    fill = _between(value)
    ink, faint = (_INK, (70, 70, 70)) if value < 0.55 else (_PAPER, (225, 235, 245))
    pen.rectangle(box, fill)
    pen.text((left + _WIDTH // 2, top + 20), f"{value:.2f}", ink, _font(20), anchor="mm")
    rivals = [table.value(row.encoders), table.value(row.ridge)]
    told = (
        "(own)" if table.tells_little(row) else " / ".join("-" if rival is None else f"{rival:.2f}" for rival in rivals)
    )
    pen.text((left + _WIDTH // 2, top + 44), told, faint, _font(13), anchor="mm")
    known = [rival for rival in rivals if rival is not None]
    if known and not table.tells_little(row):
        pen.rectangle((left, top, left + _BAR, box[3]), _BETTER if value > max(known) else _WORSE)


def _between(value: float) -> Colour:
    red, green, blue = (round(low + (high - low) * value) for low, high in zip(_LOW, _HIGH, strict=True))
    return red, green, blue


def _wrapped(text: str, width: int) -> list[str]:
    lines, line = [], ""
    for word in text.split():
        longer = f"{line} {word}".strip()
        if _font(14).getlength(longer) > width:
            lines.append(line)
            longer = word
        line = longer
    return [*lines, line]


def _font(size: int) -> ImageFont.FreeTypeFont | ImageFont.ImageFont:
    return ImageFont.load_default(size)
