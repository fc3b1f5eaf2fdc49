"""The options of an analysis: frozen, described fields, and what marks some of them."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, ConfigDict, Field
from pydantic.fields import FieldInfo

_DISPLAY: dict[str, Any] = {"display": True}


class Spec(BaseModel):
    """Base of all specs: frozen, nothing unknown accepted; each field carries a description and its bounds.

    Every field has a default. A field may not be called by a name in `RESERVED`; an option that seeds a draw is called
    `draw_seed`, for `seed` is the seed of the prompt set.

    Fields made with `shown` choose what the figures draw; they are not part of a run's key, so changing one redraws
    without computing again.
    """

    model_config = ConfigDict(frozen=True, extra="forbid")

    def computed(self) -> dict[str, Any]:
        """The fields that the numbers depend on, as plain JSON."""
        return {k: v for k, v in self.model_dump(mode="json").items() if k not in self.display_fields()}

    @classmethod
    def display_fields(cls) -> frozenset[str]:
        """Names of the fields that only the figures read."""
        return frozenset(name for name, field in cls.model_fields.items() if field.json_schema_extra == _DISPLAY)

    def uses(self) -> dict[str, tuple[str, str]]:
        """By field, (kind, name) of what the run uses besides its model and inputs; empty fields use nothing."""
        marked = {name: uses(field) for name, field in type(self).model_fields.items()}
        given = {name: getattr(self, name) for name, kind in marked.items() if kind}
        return {name: (str(marked[name]), str(one)) for name, one in given.items() if one is not None}

    def keeps(self) -> tuple[str, ...]:
        """Names of the artifacts that a run with these options leaves: later runs of a batch may name them."""
        name = getattr(self, "keep_as", None)
        return (str(name),) if name is not None else ()

    def claims(self) -> dict[str, tuple[str, bool]]:
        """By name, (kind, whether another run's may be replaced) of `keeps`: what is in the way is refused before work.

        Empty where an analysis does not say; then another kind is refused only when the artifact is kept.
        """
        return {}


def shown(default: Any, **field_options: Any) -> Any:
    """A spec field that only the figures read: like pydantic's Field, marked as display."""
    return Field(default, json_schema_extra=dict(_DISPLAY), **field_options)


def another_model(description: str) -> Any:
    """A spec field of type `str | None` that names a second model; `run` gets it from `context.use(field)`.

    Its weights, not only its name, become part of the run's key and are told with its results.
    """
    return an_artifact("model", description)


def an_artifact(kind: str, description: str) -> Any:
    """A spec field of type `str | None` that names a kept artifact of a kind ("probe"), for `context.use(field)`."""
    return Field(None, min_length=1, description=description, json_schema_extra={"uses": kind})


def uses(field: FieldInfo) -> str | None:
    """What a field names: "model", an artifact's kind, or nothing."""
    extra = field.json_schema_extra
    return str(extra["uses"]) if isinstance(extra, dict) and "uses" in extra else None
