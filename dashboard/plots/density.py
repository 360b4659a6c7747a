"""Where in the base a mask lies: the share of entries by layer and projection."""

from collections.abc import Sequence

from dashboard.plots.figure import Figure, axis_title, written
from dashboard.plots.maps import CLEAR, cells, layer, make_map


def density(
    layers: Sequence[str],
    projections: Sequence[str],
    shares: Sequence[Sequence[float | None]],
) -> Figure:
    """A map of shares in percent, layers from left to right.

    Args:
        layers: one name a layer, all different (`0`, `1`).
        projections: one name a projection, all different (`q_proj`).
        shares: for each projection the fraction of its entries owned in each layer; None where the
            layer has none of this name.
    """
    percents = [
        [None if share is None else round(100 * share, 3) for share in row] for row in shares
    ]
    texts = None
    if len(layers) <= 16:
        texts = [["" if share is None else written(share, 1) for share in row] for row in percents]
    absent = [[1 if share is None else None for share in row] for row in percents]
    place = "layer <b>%{x}</b>, <b>%{y}</b><br>"
    made = make_map(
        projections,
        layers,
        [
            cells(projections, layers, percents, texts, f"{place}%{{z:.2f}} % of its entries"),
            layer(projections, layers, absent, CLEAR, f"{place}not adapted"),
        ],
        scale="@scores",
        low=0,
        high=max([0.001, *(share for row in percents for share in row if share is not None)]),
        title="owned, %",
    )
    made["layout"]["xaxis"] |= {"side": "bottom", "tickangle": 0, "title": axis_title("layer")}
    return made
