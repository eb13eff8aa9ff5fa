"""What every table of the configuration is made of; for `agent.config` and its parts."""

from __future__ import annotations

from typing import Annotated

from pydantic import AfterValidator, BaseModel, ConfigDict

from agent.contract.topics import check_id

Id = Annotated[str, AfterValidator(check_id)]


class Table(BaseModel):
    # A mistyped key is an error, not a silent default.
    model_config = ConfigDict(extra="forbid", frozen=True, allow_inf_nan=False)


def refuse_repeats(what: str, ids: list[str]) -> None:
    for repeated in sorted({i for i in ids if ids.count(i) > 1}):
        raise ValueError(f"the {what} id {repeated!r} is used {ids.count(repeated)} times; wanted each once")
