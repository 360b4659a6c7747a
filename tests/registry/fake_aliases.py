"""A stand-in for MLflow's aliases and model tags, in memory. The real one is tested beside it."""

from collections.abc import Mapping

from registry.decisions import Alias


class FakeAliases:
    """Implements `registry.aliases.AliasStore`. A stand-in: it knows no models, so it refuses none."""

    def __init__(self) -> None:
        self.calls: list[str] = []
        self.aliases: dict[tuple[str, str], int] = {}
        self.tags: dict[str, dict[str, str]] = {}
        self.others: set[tuple[str, int]] = set()
        """Versions that serve what is none of ours."""

    def set_alias(self, model_name: str, alias: Alias, model_version: int) -> None:
        self.calls.append(f"set {alias} {model_version}")
        self.aliases[model_name, alias] = model_version

    def serves(self, model_name: str, model_version: int, model_id: str) -> bool:
        return (model_name, model_version) not in self.others

    def get_alias(self, model_name: str, alias: Alias) -> int | None:
        return self.aliases.get((model_name, alias))

    def delete_alias(self, model_name: str, alias: Alias) -> None:
        self.calls.append(f"delete {alias}")
        self.aliases.pop((model_name, alias), None)

    def set_model_tags(self, model_name: str, tags: Mapping[str, str]) -> None:
        self.calls.append(f"tag {' '.join(sorted(tags))}")
        self.tags.setdefault(model_name, {}).update(tags)

    def model_tags(self, model_name: str) -> Mapping[str, str]:
        return dict(self.tags.get(model_name, {}))
