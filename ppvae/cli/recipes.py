"""``--recipe list``: every recipe with its source, its published figure and ours."""

from collections.abc import Iterable

from ppvae.settings.recipes import Recipe


def told_recipes(recipes: Iterable[Recipe]) -> str:
    """The recipes with their figures, as printed text."""
    return "\n".join(map(_told, recipes))


def _told(recipe: Recipe) -> str:
    unit = "nats" if recipe.measure == "log p(x)" else "%"
    draws = f", {recipe.samples:,} importance samples" if recipe.samples else ""
    ours = "not measured yet" if recipe.ours is None else f"{recipe.ours:.2f} {unit}"
    return (
        f"{recipe.name}: {recipe.title}\n"
        f"  source     {recipe.source}\n"
        f"  differs    {recipe.differs}\n"
        f"  measure    {recipe.measure} of the test data{draws}\n"
        f"  published  {recipe.published:.2f} {unit}\n"
        f"  ours       {ours}{'; ' if recipe.measured else ''}{recipe.measured}\n"
    )
