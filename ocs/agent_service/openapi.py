"""The description of the agent service's HTTP interface, as OpenAPI has it."""

from typing import Any, Final

from pydantic.json_schema import models_json_schema

from ocs.agent_service import models
from ocs.agent_service.models import EXAMPLES, REQUESTS

__all__ = ["add_schemas", "post_description"]

_REF: Final = "#/components/schemas/{model}"
_ANSWERS: Final = (
    models.Spawned,
    models.Killed,
    models.Failed,
    models.Completed,
    models.Success,
    models.LocationServiceError,
)
_REFUSALS: Final = {
    400: "The body is malformed; `msg` names the field.",
    401: "A spawn or kill without a token, or with none that holds.",
    403: "The token lacks the role, or a browser asks for a page of another site.",
    408: "The body has not come in time.",
    413: "The body has more than 64 KiB.",
    500: "A mistake of the service; its log has more.",
    503: "There is no connection to the router now, or too much is under way.",
}


def post_description() -> dict[str, Any]:
    """Return what OpenAPI says of requests, beyond what FastAPI knows."""
    examples = {name: {"value": value} for name, value in EXAMPLES.items()}
    content = {"schema": _one_of(REQUESTS), "examples": examples}
    return {
        "requestBody": {"required": True, "content": {"application/json": content}},
        "responses": {
            "200": _answer("What became of it.", _one_of(_ANSWERS)),
            **{str(status): _answer(text, _schema(_model_of(status))) for status, text in _REFUSALS.items()},
        },
        "security": [{}, {"bearer": []}],
    }


def add_schemas(document: dict[str, Any]) -> dict[str, Any]:
    """Add to a document the schemas that `post_description` refers to.

    Args:
        document: what FastAPI has made; is changed.

    Returns:
        The document.
    """
    wanted = (*REQUESTS, *_ANSWERS, models.BadRequest, models.Refused)
    made = models_json_schema([(model, "validation") for model in wanted], by_alias=True, ref_template=_REF)
    components = document.setdefault("components", {})
    components.setdefault("schemas", {}).update(made[1]["$defs"])
    components["securitySchemes"] = {"bearer": {"type": "http", "scheme": "bearer", "bearerFormat": "JWT"}}
    return document


def _model_of(status: int) -> type:
    return models.BadRequest if status == 400 else models.Refused  # noqa: PLR2004 - as HTTP has it


def _answer(text: str, schema: dict[str, Any]) -> dict[str, Any]:
    return {"description": text, "content": {"application/json": {"schema": schema}}}


def _schema(model: type) -> dict[str, Any]:
    return {"$ref": _REF.format(model=model.__name__)}


def _one_of(kinds: tuple[type, ...]) -> dict[str, Any]:
    mapping = {kind.__name__: _REF.format(model=kind.__name__) for kind in kinds}
    return {
        "oneOf": [_schema(kind) for kind in kinds],
        "discriminator": {"propertyName": "_type", "mapping": mapping},
    }
