"""The settings of tenants: quality contract, exploration, pins, limits and budgets, adoption.

They lie in `<state>/tenants.toml`, or where ROUTER_TENANTS says:

    [default]
    alpha = 0.05                          # P(inadequate | downgraded) at most this,
    delta = 0.1                           # with confidence 1 - delta
    exploration = 0.05                    # probability shared by near-ties
    exploration_floor = 0.01              # and at least this for each explored one
    exploration_budget_usd_per_day = 1.0  # expected regret, per UTC day
    rpm = 600                             # calls a minute
    tpm = 2_000_000                       # tokens a minute
    key_rpm = 60                          # calls a minute, of each key
    max_tokens_per_request = 400_000      # prompt, and the answer that it asks for
    usd_per_hour = 5.0                    # hard caps: of the hour (UTC),
    usd_per_day = 50.0                    # the day
    usd_per_month = 800.0                 # and the month, by the tenant's clocks
    key_usd_per_day = 10.0                # the same for each key
    user_usd_per_month_soft = 40.0        # beyond it a user gets cheaper models:
    user_min_adequacy = 0.5               # those with at least this P(adequate)
    timezone = "Europe/Berlin"
    adoption = 0.1                        # sessions that are routed: "observe", a share, "full"
    incumbent = "claude-sonnet-4-6"       # answers the others where they name no model
    [tenants.acme]
    models = ["claude-haiku-4-5"]         # pin: no other model answers

Every key is optional. A tenant takes from [default] what its own table does not say.
"""

import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Annotated, Any
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from msgspec import Struct
from pydantic import BaseModel, ConfigDict, Field, ValidationError

from router_model.catalog import Catalog, model_ids, unknown_models
from router_model.exploration import MICRO
from router_model.policy import MAX_EXPLORATION
from router_model.terms import Exploration, QualityContract, Terms
from router_serving.adoption import EVERYBODY, Adoption, adoption_of
from router_serving.errors import TenantsError
from router_serving.ledger.limits import NO_LIMITS, Limits
from router_serving.settings import Settings
from router_serving.watch import FileWatcher, state_of

TENANTS_FILE = "tenants.toml"
_Risk = Annotated[float, Field(gt=0.0, lt=1.0)]
_Count = Annotated[int, Field(ge=0, le=10**12)]
_Usd = Annotated[float, Field(ge=0.0, le=1e6)]
_Share = Annotated[float, Field(ge=0.0, le=MAX_EXPLORATION)]


class TenantTable(BaseModel):
    """One table of the file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    alpha: _Risk | None = None
    delta: _Risk | None = None
    exploration: _Share | None = None
    exploration_floor: _Share | None = None
    exploration_budget_usd_per_day: Annotated[float, Field(ge=0.0, le=1e6)] | None = None
    models: Annotated[list[str], Field(min_length=1)] | None = None
    rpm: _Count | None = None
    tpm: _Count | None = None
    key_rpm: _Count | None = None
    max_tokens_per_request: _Count | None = None
    usd_per_hour: _Usd | None = None
    usd_per_day: _Usd | None = None
    usd_per_month: _Usd | None = None
    key_usd_per_day: _Usd | None = None
    user_usd_per_month_soft: _Usd | None = None
    user_min_adequacy: Annotated[float, Field(ge=0.0, le=1.0)] | None = None
    timezone: str | None = None
    adoption: object = None
    incumbent: str | None = None


class TenantsFile(BaseModel):
    """The whole file."""

    model_config = ConfigDict(strict=True, extra="forbid", frozen=True)

    default: TenantTable = TenantTable()
    tenants: dict[str, TenantTable] = {}


class TenantSettings(Struct, frozen=True):
    """What holds for one tenant; `budget_microusd_per_day` bounds exploration, None does not."""

    terms: Terms
    budget_microusd_per_day: int | None = None
    limits: Limits = NO_LIMITS
    adoption: Adoption = EVERYBODY


class Tenants(Struct, frozen=True):
    """The settings of every tenant."""

    default: TenantSettings
    named: Mapping[str, TenantSettings] = {}

    def of(self, tenant: str) -> TenantSettings:
        """The tenant's settings; the default's for one that the file does not name."""
        return self.named.get(tenant, self.default)

    @property
    def has_hard_cap(self) -> bool:
        """True when the ledger may have to stop calls of some tenant."""
        return any(one.limits.has_hard_cap for one in (self.default, *self.named.values()))


def tenants_path(settings: Settings) -> Path:
    """Where the file lies."""
    return settings.tenants or settings.state_dir / TENANTS_FILE


def load_tenants(settings: Settings, catalog: Catalog) -> Tenants:
    """The settings in the file, none where there is no file and none was named.

    Raises TenantsError naming file, key, value and what is allowed.
    """
    path = tenants_path(settings)
    try:
        content = tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError:
        if settings.tenants is None:
            return Tenants(TenantSettings(Terms(min_adequacy=settings.min_adequacy)))
        raise TenantsError(f"{path}: no such file, expected that of ROUTER_TENANTS") from None
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise TenantsError(f"{path}: can't be read: {error}") from error
    try:
        file = TenantsFile.model_validate(content)
        return Tenants(
            _settings_of("default", file.default, settings, catalog),
            {
                name: _settings_of(f"tenants.{name}", _over(file.default, table), settings, catalog)
                for name, table in file.tenants.items()
            },
        )
    except ValidationError as error:
        raise TenantsError(f"{path}: {_first(error)}") from error
    except TenantsError as error:
        raise TenantsError(f"{path}: {error}") from error


def tenants_watcher(
    settings: Settings,
    *,
    catalog: Callable[[], Catalog],
    swap: Callable[[Tenants], None],
    counted: Callable[[str], None],
) -> FileWatcher:
    """Reads the file again when it, or the catalog that its names are of, has changed."""
    path = tenants_path(settings)

    def state() -> object:
        return catalog().version, state_of(path)

    def take() -> Mapping[str, object]:
        tenants = load_tenants(settings, catalog())
        swap(tenants)
        return {"tenants": len(tenants.named)}

    return FileWatcher("tenants", path, seen=state(), state=state, take=take, counted=counted)


def _over(default: TenantTable, table: TenantTable) -> TenantTable:
    return default.model_copy(
        update={name: getattr(table, name) for name in table.model_fields_set}
    )


def _settings_of(
    place: str, table: TenantTable, settings: Settings, catalog: Catalog
) -> TenantSettings:
    if (table.alpha is None) != (table.delta is None):
        missing = "alpha" if table.alpha is None else "delta"
        raise TenantsError(f"{place}.{missing}: missing; a contract needs alpha and delta")
    contract = None
    if table.alpha is not None and table.delta is not None:
        contract = QualityContract(alpha=table.alpha, delta=table.delta)
    terms = Terms(
        contract=contract,
        min_adequacy=settings.min_adequacy,
        exploration=_exploration(place, table),
        models=_models(place, table, catalog),
    )
    return TenantSettings(
        terms,
        budget_microusd_per_day=_microusd(table.exploration_budget_usd_per_day),
        limits=_limits(place, table),
        adoption=adoption_of(
            place,
            adoption=table.adoption,
            incumbent=table.incumbent,
            models=terms.models,
            catalog=catalog,
        ),
    )


def _limits(place: str, table: TenantTable) -> Limits:
    enough = table.user_min_adequacy
    return Limits(
        rpm=table.rpm,
        tpm=table.tpm,
        key_rpm=table.key_rpm,
        max_request_tokens=table.max_tokens_per_request,
        microusd_per_hour=_microusd(table.usd_per_hour),
        microusd_per_day=_microusd(table.usd_per_day),
        microusd_per_month=_microusd(table.usd_per_month),
        key_microusd_per_day=_microusd(table.key_usd_per_day),
        user_microusd_per_month=_microusd(table.user_usd_per_month_soft),
        user_min_adequacy=NO_LIMITS.user_min_adequacy if enough is None else enough,
        zone=NO_LIMITS.zone if table.timezone is None else _zone(place, table.timezone),
    )


def _zone(place: str, name: str) -> ZoneInfo:
    try:
        return ZoneInfo(name)
    except (ZoneInfoNotFoundError, ValueError, OSError):
        raise TenantsError(
            f"{place}.timezone: got {name!r}, expected a name such as 'Europe/Berlin' or 'UTC'"
        ) from None


def _microusd(usd: float | None) -> int | None:
    return None if usd is None else round(usd * MICRO)


def _exploration(place: str, table: TenantTable) -> Exploration | None:
    share, floor = table.exploration, table.exploration_floor or 0.0
    if share is None:
        return None
    if floor > share > 0.0:
        raise TenantsError(
            f"{place}.exploration_floor: got {floor}, expected at most the exploration of {share}"
        )
    return Exploration(share=share, floor=floor)


def _models(place: str, table: TenantTable, catalog: Catalog) -> tuple[str, ...] | None:
    if table.models is None:
        return None
    if unknown := unknown_models(catalog, table.models):
        known = ", ".join(sorted(catalog.models))
        raise TenantsError(
            f"{place}.models: got {', '.join(unknown)}, expected names of the catalog: {known}"
        )
    return tuple(dict.fromkeys(model_ids(catalog, table.models)))


def _first(error: ValidationError) -> str:
    """The first thing that pydantic found wrong."""
    first: Mapping[str, Any] = error.errors(include_url=False)[0]
    steps = [str(step) for step in first["loc"]]
    place = ".".join(steps)
    if first["type"] == "extra_forbidden":
        is_top = len(steps) == 1
        known = TenantsFile.model_fields if is_top else TenantTable.model_fields
        return f"{place}: unknown key, allowed: {', '.join(known)}"
    allowed = "a table" if first["type"] in ("model_type", "dict_type") else first["msg"]
    return f"{place}: got {first['input']!r}, expected: {allowed}"
