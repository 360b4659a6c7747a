"""Webhooks in the hands of one actor: `registry.outbox` behind the question who may."""

from collections.abc import Sequence

from registry import outbox
from registry.decisions import Actor
from registry.outbox import Delivery, NewWebhook, Webhook
from registry.roles import allow
from registry.store import Registry


class Webhooks:
    """Whom to tell of decisions; every method is an admin's."""

    def __init__(self, registry: Registry, actor: Actor) -> None:
        self._registry = registry
        self.actor = actor

    def webhooks(self) -> tuple[Webhook, ...]:
        """Every webhook that is told, by name."""
        allow(self.actor, "webhooks")
        return outbox.webhooks(self._registry)

    def add_webhook(
        self, name: str, url: str, *, kinds: Sequence[str] = (), secret: str | None = None
    ) -> NewWebhook:
        """Tell a URL of decisions from now on; a known name gets the new URL, kinds and secret."""
        allow(self.actor, "webhooks")
        return outbox.add(self._registry, name, url, kinds=kinds, secret=secret)

    def remove_webhook(self, name: str) -> None:
        """Tell a webhook nothing more."""
        allow(self.actor, "webhooks")
        outbox.remove(self._registry, name)

    def undelivered(self) -> tuple[Delivery, ...]:
        """What waits to be delivered, the soonest first."""
        allow(self.actor, "webhooks")
        return outbox.undelivered(self._registry)
