"""What requests carry: one model a body. What is not named here is refused."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field, JsonValue, RootModel, model_validator

SessionId = Annotated[str, Field(pattern=r"^[A-Za-z0-9][A-Za-z0-9._:@~+-]*$", max_length=128)]
"""An id that a session may be given: letters, digits and ``. _ : @ ~ + -``, the first a letter or digit."""

RequestId = Annotated[str, Field(min_length=1, max_length=200, pattern=r"\S")]
"""What makes a request the same one when it is sent again."""


class Body(BaseModel):
    """A body of JSON, of which every field is known."""

    model_config = ConfigDict(extra="forbid", strict=True)


class Addressed(Body):
    """What may say which app it is for: by the app's name, or by that of its root component."""

    agent_id: str | None = Field(None, description="The app's name, as GET /agents has it.")
    component: str | None = Field(None, description="The name of the app's root component.")

    @model_validator(mode="after")
    def _one_of_them(self) -> Addressed:
        if self.agent_id is not None and self.component is not None:
            raise ValueError("give agent_id or component, not both")
        return self


class NewSession(Addressed):
    """A session to be made."""

    id: SessionId | None = None
    work_dir: Annotated[str, Field(min_length=1, max_length=4096)] | None = Field(
        None, description="A folder that exists: the session's tree gets tools for the files in it."
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict)


class Update(Body):
    """What a session is to be known by from now on."""

    metadata: dict[str, JsonValue]


class Send(Addressed):
    """A message to a session, which answers with the app that it was made with."""

    message: str | list[JsonValue] | dict[str, JsonValue] = Field(
        description="Text, a turn ({role, content}), a list of turns, or a list of content blocks."
    )
    request_id: RequestId | None = Field(
        None,
        description="Sent again under the same id, the same message gives the outcome of the first time.",
    )
    model: Annotated[str, Field(max_length=200)] | None = None
    max_ticks: Annotated[int, Field(ge=1, le=1000)] | None = None
    budget: Annotated[float, Field(gt=0, allow_inf_nan=False)] | None = Field(
        None, description="US dollars for this message."
    )
    metadata: dict[str, JsonValue] = Field(default_factory=dict)
    output: dict[str, JsonValue] | None = Field(
        None, description="The JSON schema of the object to answer with; the model is told of it."
    )


class Steer(Body):
    """A message for the running execution (steer), or for the next one (queue)."""

    message: str | list[JsonValue] | dict[str, JsonValue]


class Abort(Body):
    """Why an execution is stopped."""

    reason: Annotated[str, Field(max_length=1000)] | None = None


class Render(Body):
    """Properties of the root component, in place of those it has."""

    props: dict[str, JsonValue] = Field(default_factory=dict)


class Fork(Body):
    """Where to fork: after a tick, or as it was compiled; without one, from now."""

    at: Annotated[int, Field(ge=0)] | None = None
    before: bool = False
    id: SessionId | None = None


class Dispatch(RootModel[dict[str, Any]]):
    """The input of a tool."""


class KnobValues(RootModel[dict[str, Any]]):
    """Values by knob, to be set all or none."""


class Answering(Body):
    """The answer to a question: of a confirmation true, false, or the corrected input."""

    value: JsonValue


class SocketRequest(Body):
    """What a client says on a socket: follow a session's events from a number on, or stop following it."""

    do: Literal["subscribe", "unsubscribe"]
    session: Annotated[str, Field(max_length=200)]
    after: Annotated[int, Field(ge=0)] | None = None
