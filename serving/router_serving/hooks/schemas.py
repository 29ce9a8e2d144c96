"""The JSON that gateways' own endpoints take and give, as pydantic models."""

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field

from router_serving.schemas import OutcomeBody

MAX_CHOICES = 255


class ChoiceQuestion(BaseModel):
    """Which of the choices, the keys of `criteria`, it is; other members are ignored."""

    model_config = ConfigDict(strict=True)

    type: Literal["choice"]
    criteria: Annotated[dict[str, Any], Field(min_length=1, max_length=MAX_CHOICES)]


class SystemOneBody(BaseModel):
    """A text and one question about it; other members are ignored."""

    model_config = ConfigDict(strict=True)

    state: Annotated[str, Field(min_length=1)]
    questions: Annotated[dict[str, ChoiceQuestion], Field(min_length=1, max_length=1)]


class ChoiceAnswerBody(BaseModel):
    """The choice, `probabilities` of all of them, and how sure it is that the choice will do."""

    type: Literal["choice"] = "choice"
    choice: str
    probabilities: dict[str, float] = Field(
        description="Of the policy to take a model of each choice: 0 and 1 unless it explores."
    )
    confidence: float = Field(description="P(adequate) of the chosen model; 0 if not predicted.")


class SystemOneUsageBody(BaseModel):
    """Always 0: no model is asked."""

    input_tokens: int = 0
    output_tokens: int = 0


class SystemOneAnswerBody(BaseModel):
    """The answer to each question, and the decision behind it."""

    model: str = Field(description="The chosen model.")
    answers: dict[str, ChoiceAnswerBody]
    usage: SystemOneUsageBody = SystemOneUsageBody()
    decision_id: str


class PortkeyBody(BaseModel):
    """A hook of Portkey's gateway; other members are ignored."""

    eventType: str = Field(description="beforeRequestHook or afterRequestHook.")  # noqa: N815  # theirs
    request: dict[str, Any] = Field(description="`json` is the body of the request.")
    response: dict[str, Any] | None = Field(default=None, description="`json` and `statusCode`.")
    requestType: str | None = Field(  # noqa: N815  # theirs
        default=None, description="chatComplete, messages; other kinds pass untouched."
    )
    metadata: dict[str, Any] | None = Field(
        default=None, description="`_user` and `session` name the user and the session."
    )


class PortkeyAnswerBody(BaseModel):
    """Always a verdict of true; before a request with its body, whose model is the chosen one."""

    verdict: bool
    data: dict[str, Any] | None = None
    transformedData: dict[str, Any] | None = None  # noqa: N815  # theirs


class WireOutcomeBody(OutcomeBody):
    """An outcome with the bodies that it is read from."""

    request: dict[str, Any] | str | None = Field(
        default=None, description="The client's body, as JSON or as its text."
    )
    response: dict[str, Any] | list[Any] | str | None = Field(
        default=None, description="The provider's body: JSON, or its text; of a stream the SSE."
    )
    format: str | None = Field(
        default=None, description="As in /route; else `path` tells, else the request."
    )
    path: str | None = Field(default=None, description="The path that the client called.")
    status: int | None = Field(default=None, description="The provider's HTTP status.")
    is_cut: bool = Field(
        default=False,
        description="The middle of `response` was left out: its usage is read, nothing else.",
    )
