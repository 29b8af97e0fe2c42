import pytest

from anyseek.model.galleries.openmoji import Rendering, draw_svg, keep_groups, read_concepts

SVG = """<svg id="emoji" viewBox="0 0 72 72" xmlns="http://www.w3.org/2000/svg">
  <g id="color"><rect x="10" y="10" width="52" height="52" fill="#ff0000"/></g>
  <g id="skin"><rect x="30" y="30" width="12" height="12" fill="#00ff00"/></g>
  <g id="line"><rect x="10" y="10" width="52" height="52" fill="none" stroke="#000000" stroke-width="4"/></g>
  <g id="line-supplement"><rect x="34" y="34" width="4" height="4" fill="#000000"/></g>
</svg>"""


def test_the_table_has_each_base_concept_once() -> None:
    concepts = read_concepts()
    assert len({concept.hexcode for concept in concepts}) == len(concepts) == 2460
    pizza = next(concept for concept in concepts if concept.hexcode == "1F355")
    assert (pizza.caption, pizza.group) == ("pizza", "food & drink")
    assert "cheese" in pizza.tags


@pytest.mark.parametrize(
    ("rendering", "colours"),
    [
        (Rendering.FULL, {"red", "green", "black"}),
        (Rendering.COLOUR, {"red", "green"}),
        (Rendering.LINE, {"black"}),
    ],
)
def test_a_rendering_leaves_out_the_other_groups(rendering: Rendering, colours: set[str]) -> None:
    pixels = draw_svg(keep_groups(SVG, rendering), 72).reshape(-1, 3)
    known = {"red": (255, 0, 0), "green": (0, 255, 0), "black": (0, 0, 0)}
    assert {name for name, value in known.items() if (pixels == value).all(axis=1).any()} == colours
    assert tuple(pixels[0]) == (255, 255, 255)
