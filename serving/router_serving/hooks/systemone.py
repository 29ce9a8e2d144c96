"""`POST /v1/systemone`: which of a gateway's tiers a request belongs to.

This is what LiteLLM's complexity router asks a classifier (`oss_classifier`). It sends the text of
a request and names tiers; which models stand behind a tier is in its own configuration, and in
ours (ROUTER_SYSTEMONE_TIERS). The decision is made among those models, and the answer is the tier
that the chosen one stands in.
"""

import math
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec
from fastapi import APIRouter, Request, Response
from pydantic import ValidationError

from router_model.catalog import Catalog, model_ids
from router_model.errors import InvalidRequestError, NoAdmissibleModelError
from router_model.formats import jsontext
from router_model.types import WireFormat
from router_serving.access import Asker
from router_serving.answered import Answered
from router_serving.asgi import headers_of
from router_serving.call import Call
from router_serving.envelope import caller_of, overrides_of
from router_serving.hooks.asking import asked, decided
from router_serving.hooks.schemas import ChoiceAnswerBody, SystemOneAnswerBody, SystemOneBody
from router_serving.routes import Parts
from router_serving.schemas import invalid_of

router = APIRouter()
_ANYTHING = msgspec.json.Decoder(Any)
_FIELDS = ["state", "questions"]

Tiers = Mapping[str, Sequence[str]]


@router.post("/v1/systemone", include_in_schema=False)  # described in openapi
async def post_systemone(request: Request, parts: Parts, rights: Asker) -> Response:
    """Answer with the tier of the model that is chosen for a text."""
    headers = headers_of(request.scope)
    body = _read(await parts.endpoints.body(request.receive, headers))
    ((name, question),) = body.questions.items()
    catalog = parts.engine.router.catalog
    models = models_of(question.criteria, parts.settings.systemone_tiers, catalog=catalog)
    overrides = overrides_of({"models": [*models]}, headers, catalog=catalog)
    text = {"messages": [{"role": "user", "content": body.state}]}
    call = Call(
        body=msgspec.json.encode(text),
        wire_format=WireFormat.OPENAI_CHAT,
        caller=caller_of({}, headers, rights=rights),
        overrides=overrides,
        headers=headers,
        bound_key=rights.bound_key,
    )
    answered = await asked(request, parts, call)
    answer = SystemOneAnswerBody(
        model=answered.answer.model,
        answers={name: answer_of(answered, question.criteria, models)},
        decision_id=answered.answer.decision_id,
    )
    return decided(parts, answered, answer.model_dump())


def _read(body: bytes) -> SystemOneBody:
    content = jsontext.decode(_ANYTHING, jsontext.check_body(body))
    try:
        return SystemOneBody.model_validate(content)
    except ValidationError as error:
        raise invalid_of(error, at="", allowed_names=_FIELDS) from None


def models_of(choices: Iterable[str], tiers: Tiers, *, catalog: Catalog) -> Mapping[str, str]:
    """The models to choose from, each with its choice; the first choice that has it counts.

    A choice stands for the models of the tier of its name, in any case, or is itself a name of the
    catalog.
    """
    by_name = {name.lower(): models for name, models in tiers.items()}
    found: dict[str, str] = {}
    for choice in choices:
        for model in model_ids(catalog, by_name.get(choice.lower(), [choice])):
            found.setdefault(model, choice)
    if not found:
        allowed = "tiers of ROUTER_SYSTEMONE_TIERS, or names of the catalog"
        raise InvalidRequestError("questions.criteria", ", ".join(choices)[:200], allowed)
    return found


def answer_of(
    answered: Answered, choices: Iterable[str], models: Mapping[str, str]
) -> ChoiceAnswerBody:
    """The choice of the chosen model, with the policy's probability of each choice.

    Raises NoAdmissibleModelError where the call keeps a model that none of the choices has.
    """
    model, given = answered.answer.model, answered.decided
    if model not in models:
        raise NoAdmissibleModelError({model: f"{answered.answer.reason}; no choice has it"})
    chosen = models[model]
    distribution = {} if given is None else given.decision.distribution
    shares = dict.fromkeys(choices, 0.0)
    for name, probability in (distribution or {model: 1.0}).items():
        shares[models.get(name, chosen)] += probability
    p_adequate = answered.answer.expected.p_adequate
    return ChoiceAnswerBody(
        choice=chosen,
        probabilities={choice: min(1.0, share) for choice, share in shares.items()},
        confidence=0.0 if math.isnan(p_adequate) else min(1.0, max(0.0, p_adequate)),
    )
